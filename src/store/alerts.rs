//! What alert rules measure, and the alerts that fired.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    db::{DbError, Tx},
    params,
};

/// Verdicts of a stretch of time, by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerdictCounts {
    /// Everything asked for is there.
    pub pass: u64,
    /// Some of it.
    pub partial: u64,
    /// None of it.
    pub fail: u64,
    /// Nothing to verify.
    pub skipped: u64,
    /// Given up.
    pub error: u64,
}

/// All statuses are named so that each is counted from the instant on: without them the planner reads every verdict ever.
pub(super) const COUNT_VERDICTS: &str = "-- count_verdicts
    SELECT verification_status AS status, COUNT(*) AS sessions FROM monitoring_results
    WHERE verification_status IN ('pass', 'partial', 'fail', 'skipped', 'error') AND analyzed_at > $1
    GROUP BY verification_status";

/// Counts the latest verdicts since an instant.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_verdicts(tx: &mut Tx, since: DateTime<Utc>) -> Result<VerdictCounts, DbError> {
    let rows = tx.fetch_all(COUNT_VERDICTS, &params![since]).await?;
    let mut counts = VerdictCounts::default();
    for row in rows {
        let sessions: u64 = row.get("sessions")?;
        match row.get::<String>("status")?.as_str() {
            "pass" => counts.pass = sessions,
            "partial" => counts.partial = sessions,
            "fail" => counts.fail = sessions,
            "skipped" => counts.skipped = sessions,
            _ => counts.error = sessions,
        }
    }
    Ok(counts)
}

/// Up to three of the latest sessions with one of two statuses: what an alert shows as samples.
///
/// # Errors
/// When the database cannot answer.
pub async fn samples(tx: &mut Tx, since: DateTime<Utc>, statuses: [&str; 2]) -> Result<Vec<String>, DbError> {
    let rows = tx
        .fetch_all(
            "-- alert_samples
             SELECT source, session_id FROM monitoring_results
             WHERE verification_status IN ($2, $3) AND analyzed_at > $1 ORDER BY analyzed_at DESC, session_id LIMIT 3",
            &params![since, statuses[0], statuses[1]],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(format!(
                "{}/{}",
                row.get::<String>("source")?,
                row.get::<String>("session_id")?
            ))
        })
        .collect()
}

/// What a rule measured when it fired.
#[derive(Debug, Clone, PartialEq)]
pub struct Firing<'a> {
    /// Name of the rule.
    pub rule: &'a str,
    /// What it measures.
    pub metric: &'a str,
    /// `critical`, `warning`, `info`.
    pub severity: &'a str,
    /// Measured.
    pub value: f64,
    /// Compared with.
    pub threshold: f64,
    /// Sample sessions.
    pub sessions: Vec<String>,
}

/// When the rule last fired anew; `None` when it never did.
///
/// # Errors
/// When the database cannot answer.
pub async fn last_fired(tx: &mut Tx, rule: &str) -> Result<Option<DateTime<Utc>>, DbError> {
    let row = tx
        .fetch_optional(
            "-- last_fired_alert\nSELECT MAX(fired_at) AS at FROM alerts WHERE rule = $1",
            &params![rule],
        )
        .await?;
    Ok(match row {
        Some(row) => row.get("at")?,
        None => None,
    })
}

/// Refreshes the rule's open alert, or opens one where it may (not while it cools down). Answers true when it is new.
///
/// # Errors
/// When the database refuses it.
pub async fn fire(tx: &mut Tx, firing: &Firing<'_>, may_open: bool) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let refreshed = tx
        .execute(
            "-- refresh_alert
             UPDATE alerts SET value = $2, last_seen_at = $3 WHERE rule = $1 AND resolved_at IS NULL",
            &params![firing.rule, firing.value, now],
        )
        .await?;
    if refreshed > 0 || !may_open {
        return Ok(false);
    }
    let opened = tx
        .execute(
            "-- open_alert
         INSERT INTO alerts (id, rule, metric, severity, value, threshold, sessions, fired_at, last_seen_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
         ON CONFLICT (rule) WHERE resolved_at IS NULL DO NOTHING",
            &params![
                Uuid::now_v7(),
                firing.rule,
                firing.metric,
                firing.severity,
                firing.value,
                firing.threshold,
                Value::from(firing.sessions.clone()),
                now
            ],
        )
        .await?;
    Ok(opened == 1)
}

/// Closes the rule's alert. Answers true when one was open.
///
/// # Errors
/// When the database refuses it.
pub async fn resolve(tx: &mut Tx, rule: &str) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let closed = tx
        .execute(
            "-- resolve_alert\nUPDATE alerts SET resolved_at = $2 WHERE rule = $1 AND resolved_at IS NULL",
            &params![rule, now],
        )
        .await?;
    Ok(closed > 0)
}
