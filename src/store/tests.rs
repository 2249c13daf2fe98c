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
    an_end_of_before_the_verdict_does_not_end_what_came_after_it,
    ends_that_were_told_long_ago_go_whatever_became_of_their_sessions,
    a_session_that_is_being_analysed_keeps_what_it_waits_for_when_its_traces_come,
    of_sessions_without_traces_only_those_change_of_which_something_else_is_to_be_said,
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

/// Sessions in every state, most of them done, and what belongs to them.
const MANY: &[&str] = &[
            "INSERT INTO sessions (source, session_id, first_activity_at, last_activity_at, observation_count, trace_count, digest,
                 digest_since, open_since, state, generation, discovered_at, updated_at, analyzed_digest)
             SELECT CASE n % 4 WHEN 0 THEN 'others' ELSE 'calls' END, 's-' || n, now(), now(), 3, 1, 'd', now(), now(),
                    CASE n % 100 WHEN 1 THEN 'open' WHEN 2 THEN 'verifying' ELSE 'done' END, 1, now(), now(),
                    CASE n % 100 WHEN 3 THEN 'another' ELSE 'd' END
             FROM generate_series(1, 10000) n",
            "INSERT INTO sessions (source, session_id, first_activity_at, last_activity_at, observation_count, trace_count, digest,
                 digest_since, open_since, state, generation, discovered_at, updated_at, waiting_reason)
             SELECT 'calls', 'u-' || n, now(), now(), 0, 0, '', now(), now() - n * interval '1 minute', 'open', 1, now(), now(),
                    CASE n % 10 WHEN 1 THEN 'yet' ELSE 'never' END
             FROM generate_series(1, 10000) n",
            "INSERT INTO session_ends (source, session_id, delivery, shape, received_at)
             SELECT source, session_id, 'd', 'generic', open_since FROM sessions WHERE observation_count = 0",
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
];

