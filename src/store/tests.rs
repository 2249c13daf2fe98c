//! What of the tables the statements read, and what they leave alone.

use std::time::Duration;

use super::{alerts, diagnoses, retention, sessions};
use crate::{
    db::{Db, Value},
    domain::session::SessionKey,
    params,
    test_support::{Planned, TestDb, fill, on_each_database, second},
};

on_each_database! {
    what_walks_over_sessions_reads_only_those_it_is_about,
    a_verdict_waits_for_no_diagnosis_once_the_next_generation_is_open,
    a_snapshot_stays_while_the_diagnosis_of_its_generation_waits,
    only_the_generation_that_waits_for_its_analysis_goes_back_to_waiting,
    i2_what_was_seen_of_a_session_stays_until_it_is_judged,
}

async fn execute(db: &Db, sql: &'static str, params: &[Value]) {
    let mut tx = db.begin().await.unwrap();
    tx.execute(sql, params).await.unwrap();
    tx.commit().await.unwrap();
}

/// A session of source `calls`, in this state and generation.
async fn session(db: &Db, id: &str, state: &str, generation: u32) -> SessionKey {
    execute(
        db,
        "INSERT INTO sessions (source, session_id, first_activity_at, last_activity_at, observation_count, trace_count, digest,
             digest_since, open_since, ended, state, generation, discovered_at, updated_at)
         VALUES ('calls', $1, $4, $5, 3, 1, 'scanned', $6, $6, $7, $2, $3, $6, $6)",
        &params![id, state, generation, second(1), second(2), second(3), true],
    )
    .await;
    SessionKey::new("calls", id)
}

/// The latest verdict of a session, which waits for its diagnosis.
async fn failure(db: &Db, id: &str, generation: u32) {
    execute(
        db,
        "INSERT INTO monitoring_results (source, session_id, generation, intent_type, intent_confidence, verification_status,
             verdict_summary, diagnostic_status, analyzed_at)
         VALUES ('calls', $1, $2, 'order', 0.9, 'fail', 'in words', 'pending', $3)",
        &params![id, generation, second(4)],
    )
    .await;
}

async fn what_walks_over_sessions_reads_only_those_it_is_about(database: TestDb) {
    let db = &database.db;
    fill(
        db,
        &[
            "INSERT INTO sessions (source, session_id, first_activity_at, last_activity_at, observation_count, trace_count, digest,
                 digest_since, open_since, state, generation, discovered_at, updated_at, analyzed_digest)
             SELECT CASE n % 4 WHEN 0 THEN 'others' ELSE 'calls' END, 's-' || n, now(), now(), 3, 1, 'd', now(), now(),
                    CASE n % 100 WHEN 1 THEN 'open' WHEN 2 THEN 'verifying' ELSE 'done' END, 1, now(), now(),
                    CASE n % 100 WHEN 3 THEN 'another' ELSE 'd' END
             FROM generate_series(1, 10000) n",
            "INSERT INTO monitoring_results (source, session_id, generation, intent_type, intent_confidence, verification_status,
                 verdict_summary, diagnostic_status, analyzed_at)
             SELECT source, session_id, 1, 'order', 0.9, 'fail', 's', CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'complete' END,
                    now() - n * interval '1 minute'
             FROM (SELECT *, row_number() OVER () AS n FROM sessions) s WHERE state = 'done'",
            "INSERT INTO snapshots (source, session_id, generation, digest, observations, content, created_at)
             SELECT source, session_id, 1, 'd', 3, '', now() - n * interval '1 minute'
             FROM (SELECT *, row_number() OVER () AS n FROM sessions) s",
            "INSERT INTO seen_traces (source, trace_id, session_id, started_at, last_activity_at)
             SELECT source, session_id, session_id, created_at, created_at FROM snapshots",
            "INSERT INTO seen_observations (source, trace_id, observation_id, mark, started_at, last_activity_at, ends_session)
             SELECT source, trace_id, 'o-' || o, 'm', started_at, last_activity_at, false FROM seen_traces, generate_series(1, 3) o",
        ],
    )
    .await;
    let lately = db.now().await.unwrap() - chrono::TimeDelta::hours(1);
    let long_ago = lately - chrono::TimeDelta::hours(160);
    for (steps, index) in [
        (
            db.plan_of(sessions::UNSETTLED, &params!["calls", "", 200_u32]).await,
            ["sessions_unsettled (source=? AND session_id>?)", "sessions_unsettled"],
        ),
        (
            db.plan_of(sessions::CHANGED, &params!["calls", 200_u32]).await,
            ["sessions_changed (source=?)", "sessions_changed"],
        ),
        (
            db.plan_of(sessions::IN_PROGRESS, &params!["calls", "", 500_u32]).await,
            ["sessions_in_progress (", "sessions_in_progress"],
        ),
        (
            db.plan_of(sessions::PROGRESS, &[]).await,
            ["COVERING INDEX sessions_states", "sessions"],
        ),
        (
            db.plan_of(diagnoses::PENDING, &params!["calls", "", 500_u32]).await,
            ["monitoring_results_pending (", "monitoring_results_pending"],
        ),
        (
            db.plan_of(alerts::COUNT_VERDICTS, &params![lately]).await,
            [
                "monitoring_results_status (verification_status=? AND analyzed_at>?)",
                "monitoring_results_",
            ],
        ),
        (
            db.plan_of(retention::SNAPSHOTS[0], &params![long_ago, 500_u32]).await,
            ["snapshots_created (created_at<?)", "snapshots_created"],
        ),
        (
            db.plan_of(retention::SEEN[0], &params![long_ago, 500_u32]).await,
            ["seen_observations_age (last_activity_at<?)", "seen_observations_age"],
        ),
    ] {
        assert!(
            !steps.iter().any(|step| step.contains("TEMP B-TREE")),
            "{index:?}: {steps:#?}"
        );
        // Only the count of all sessions reads an index from end to end. What a batch of few rows deletes is found either way.
        let counts_all = index[0].contains("sessions_states");
        let scans = steps.iter().filter(|step| step.starts_with("SCAN ")).count();
        assert_eq!(
            scans,
            usize::from(counts_all && !db.is_server()),
            "{index:?}: {steps:#?}"
        );
        let deletes = steps.iter().any(|step| step.starts_with("Delete"));
        let whole: &[&str] = if counts_all || deletes {
            &[]
        } else {
            &["sessions", "monitoring_results", "m", "s"]
        };
        Planned { steps, index }.reads_by_index(db, whole);
    }
}

