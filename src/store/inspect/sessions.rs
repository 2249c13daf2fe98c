//! Sessions by filter, each with its latest verdict.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    db::{Db, DbError, Row},
    domain::session::SessionKey,
    params,
};

/// A session at a glance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionLine {
    /// Which.
    #[serde(flatten)]
    pub key: SessionKey,
    /// `pass`, `partial`, `fail`, `skipped`, `error`; `waiting` until the current generation has its verdict.
    pub status: String,
    /// Where it is on its way: `open` … `done`.
    pub state: String,
    /// How many times it was called for.
    pub generation: u32,
    /// `production`, …
    pub environment: Option<String>,
    /// Earliest activity.
    pub first_activity_at: DateTime<Utc>,
    /// Latest activity.
    pub last_activity_at: DateTime<Utc>,
    /// Why there is no verdict yet.
    pub waiting_reason: Option<String>,
    /// Until when it waits, where that is known.
    pub waiting_until: Option<DateTime<Utc>>,
    /// It never came to rest: what was seen may not be all.
    pub incomplete: bool,
    /// The latest verdict, perhaps of an older generation.
    pub verdict: Option<VerdictLine>,
}

/// A verdict at a glance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerdictLine {
    /// The generation judged.
    pub generation: u32,
    /// Pass, partial, fail, skipped or error.
    pub status: String,
    /// Why, as a code.
    pub reason: Option<String>,
    /// How bad.
    pub severity: Option<String>,
    /// What the caller wanted.
    pub intent: String,
    /// How sure the reader is, 0 to 1.
    pub confidence: f64,
    /// In words.
    pub summary: String,
    /// `pending`, `complete`, `error`, `linked`, or none when none is called for.
    pub diagnosis: Option<String>,
    /// When it was judged.
    pub at: DateTime<Utc>,
}

/// Which sessions to list, latest activity first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Of this source.
    pub source: Option<String>,
    /// With this id.
    pub session_id: Option<String>,
    /// With one of these statuses; empty: any.
    pub statuses: Vec<String>,
    /// With this intent.
    pub intent: Option<String>,
    /// With activity at or after this.
    pub since: Option<DateTime<Utc>>,
    /// At most this many.
    pub limit: u32,
}

/// Sessions by filter.
///
/// # Errors
/// When the database cannot answer.
pub async fn list(db: &Db, filter: &SessionFilter) -> Result<Vec<SessionLine>, DbError> {
    // One parameter for a list of any length, on any database: `,pass,fail,`.
    let statuses = (!filter.statuses.is_empty()).then(|| format!(",{},", filter.statuses.join(",")));
    let rows = db
        .fetch_all(
            "-- list_sessions
             SELECT s.source, s.session_id, s.state, s.generation, s.environment, s.first_activity_at, s.last_activity_at,
                    s.waiting_reason, s.waiting_until, s.incomplete, m.generation AS judged, m.verification_status,
                    m.intent_type, m.intent_confidence, m.verdict_summary, m.diagnostic_status, m.analyzed_at,
                    v.reason, v.severity
             FROM sessions s
             LEFT JOIN monitoring_results m ON m.source = s.source AND m.session_id = s.session_id
             LEFT JOIN verdicts v ON v.source = m.source AND v.session_id = m.session_id AND v.generation = m.generation
             WHERE ($1 IS NULL OR s.source = $1) AND ($2 IS NULL OR s.session_id = $2)
               AND ($3 IS NULL OR $3 LIKE '%,' ||
                    CASE WHEN s.state = 'done' THEN COALESCE(m.verification_status, 'waiting') ELSE 'waiting' END || ',%')
               AND ($4 IS NULL OR m.intent_type = $4) AND ($5 IS NULL OR s.last_activity_at >= $5)
             ORDER BY s.last_activity_at DESC, s.source, s.session_id LIMIT $6",
            &params![
                filter.source.as_deref(),
                filter.session_id.as_deref(),
                statuses,
                filter.intent.as_deref(),
                filter.since,
                filter.limit
            ],
        )
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<SessionLine, DbError> {
    let state: String = row.get("state")?;
    let verdict = match row.get::<Option<u32>>("judged")? {
        None => None,
        Some(generation) => Some(VerdictLine {
            generation,
            status: row.get("verification_status")?,
            reason: row.get("reason")?,
            severity: row.get("severity")?,
            intent: row.get("intent_type")?,
            confidence: row.get("intent_confidence")?,
            summary: row.get("verdict_summary")?,
            diagnosis: row.get("diagnostic_status")?,
            at: row.get("analyzed_at")?,
        }),
    };
    let status = match &verdict {
        Some(verdict) if state == "done" => verdict.status.clone(),
        _ => "waiting".to_owned(),
    };
    Ok(SessionLine {
        key: SessionKey::new(row.get::<String>("source")?, row.get::<String>("session_id")?),
        status,
        state,
        generation: row.get("generation")?,
        environment: row.get("environment")?,
        first_activity_at: row.get("first_activity_at")?,
        last_activity_at: row.get("last_activity_at")?,
        waiting_reason: row.get("waiting_reason")?,
        waiting_until: row.get("waiting_until")?,
        incomplete: row.get("incomplete")?,
        verdict,
    })
}
