//! Ends of sessions as they were told from outside, and how many requests there were.

use chrono::{DateTime, Utc};

use crate::{
    db::{Db, DbError, Tx},
    domain::session::SessionKey,
    params,
};

/// One end that was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldEnd {
    /// Of which session.
    pub key: SessionKey,
    /// The request, as a digest of what was signed.
    pub delivery: String,
    /// Who told it: `generic`, `vapi`, `retell`, `twilio`.
    pub shape: &'static str,
    /// When it ended, as the sender has it.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why, as the sender has it.
    pub reason: Option<String>,
}

/// Stores it; `ended_at` is when it ended, as the sender has it, where that can be. Answers false when this very request came before.
///
/// # Errors
/// When the database refuses it.
pub async fn record(tx: &mut Tx, end: &ToldEnd, ended_at: Option<DateTime<Utc>>) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let inserted = tx
        .execute(
            "-- record_session_end
             INSERT INTO session_ends (source, session_id, delivery, shape, ended_at, reason, received_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (source, session_id, delivery) DO NOTHING",
            &params![
                &end.key.source,
                &end.key.session_id,
                &end.delivery,
                end.shape,
                ended_at,
                end.reason.as_deref(),
                now
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Counts requests, for monitoring.
///
/// # Errors
/// When the database refuses it.
pub async fn count(tx: &mut Tx, source: &str, shape: &str, outcome: &str, events: u64) -> Result<(), DbError> {
    tx.execute(
        "-- count_webhook_events
         INSERT INTO webhook_totals (source, shape, outcome, events) VALUES ($1, $2, $3, $4)
         ON CONFLICT (source, shape, outcome) DO UPDATE SET events = webhook_totals.events + excluded.events",
        &params![source, shape, outcome, events],
    )
    .await
    .map(drop)
}

/// Requests of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEvents {
    /// To which source.
    pub source: String,
    /// In which shape.
    pub shape: String,
    /// What became of them.
    pub outcome: String,
    /// How many.
    pub events: u64,
}

/// How many requests there ever were.
///
/// # Errors
/// When the database cannot answer.
pub async fn totals(db: &Db) -> Result<Vec<WebhookEvents>, DbError> {
    db.fetch_all(
        "-- webhook_totals\nSELECT source, shape, outcome, events FROM webhook_totals ORDER BY source, shape, outcome",
        &[],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(WebhookEvents {
            source: row.get("source")?,
            shape: row.get("shape")?,
            outcome: row.get("outcome")?,
            events: row.get("events")?,
        })
    })
    .collect()
}
