//! Writes over the HTTP API that carry an `Idempotency-Key`: done once, and answered the same again.
//!
//! A key is claimed in a transaction of its own, so that a second request sees at once that the first is under way. The
//! answer is kept in the transaction of the write itself: either both stand or neither does, so that a claim whose process
//! died can be taken over.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    db::{Db, DbError, Tx},
    params,
};

/// How long a key is remembered.
pub const KEPT: Duration = Duration::from_hours(24);
/// A claim without an answer for so long was left by a process that died: longer than any request may take.
const ABANDONED: Duration = Duration::from_secs(30);

/// What a key is claimed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose key.
    pub token_id: String,
    /// The key.
    pub key: String,
    /// SHA-256 of what is asked, in hex.
    pub fingerprint: String,
    /// The request that claims it.
    pub attempt: Uuid,
}

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The key is this request's.
    Ours,
    /// It was done before.
    Answered {
        /// Its status.
        status: u16,
        /// Its body.
        answer: String,
    },
    /// It is being done.
    UnderWay,
    /// The key belongs to another request.
    Different,
}

/// Claims a key for a request.
///
/// # Errors
/// When the database refuses it.
pub async fn claim(db: &Db, claim: &Claim) -> Result<Claimed, DbError> {
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    let before = |age: Duration| -> DateTime<Utc> { now - chrono::TimeDelta::from_std(age).unwrap_or_default() };
    let ours = tx
        .execute(
            "-- claim_idempotency_key
             INSERT INTO api_idempotency (token_id, key, fingerprint, attempt, claimed_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (token_id, key) DO UPDATE
                SET fingerprint = excluded.fingerprint, attempt = excluded.attempt, claimed_at = excluded.claimed_at,
                    status = NULL, answer = NULL
                WHERE api_idempotency.claimed_at < $6
                   OR (api_idempotency.status IS NULL AND api_idempotency.claimed_at < $7
                       AND api_idempotency.fingerprint = excluded.fingerprint)",
            &params![
                &claim.token_id,
                &claim.key,
                &claim.fingerprint,
                claim.attempt,
                now,
                before(KEPT),
                before(ABANDONED)
            ],
        )
        .await?;
    let row = tx
        .fetch_optional(
            "-- idempotency_key\nSELECT * FROM api_idempotency WHERE token_id = $1 AND key = $2",
            &params![&claim.token_id, &claim.key],
        )
        .await?;
    tx.commit().await?;
    if ours == 1 {
        return Ok(Claimed::Ours);
    }
    // Deleted in between: its request failed, and may be sent again.
    let Some(row) = row else { return Ok(Claimed::UnderWay) };
    if row.get::<String>("fingerprint")? != claim.fingerprint {
        return Ok(Claimed::Different);
    }
    let Some(status) = row.get::<Option<u32>>("status")? else {
        return Ok(Claimed::UnderWay);
    };
    Ok(Claimed::Answered {
        status: u16::try_from(status).map_err(|_| row.bad("status", "not a status"))?,
        answer: row.get::<Option<String>>("answer")?.unwrap_or_default(),
    })
}

/// Keeps the answer with what it is about. `false`: the claim was taken over, and nothing may be committed.
///
/// # Errors
/// When the database refuses it.
pub async fn answer(tx: &mut Tx, claim: &Claim, status: u16, answer: &str) -> Result<bool, DbError> {
    let kept = tx
        .execute(
            "-- keep_idempotent_answer
             UPDATE api_idempotency SET status = $4, answer = $5
             WHERE token_id = $1 AND key = $2 AND attempt = $3 AND status IS NULL",
            &params![&claim.token_id, &claim.key, claim.attempt, u32::from(status), answer],
        )
        .await?;
    Ok(kept == 1)
}

/// Gives a key back whose request changed nothing.
///
/// # Errors
/// When the database refuses it.
pub async fn release(db: &Db, claim: &Claim) -> Result<(), DbError> {
    db.write_alone(
        "-- release_idempotency_key
         DELETE FROM api_idempotency WHERE token_id = $1 AND key = $2 AND attempt = $3 AND status IS NULL",
        &params![&claim.token_id, &claim.key, claim.attempt],
    )
    .await
    .map(|_| ())
}