async fn a_verdict_waits_for_no_diagnosis_once_the_next_generation_is_open(database: TestDb) {
    let db = &database.db;
    let current = session(db, "s-current", "reopened", 2).await;
    failure(db, "s-current", 2).await;
    session(db, "s-reprocessed", "verifying", 2).await;
    failure(db, "s-reprocessed", 1).await;
    let pending = diagnoses::pending_after(db, &SessionKey::new("", ""), 10)
        .await
        .unwrap();
    assert_eq!(pending, [(current, 2)]);
}

async fn a_snapshot_stays_while_the_diagnosis_of_its_generation_waits(database: TestDb) {
    let db = &database.db;
    for (id, generation) in [("s-waits", 2), ("s-explained", 1)] {
        session(db, id, "done", generation).await;
    }
    failure(db, "s-waits", 2).await;
    for (id, generation) in [("s-waits", 1), ("s-waits", 2), ("s-explained", 1)] {
        execute(
            db,
            "INSERT INTO snapshots (source, session_id, generation, digest, observations, content, created_at)
             VALUES ('calls', $1, $2, 'd', 1, $3, $4)",
            &params![id, generation, vec![0_u8], second(5)],
        )
        .await;
    }
    let ages = retention::Ages {
        finished_jobs: Duration::MAX,
        snapshots: Duration::from_secs(1),
    };
    assert_eq!(
        retention::prune_batch(db, &ages).await.unwrap(),
        2,
        "and an endless age keeps everything"
    );
    let rows = db
        .fetch_all("SELECT session_id, generation FROM snapshots", &[])
        .await
        .unwrap();
    let left: Vec<(String, u32)> = rows
        .iter()
        .map(|row| (row.get("session_id").unwrap(), row.get("generation").unwrap()))
        .collect();
    assert_eq!(left, [("s-waits".to_owned(), 2)]);
}

async fn only_the_generation_that_waits_for_its_analysis_goes_back_to_waiting(database: TestDb) {
    let db = &database.db;
    let moved_on = session(db, "s-moved-on", "settled", 2).await;
    let judged = session(db, "s-judged", "done", 1).await;
    let scanned = session(db, "s-scanned", "settled", 1).await;
    let newer = session(db, "s-newer", "analyzing", 1).await;
    let mut tx = db.begin().await.unwrap();
    for (key, digest) in [
        (&moved_on, "read"),
        (&judged, "read"),
        (&scanned, "scanned"),
        (&newer, "read"),
    ] {
        sessions::unsettle(&mut tx, key, 1, digest).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut ends = Vec::new();
    for key in [&moved_on, &judged, &scanned, &newer] {
        let session = sessions::load(db, key).await.unwrap().unwrap();
        ends.push((session.state.as_str(), session.ended, session.digest));
    }
    let expected = [
        ("settled", true, "scanned"),
        ("done", true, "scanned"),
        ("open", true, "scanned"), // the scan saw just this content, and its end
        ("open", false, "read"),
    ];
    assert_eq!(
        ends,
        expected.map(|(state, ended, digest)| (state, ended, digest.to_owned()))
    );
}

async fn i2_what_was_seen_of_a_session_stays_until_it_is_judged(database: TestDb) {
    let db = &database.db;
    for (id, state) in [("s-open", "open"), ("s-judged", "done")] {
        session(db, id, state, 1).await;
        execute(
            db,
            "INSERT INTO seen_traces (source, trace_id, session_id, started_at, last_activity_at) VALUES ('calls', $1, $1, $2, $3)",
            &params![id, second(1), second(2)],
        )
        .await;
        execute(
            db,
            "INSERT INTO seen_observations (source, trace_id, observation_id, mark, started_at, last_activity_at, ends_session)
             VALUES ('calls', $1, 'o', 'm', $2, $3, $4)",
            &params![id, second(1), second(2), false],
        )
        .await;
    }
    let ages = retention::Ages {
        finished_jobs: Duration::MAX,
        snapshots: Duration::MAX,
    };
    assert_eq!(retention::prune_batch(db, &ages).await.unwrap(), 2);
    for table in [
        "SELECT trace_id FROM seen_observations",
        "SELECT trace_id FROM seen_traces",
    ] {
        let rows = db.fetch_all(table, &[]).await.unwrap();
        let left: Vec<String> = rows.iter().map(|row| row.get("trace_id").unwrap()).collect();
        assert_eq!(left, ["s-open"], "{table}");
    }
}