async fn what_walks_over_sessions_reads_only_those_it_is_about(database: TestDb) {
    let db = &database.db;
    fill(db, MANY).await;
    let lately = db.now().await.unwrap() - chrono::TimeDelta::hours(1);
    let long_ago = lately - chrono::TimeDelta::hours(160);
    let untraced = |is: &str, becomes: &str| params!["calls", long_ago, is, becomes, lately, 200_u32];
    for (steps, index) in [
        (
            db.plan_of(sessions::UNSETTLED, &params!["calls", "", 200_u32]).await,
            ["sessions_unsettled (source=? AND session_id>?)", "sessions_unsettled"],
        ),
        (
            db.plan_of(sessions::NO_LONGER, &untraced("yet", "never")).await,
            [
                "sessions_untraced (source=? AND waiting_reason=? AND open_since<?)",
                "sessions_untraced",
            ],
        ),
        (
            db.plan_of(sessions::ONCE_MORE, &untraced("before", "yet")).await,
            [
                "sessions_untraced (source=? AND waiting_reason=? AND open_since>?)",
                "sessions_untraced",
            ],
        ),
        (
            db.plan_of(retention::ENDS[0], &params![long_ago, 500_u32]).await,
            ["session_ends_received (received_at<?)", "session_ends_received"],
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

async fn an_end_of_before_the_verdict_does_not_end_what_came_after_it(database: TestDb) {
    let db = &database.db;
    for (id, last, told, stays) in [
        ("told-before", 30, Some(15), false),
        ("told-with-it", 30, Some(20), false),
        ("told-after", 30, Some(31), true),
        ("late-spans", 10, Some(31), false),
        ("not-told", 30, None, false),
    ] {
        let key = session(db, id, "done", 1).await;
        execute(
            db,
            "UPDATE sessions SET last_activity_at = $2, told_at = $3, done_at = $4 WHERE session_id = $1",
            &params![id, second(last), told.map(second), second(20)],
        )
        .await;
        let mut tx = db.begin().await.unwrap();
        sessions::reopen(&mut tx, &key).await.unwrap();
        tx.commit().await.unwrap();
        let stored = sessions::load(db, &key).await.unwrap().unwrap();
        assert_eq!(stored.told_at, told.map(second).filter(|_| stays), "{id}");
    }
}

async fn ends_that_were_told_long_ago_go_whatever_became_of_their_sessions(database: TestDb) {
    const LEFT: &str = "SELECT COUNT(*) AS n FROM session_ends";
    let db = &database.db;
    session(db, "s-open", "open", 1).await;
    let now = db.now().await.unwrap();
    for (id, days) in [("s-open", 15), ("nobody", 15), ("s-open", 13)] {
        execute(
            db,
            "INSERT INTO session_ends (source, session_id, delivery, shape, received_at) VALUES ('calls', $1, $2, 'generic', $3)",
            &params![id, format!("{days}"), now - chrono::TimeDelta::days(days)],
        )
        .await;
    }
    let ages = retention::Ages {
        finished_jobs: Duration::from_hours(24),
        snapshots: Duration::from_hours(24),
    };
    assert_eq!(retention::prune_batch(db, &ages).await.unwrap(), 2);
    let row = db.fetch_optional(LEFT, &[]).await.unwrap().unwrap();
    assert_eq!(row.get::<u64>("n").unwrap(), 1);
}

async fn a_session_that_is_being_analysed_keeps_what_it_waits_for_when_its_traces_come(database: TestDb) {
    let db = &database.db;
    for (id, state, reason) in [
        ("waits", "open", "just seen: waiting to settle"),
        ("analysed", "settled", "as it was"),
    ] {
        let key = session(db, id, state, 1).await;
        execute(
            db,
            "UPDATE sessions SET observation_count = 0, waiting_reason = 'as it was', waiting_until = NULL WHERE session_id = $1",
            &params![id],
        )
        .await;
        let seen = crate::ports::SeenSession {
            session_id: id.to_owned(),
            environment: None,
            first_activity: second(1),
            last_activity: second(2),
            observations: 3,
            traces: 1,
            digest: "seen".to_owned(),
            ended: false,
        };
        let mut tx = db.begin().await.unwrap();
        sessions::save_seen(&mut tx, &key.source, &seen).await.unwrap();
        tx.commit().await.unwrap();
        let row = db
            .fetch_optional(
                "SELECT waiting_reason, waiting_until FROM sessions WHERE session_id = $1",
                &params![id],
            )
            .await
            .unwrap()
            .unwrap();
        assert_eq!(row.get::<String>("waiting_reason").unwrap(), reason, "{id}");
        let until: Option<chrono::DateTime<chrono::Utc>> = row.get("waiting_until").unwrap();
        assert_eq!(until.is_some(), state == "open", "{id}");
    }
}

async fn of_sessions_without_traces_only_those_change_of_which_something_else_is_to_be_said(database: TestDb) {
    let db = &database.db;
    let said = sessions::Said {
        yet: "yet",
        never: "never",
        before: "before",
    };
    for (id, reason, since, observations) in [
        ("a-late", "yet", 10, 0),
        ("b-late", "before", 11, 0),
        ("c-early", "before", 30, 0),
        ("d-early", "yet", 31, 0),
        ("e-late", "never", 12, 0),
        ("f-longer", "never", 32, 0),
        ("g-seen", "yet", 13, 3),
    ] {
        session(db, id, "open", 1).await;
        execute(
            db,
            "UPDATE sessions SET observation_count = $2, waiting_reason = $3, open_since = $4, waiting_until = $4, updated_at = $4
             WHERE session_id = $1",
            &params![id, observations, reason, second(since)],
        )
        .await;
    }
    let wait = async |most: u32| {
        let mut tx = db.begin().await.unwrap();
        let changed = sessions::wait_untraced(&mut tx, "calls", second(20), &said, most)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        changed
    };
    assert_eq!(
        (wait(3).await, wait(3).await, wait(3).await),
        (3, 1, 0),
        "a batch at a time"
    );
    let rows = db
        .fetch_all(
            "SELECT waiting_reason, waiting_until FROM sessions WHERE observation_count = 0 ORDER BY session_id",
            &[],
        )
        .await
        .unwrap();
    let reasons: Vec<String> = rows.iter().map(|row| row.get("waiting_reason").unwrap()).collect();
    assert_eq!(reasons, ["never", "never", "yet", "yet", "never", "yet"]);
    let timed = rows
        .iter()
        .map(|row| row.get::<Option<chrono::DateTime<chrono::Utc>>>("waiting_until"));
    assert_eq!(
        timed.filter(|until| until.as_ref().unwrap().is_some()).count(),
        2,
        "the two that did not change"
    );
}
