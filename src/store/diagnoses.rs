//! Diagnoses: kept in the report, beside the verdict that they explain.

use super::readings::json;
use crate::{
    db::{Db, DbError, Tx},
    domain::{
        diagnosis::Diagnosis,
        session::{Generation, SessionKey},
    },
    params,
};

/// Whether this generation's verdict still waits for its diagnosis.
///
/// # Errors
/// When the database cannot answer.
pub async fn is_pending(tx: &mut Tx, key: &SessionKey, generation: Generation) -> Result<bool, DbError> {
    let row = tx
        .fetch_optional(
            "-- diagnosis_is_pending
             SELECT 1 AS yes FROM monitoring_results
             WHERE source = $1 AND session_id = $2 AND generation = $3 AND diagnostic_status = 'pending'",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    Ok(row.is_some())
}

/// Stores the report.
///
/// # Errors
/// When the database refuses it.
pub async fn save(tx: &mut Tx, key: &SessionKey, generation: Generation, diagnosis: &Diagnosis) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- save_diagnosis
         UPDATE monitoring_results SET diagnostic_status = 'complete', diagnostic_report_json = $4, diagnosed_at = $5
         WHERE source = $1 AND session_id = $2 AND generation = $3",
        &params![&key.source, &key.session_id, generation, json(diagnosis)?, now],
    )
    .await?;
    Ok(())
}

/// The diagnosis was given up.
///
/// # Errors
/// When the database refuses it.
pub async fn give_up(tx: &mut Tx, key: &SessionKey, generation: Generation, reason: &str) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- give_up_diagnosis
         UPDATE monitoring_results SET diagnostic_status = 'error', diagnostic_report_json = $4, diagnosed_at = $5
         WHERE source = $1 AND session_id = $2 AND generation = $3 AND diagnostic_status = 'pending'",
        &params![
            &key.source,
            &key.session_id,
            generation,
            serde_json::json!({ "error": reason }),
            now
        ],
    )
    .await?;
    Ok(())
}

/// Asks for a new diagnosis of the latest verdict. Answers its generation, or `None` when there is nothing to explain.
///
/// # Errors
/// When the database refuses it.
pub async fn ask_again(tx: &mut Tx, key: &SessionKey) -> Result<Option<Generation>, DbError> {
    let row = tx
        .fetch_optional(
            "-- ask_for_diagnosis_again
             UPDATE monitoring_results SET diagnostic_status = 'pending'
             WHERE source = $1 AND session_id = $2 AND verification_status IN ('fail', 'partial')
             RETURNING generation",
            &params![&key.source, &key.session_id],
        )
        .await?;
    row.map(|row| row.get("generation")).transpose()
}

/// The same of this generation, where it is the latest that was judged.
///
/// # Errors
/// When the database refuses it.
pub async fn ask_again_of(tx: &mut Tx, key: &SessionKey, generation: Generation) -> Result<(), DbError> {
    tx.execute(
        "-- ask_for_this_diagnosis_again
         UPDATE monitoring_results SET diagnostic_status = 'pending'
         WHERE source = $1 AND session_id = $2 AND generation = $3 AND verification_status IN ('fail', 'partial')",
        &params![&key.source, &key.session_id, generation],
    )
    .await?;
    Ok(())
}

pub(super) const PENDING: &str = "-- pending_diagnoses
             SELECT m.source, m.session_id, m.generation FROM monitoring_results m
             JOIN sessions s ON s.source = m.source AND s.session_id = m.session_id AND s.generation = m.generation
             WHERE m.diagnostic_status = 'pending' AND (m.source, m.session_id) > ($1, $2)
             ORDER BY m.source, m.session_id LIMIT $3";

/// Verdicts that wait for a diagnosis, a page at a time by key: what reconcile walks. Once the next generation is open the
/// old verdict is explained no more: a job for it would find that out only after it has used up a start.
///
/// # Errors
/// When the database cannot answer.
pub async fn pending_after(db: &Db, after: &SessionKey, page: u32) -> Result<Vec<(SessionKey, Generation)>, DbError> {
    let rows = db
        .fetch_all(PENDING, &params![&after.source, &after.session_id, page])
        .await?;
    rows.iter()
        .map(|row| {
            Ok((
                SessionKey::new(row.get::<String>("source")?, row.get::<String>("session_id")?),
                row.get("generation")?,
            ))
        })
        .collect()
}
