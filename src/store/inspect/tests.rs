//! Rows for the tests of this folder, written as they stand in the tables.

use crate::{db::Db, params, test_support::second};

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
         VALUES ($1, $2, $5, $6, 3, 1, 'd', $7, $7, $3, $4, $7, $7)",
        &params![source, id, state, waiting_reason, second(1), second(2), second(3)],
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
    let at = second(4) + chrono::TimeDelta::microseconds(generation.into());
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
