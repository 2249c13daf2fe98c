//! Rows for the tests of this folder, written as they stand in the tables.

use crate::{
    db::{Db, Location},
    params,
};

/// A fresh database; the folder goes when the first value is dropped.
pub(super) async fn database() -> (tempfile::TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&Location::sqlite(folder.path().join("test.db")))
        .await
        .unwrap();
    (folder, db)
}

async fn execute(db: &Db, sql: &'static str, params: &[crate::db::Value]) {
    let mut tx = db.begin().await.unwrap();
    tx.execute(sql, params).await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) async fn session(db: &Db, source: &str, id: &str, state: &str, waiting_reason: Option<&str>) {
    execute(
        db,
        "INSERT INTO sessions (source, session_id, first_activity_at, last_activity_at, observation_count, trace_count, digest,
             digest_since, open_since, state, waiting_reason, discovered_at, updated_at)
         VALUES ($1, $2, 1000000, 2000000, 3, 1, 'd', 3000000, 3000000, $3, $4, 3000000, 3000000)",
        &params![source, id, state, waiting_reason],
    )
    .await;
}

/// A verdict, which becomes the session's latest.
pub(super) async fn verdict(db: &Db, source: &str, id: &str, generation: u32, status: &str) {
    let document = serde_json::json!({
        "status": status, "reason": "all_confirmed", "severity": "none", "summary": "in words", "intent": "booking",
        "confidence": 0.9, "reader": {"kind": "file"}, "findings": [],
        "playbook": {"name": "p", "version": 1, "hash": "00"}, "looks": 1, "incomplete": false
    });
    let at = 4_000_000 + i64::from(generation);
    execute(
        db,
        "INSERT INTO verdicts (source, session_id, generation, status, reason, severity, intent, confidence, summary, playbook,
             playbook_version, playbook_hash, document, created_at)
         VALUES ($1, $2, $3, $4, 'all_confirmed', 'none', 'booking', 0.9, 'in words', 'p', 1, '00', $5, $6)",
        &params![source, id, generation, status, document, at],
    )
    .await;
    execute(
        db,
        "INSERT INTO monitoring_results (source, session_id, generation, intent_type, intent_confidence, verification_status,
             verdict_summary, analyzed_at)
         VALUES ($1, $2, $3, 'booking', 0.9, $4, 'in words', $5)
         ON CONFLICT (source, session_id) DO UPDATE SET generation = excluded.generation,
             verification_status = excluded.verification_status, analyzed_at = excluded.analyzed_at",
        &params![source, id, generation, status, at],
    )
    .await;
    execute(
        db,
        "UPDATE sessions SET generation = $3 WHERE source = $1 AND session_id = $2",
        &params![source, id, generation],
    )
    .await;
}
