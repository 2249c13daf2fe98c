//! Whether every session is accounted for: seen = verdicts + waiting + skipped + errors, nothing unexplained.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::waiting::ShutGates;
use crate::db::{Db, DbError};

/// One source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// Of those that wait, how many wait for an upstream that is down, by what is wrong with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting_for: BTreeMap<String, u64>,
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
    let mut waiting_for = waiting_for(db).await?;
    rows.iter()
        .map(|row| {
            let source: String = row.get("source")?;
            Ok(Coverage {
                waiting_for: waiting_for.remove(&source).unwrap_or_default(),
                source,
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

/// How many sessions of each source wait for an upstream that is down, by what is wrong with it.
async fn waiting_for(db: &Db) -> Result<BTreeMap<String, BTreeMap<String, u64>>, DbError> {
    let shut = ShutGates::read(db).await?;
    let mut all: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    if shut.is_empty() {
        return Ok(all);
    }
    let rows = db
        .fetch_all(
            "-- sessions_waiting_by_place
             SELECT source, state, system, COUNT(*) AS sessions FROM sessions WHERE state <> 'done'
             GROUP BY source, state, system",
            &[],
        )
        .await?;
    for row in rows {
        let (source, state): (String, String) = (row.get("source")?, row.get("state")?);
        let system: Option<String> = row.get("system")?;
        if let Some((reason, _)) = shut.before(&state, &source, system.as_deref()) {
            let count: u64 = row.get("sessions")?;
            *all.entry(source).or_default().entry(reason).or_default() += count;
        }
    }
    Ok(all)
}

/// Something in a source that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
             ORDER BY seen_at DESC, source, length(position), position LIMIT $1",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::inspect::tests::{session, verdict},
        test_support::{TestDb, on_each_database, second},
    };

    on_each_database! {
        every_session_is_counted_once_and_nothing_is_unexplained_without_being_shown,
    }

    async fn every_session_is_counted_once_and_nothing_is_unexplained_without_being_shown(database: TestDb) {
        let db = &database.db;
        for (id, status) in [
            ("a", "pass"),
            ("b", "fail"),
            ("c", "skipped"),
            ("d", "error"),
            ("e", "partial"),
        ] {
            session(db, "calls", id, "done", None).await;
            verdict(db, "calls", id, 1, status).await;
        }
        session(db, "calls", "f", "verifying", Some("look again")).await;
        session(db, "calls", "g", "settled", None).await;
        session(db, "calls", "h", "done", None).await;
        // Judged once, then reopened: it waits, whatever its old verdict was.
        session(db, "calls", "i", "reopened", Some("new activity")).await;
        verdict(db, "calls", "i", 1, "pass").await;
        session(db, "other", "a", "done", None).await;
        verdict(db, "other", "a", 1, "pass").await;
        let mut tx = db.begin().await.unwrap();
        tx.execute(
            "INSERT INTO source_faults (source, position, reason, seen_at) VALUES ('broken', 'line 7', 'not JSON', $1)",
            &crate::params![second(0)],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();

        let coverage = by_source(db).await.unwrap();
        let calls = Coverage {
            source: "calls".to_owned(),
            seen: 9,
            pass: 1,
            partial: 1,
            fail: 1,
            skipped: 1,
            error: 1,
            waiting: 2,
            unexplained: 2,
            unreadable: 0,
            waiting_for: BTreeMap::new(),
        };
        let broken = Coverage {
            source: "broken".to_owned(),
            unreadable: 1,
            ..Coverage::default()
        };
        let other = Coverage {
            source: "other".to_owned(),
            seen: 1,
            pass: 1,
            ..Coverage::default()
        };
        assert_eq!(coverage, [broken, calls, other]);
        assert_eq!(unreadable(db, 10).await.unwrap()[0].position, "line 7");
    }
}
