//! Verdicts: one per generation, and the latest of each session in `monitoring_results`.

use serde_json::Value;

use super::readings::{json, parse};
use crate::{
    db::{Db, DbError, Tx},
    domain::{
        session::{Generation, SessionKey, SessionState},
        verdict::Verdict,
    },
    params,
    store::{evidence, sessions},
};

/// Stores the verdict of a generation, puts it into the report, and ends the session. A generation that has its verdict
/// keeps it.
///
/// # Errors
/// When the database refuses it.
pub async fn save(
    tx: &mut Tx,
    key: &SessionKey,
    generation: Generation,
    verdict: &Verdict,
    diff: Option<&Value>,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    let stored = tx
        .execute(
            "-- save_verdict
             INSERT INTO verdicts (source, session_id, generation, status, reason, severity, intent, confidence, summary,
                                   playbook, playbook_version, playbook_hash, document, diff, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
             ON CONFLICT (source, session_id, generation) DO NOTHING",
            &params![
                &key.source,
                &key.session_id,
                generation,
                verdict.status.as_str(),
                verdict.reason.as_str(),
                verdict.severity.as_str(),
                &verdict.intent,
                verdict.confidence,
                &verdict.summary,
                &verdict.playbook.name,
                verdict.playbook.version,
                &verdict.playbook.hash,
                json(verdict)?,
                diff.cloned(),
                now
            ],
        )
        .await?;
    if stored == 1 {
        let diagnostic_status = verdict.status.needs_diagnosis().then_some("pending");
        tx.execute(
            "-- save_monitoring_result
             INSERT INTO monitoring_results (source, session_id, generation, intent_type, intent_confidence, verification_status,
                                             verdict_summary, diagnostic_status, analyzed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (source, session_id) DO UPDATE SET
                 generation = excluded.generation, intent_type = excluded.intent_type,
                 intent_confidence = excluded.intent_confidence, verification_status = excluded.verification_status,
                 verdict_summary = excluded.verdict_summary, diagnostic_status = excluded.diagnostic_status,
                 diagnostic_report_json = NULL, analyzed_at = excluded.analyzed_at, diagnosed_at = NULL",
            &params![
                &key.source,
                &key.session_id,
                generation,
                &verdict.intent,
                verdict.confidence,
                verdict.status.as_str(),
                &verdict.summary,
                diagnostic_status,
                now
            ],
        )
        .await?;
    }
    evidence::drop_facts(tx, key).await?;
    sessions::set_state(tx, key, SessionState::Done, None).await
}

/// The verdict of a generation.
///
/// # Errors
/// When the database cannot answer, or the row does not hold a verdict.
pub async fn load(db: &Db, key: &SessionKey, generation: Generation) -> Result<Option<Verdict>, DbError> {
    let row = db
        .fetch_optional(
            "-- load_verdict
             SELECT document FROM verdicts WHERE source = $1 AND session_id = $2 AND generation = $3",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    row.map(|row| parse(&row, "document")).transpose()
}

/// The latest verdict of an older generation, with its number.
///
/// # Errors
/// When the database cannot answer, or the row does not hold a verdict.
pub async fn load_before(
    tx: &mut Tx,
    key: &SessionKey,
    generation: Generation,
) -> Result<Option<(Generation, Verdict)>, DbError> {
    if generation <= 1 {
        return Ok(None);
    }
    let row = tx
        .fetch_optional(
            "-- load_verdict_before
             SELECT generation, document FROM verdicts
             WHERE source = $1 AND session_id = $2 AND generation < $3 ORDER BY generation DESC LIMIT 1",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    row.map(|row| Ok((row.get("generation")?, parse(&row, "document")?)))
        .transpose()
}
