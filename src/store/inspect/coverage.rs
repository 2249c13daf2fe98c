//! Whether every session is accounted for: seen = verdicts + waiting + skipped + errors, nothing unexplained.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::db::{Db, DbError};

/// One source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Its name.
    pub source: String,
    /// Sessions seen.
    pub seen: u64,
    /// Everything asked for is there.
    pub pass: u64,
    /// Some of it.
    pub partial: u64,
    /// None of it, or something nobody asked for.
    pub fail: u64,
    /// Nothing to verify, with a reason.
    pub skipped: u64,
    /// Given up, with a reason.
    pub error: u64,
    /// On their way, with a reason.
    pub waiting: u64,
    /// On their way without a reason, or done without a verdict: a bug of ours.
    pub unexplained: u64,
    /// Places of the source that could not be read.
    pub unreadable: u64,
}

/// All sources, by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn by_source(db: &Db) -> Result<Vec<Coverage>, DbError> {
    let rows = db
        .fetch_all(
            "-- coverage_by_source
             SELECT names.name AS source,
                    COUNT(s.session_id) AS seen,
                    COALESCE(SUM(CASE WHEN s.state = 'done' AND m.verification_status = 'pass' THEN 1 END), 0) AS pass,
                    COALESCE(SUM(CASE WHEN s.state = 'done' AND m.verification_status = 'partial' THEN 1 END), 0) AS partial,
                    COALESCE(SUM(CASE WHEN s.state = 'done' AND m.verification_status = 'fail' THEN 1 END), 0) AS fail,
                    COALESCE(SUM(CASE WHEN s.state = 'done' AND m.verification_status = 'skipped' THEN 1 END), 0) AS skipped,
                    COALESCE(SUM(CASE WHEN s.state = 'done' AND m.verification_status = 'error' THEN 1 END), 0) AS error,
                    COALESCE(SUM(CASE WHEN s.state <> 'done' AND s.waiting_reason IS NOT NULL THEN 1 END), 0) AS waiting,
                    COALESCE(SUM(CASE WHEN (s.state <> 'done' AND s.waiting_reason IS NULL)
                                        OR (s.state = 'done' AND m.verification_status IS NULL) THEN 1 END), 0) AS unexplained,
                    (SELECT COUNT(*) FROM source_faults f WHERE f.source = names.name) AS unreadable
             FROM (SELECT name FROM sources UNION SELECT source FROM sessions UNION SELECT source FROM source_faults) names
             LEFT JOIN sessions s ON s.source = names.name
             LEFT JOIN monitoring_results m ON m.source = s.source AND m.session_id = s.session_id
             GROUP BY names.name ORDER BY names.name",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Coverage {
                source: row.get("source")?,
                seen: row.get("seen")?,
                pass: row.get("pass")?,
                partial: row.get("partial")?,
                fail: row.get("fail")?,
                skipped: row.get("skipped")?,
                error: row.get("error")?,
                waiting: row.get("waiting")?,
                unexplained: row.get("unexplained")?,
                unreadable: row.get("unreadable")?,
            })
        })
        .collect()
}

/// Something in a source that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The source.
    pub source: String,
    /// Where in it.
    pub position: String,
    /// What is wrong with it.
    pub reason: String,
    /// When it was seen last.
    pub seen_at: DateTime<Utc>,
}

/// The latest things that could not be read, at most `limit`.
///
/// # Errors
/// When the database cannot answer.
pub async fn unreadable(db: &Db, limit: u32) -> Result<Vec<Unreadable>, DbError> {
    let rows = db
        .fetch_all(
            "-- unreadable_places
             SELECT source, position, reason, seen_at FROM source_faults
             ORDER BY seen_at DESC, source, position LIMIT $1",
            &crate::params![limit],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Unreadable {
                source: row.get("source")?,
                position: row.get("position")?,
                reason: row.get("reason")?,
                seen_at: row.get("seen_at")?,
            })
        })
        .collect()
}
