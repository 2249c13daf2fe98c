//! What of the tables the statements read, and what they leave alone.

use std::time::Duration;

use super::{alerts, diagnoses, retention, sessions};
use crate::{
    db::{Db, Location, Value},
    domain::session::SessionKey,
    params,
};

async fn database() -> (tempfile::TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&Location::sqlite(folder.path().join("test.db")))
        .await
        .unwrap();
    (folder, db)
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
         VALUES ('calls', $1, 1, 2, 3, 1, 'scanned', 3, 3, 1, $2, $3, 3, 3)",
        &params![id, state, generation],
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
         VALUES ('calls', $1, $2, 'order', 0.9, 'fail', 'in words', 'pending', 4)",
        &params![id, generation],
    )
    .await;
}

#[tokio::test]
async fn what_walks_over_sessions_reads_only_those_it_is_about() {
    let (_folder, db) = database().await;
    for (plan, index) in [
        (
            db.plan_of(sessions::UNSETTLED, &params!["calls", "", 200_u32]).await,
            "sessions_unsettled (source=? AND session_id>?)",
        ),
        (
            db.plan_of(sessions::CHANGED, &params!["calls", 200_u32]).await,
            "sessions_changed (source=?)",
        ),
        (
            db.plan_of(sessions::IN_PROGRESS, &params!["calls", "", 500_u32]).await,
            "sessions_in_progress (",
        ),
        (
            db.plan_of(sessions::PROGRESS, &[]).await,
            "COVERING INDEX sessions_states",
        ),
        (
            db.plan_of(diagnoses::PENDING, &params!["calls", "", 500_u32]).await,
            "monitoring_results_pending (",
        ),
        (
            db.plan_of(alerts::COUNT_VERDICTS, &params![1_i64]).await,
            "monitoring_results_status (verification_status=? AND analyzed_at>?)",
        ),
        (
            db.plan_of(retention::SNAPSHOTS[0], &params![1_i64, 500_u32]).await,
            "snapshots_created (created_at<?)",
        ),
        (
            db.plan_of(retention::SEEN[0], &params![1_i64, 500_u32]).await,
            "seen_observations_age (last_activity_at<?)",
        ),
    ] {
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
        assert!(
            !plan.iter().any(|step| step.contains("TEMP B-TREE")),
            "{index}: {plan:#?}"
        );
        // Only the count of all sessions reads an index from end to end.
        let scans = plan.iter().filter(|step| step.starts_with("SCAN ")).count();
        assert_eq!(
            scans,
            usize::from(index.contains("sessions_states")),
            "{index}: {plan:#?}"
        );
    }
}

#[tokio::test]
async fn a_verdict_waits_for_no_diagnosis_once_the_next_generation_is_open() {
    let (_folder, db) = database().await;
    let current = session(&db, "s-current", "reopened", 2).await;
    failure(&db, "s-current", 2).await;
    session(&db, "s-reprocessed", "verifying", 2).await;
    failure(&db, "s-reprocessed", 1).await;
    let pending = diagnoses::pending_after(&db, &SessionKey::new("", ""), 10)
        .await
        .unwrap();
    assert_eq!(pending, [(current, 2)]);
}

#[tokio::test]
async fn a_snapshot_stays_while_the_diagnosis_of_its_generation_waits() {
    let (_folder, db) = database().await;
    for (id, generation) in [("s-waits", 2), ("s-explained", 1)] {
        session(&db, id, "done", generation).await;
    }
    failure(&db, "s-waits", 2).await;
    for (id, generation) in [("s-waits", 1), ("s-waits", 2), ("s-explained", 1)] {
        execute(
            &db,
            "INSERT INTO snapshots (source, session_id, generation, digest, observations, content, created_at)
             VALUES ('calls', $1, $2, 'd', 1, x'00', 5)",
            &params![id, generation],
        )
        .await;
    }
    let ages = retention::Ages {
        finished_jobs: Duration::MAX,
        snapshots: Duration::from_secs(1),
    };
    assert_eq!(
        retention::prune_batch(&db, &ages).await.unwrap(),
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

#[tokio::test]
async fn only_the_generation_that_waits_for_its_analysis_goes_back_to_waiting() {
    let (_folder, db) = database().await;
    let moved_on = session(&db, "s-moved-on", "settled", 2).await;
    let judged = session(&db, "s-judged", "done", 1).await;
    let scanned = session(&db, "s-scanned", "settled", 1).await;
    let newer = session(&db, "s-newer", "analyzing", 1).await;
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
        let session = sessions::load(&db, key).await.unwrap().unwrap();
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

#[tokio::test]
async fn i2_what_was_seen_of_a_session_stays_until_it_is_judged() {
    let (_folder, db) = database().await;
    for (id, state) in [("s-open", "open"), ("s-judged", "done")] {
        session(&db, id, state, 1).await;
        execute(
            &db,
            "INSERT INTO seen_traces (source, trace_id, session_id, started_at, last_activity_at) VALUES ('calls', $1, $1, 1, 2)",
            &params![id],
        )
        .await;
        execute(
            &db,
            "INSERT INTO seen_observations (source, trace_id, observation_id, mark, started_at, last_activity_at, ends_session)
             VALUES ('calls', $1, 'o', 'm', 1, 2, 0)",
            &params![id],
        )
        .await;
    }
    let ages = retention::Ages {
        finished_jobs: Duration::MAX,
        snapshots: Duration::MAX,
    };
    assert_eq!(retention::prune_batch(&db, &ages).await.unwrap(), 2);
    for table in [
        "SELECT trace_id FROM seen_observations",
        "SELECT trace_id FROM seen_traces",
    ] {
        let rows = db.fetch_all(table, &[]).await.unwrap();
        let left: Vec<String> = rows.iter().map(|row| row.get("trace_id").unwrap()).collect();
        assert_eq!(left, ["s-open"], "{table}");
    }
}
