//! Verdicts in the order of their sessions, page by page: what an export reads.

use chrono::{DateTime, Utc};

use super::readings::parse;
use crate::{
    db::{Db, DbError},
    domain::{
        session::{Generation, SessionKey},
        verdict::Verdict,
    },
    params,
};

/// Which verdicts. Everything that is not said counts for all.
#[derive(Debug, Clone, Default)]
pub struct ExportFilter {
    /// Of this source.
    pub source: Option<String>,
    /// With one of these statuses; empty: any.
    pub statuses: Vec<String>,
    /// With this intent.
    pub intent: Option<String>,
    /// Of sessions with activity at or after this.
    pub since: Option<DateTime<Utc>>,
}

/// The latest verdict of a session.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Which session.
    pub key: SessionKey,
    /// Which analysis.
    pub generation: Generation,
    /// The verdict.
    pub verdict: Verdict,
    /// When it was made.
    pub judged_at: DateTime<Utc>,
    /// How far its diagnosis is, where it needs one.
    pub diagnosis: Option<String>,
}

/// At most `limit` of them after this session.
///
/// # Errors
/// When the database cannot answer, or a row does not hold a verdict.
pub async fn page(
    db: &Db,
    filter: &ExportFilter,
    after: Option<&SessionKey>,
    limit: u32,
) -> Result<Vec<Judged>, DbError> {
    // One parameter for a list of any length, on any database: `,pass,fail,`.
    let statuses = (!filter.statuses.is_empty()).then(|| format!(",{},", filter.statuses.join(",")));
    let (source, session) = after.map_or(("", ""), |key| (key.source.as_str(), key.session_id.as_str()));
    let rows = db
        .fetch_all(
            "-- export_verdicts
             SELECT m.source, m.session_id, m.generation, m.diagnostic_status, v.document, v.created_at
             FROM monitoring_results m
             JOIN verdicts v ON v.source = m.source AND v.session_id = m.session_id AND v.generation = m.generation
             JOIN sessions s ON s.source = m.source AND s.session_id = m.session_id
             WHERE (m.source, m.session_id) > ($1, $2)
               AND ($3 IS NULL OR m.source = $3) AND ($4 IS NULL OR $4 LIKE '%,' || m.verification_status || ',%')
               AND ($5 IS NULL OR m.intent_type = $5) AND ($6 IS NULL OR s.last_activity_at >= $6)
             ORDER BY m.source, m.session_id LIMIT $7",
            &params![
                source,
                session,
                filter.source.as_deref(),
                statuses,
                filter.intent.as_deref(),
                filter.since,
                limit
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Judged {
                key: SessionKey::new(row.get::<String>("source")?, row.get::<String>("session_id")?),
                generation: row.get("generation")?,
                verdict: parse(row, "document")?,
                judged_at: row.get("created_at")?,
                diagnosis: row.get("diagnostic_status")?,
            })
        })
        .collect()
}
