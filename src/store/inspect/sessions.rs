//! Sessions by filter, each with its latest verdict.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::waiting::ShutGates;
use crate::{
    db::{Db, DbError, Row},
    domain::session::SessionKey,
    params,
};

/// A session at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
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
    /// Why there is no verdict yet, as it is now.
    pub waiting_reason: Option<String>,
    /// Until when it waits, where that is known.
    pub waiting_until: Option<DateTime<Utc>>,
    /// It never came to rest: what was seen may not be all.
    pub incomplete: bool,
    /// The latest verdict, perhaps of an older generation.
    pub verdict: Option<VerdictLine>,
}

/// A verdict at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
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
    /// Behind this one in the list: its latest activity and its key.
    pub after: Option<(DateTime<Utc>, SessionKey)>,
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
    let after = filter.after.as_ref();
    let rows = db
        .fetch_all(
            "-- list_sessions
             SELECT s.source, s.session_id, s.state, s.generation, s.environment, s.first_activity_at, s.last_activity_at,
                    s.waiting_reason, s.waiting_until, s.incomplete, s.system, m.generation AS judged, m.verification_status,
                    m.intent_type, m.intent_confidence, m.verdict_summary, m.diagnostic_status, m.analyzed_at,
                    v.reason, v.severity
             FROM sessions s
             LEFT JOIN monitoring_results m ON m.source = s.source AND m.session_id = s.session_id
             LEFT JOIN verdicts v ON v.source = m.source AND v.session_id = m.session_id AND v.generation = m.generation
             WHERE ($1 IS NULL OR s.source = $1) AND ($2 IS NULL OR s.session_id = $2)
               AND ($3 IS NULL OR $3 LIKE '%,' ||
                    CASE WHEN s.state = 'done' THEN COALESCE(m.verification_status, 'waiting') ELSE 'waiting' END || ',%')
               AND ($4 IS NULL OR m.intent_type = $4) AND ($5 IS NULL OR s.last_activity_at >= $5)
               AND ($7 IS NULL OR s.last_activity_at < $7
                    OR (s.last_activity_at = $7 AND (s.source > $8 OR (s.source = $8 AND s.session_id > $9))))
             ORDER BY s.last_activity_at DESC, s.source, s.session_id LIMIT $6",
            &params![
                filter.source.as_deref(),
                filter.session_id.as_deref(),
                statuses,
                filter.intent.as_deref(),
                filter.since,
                filter.limit,
                after.map(|(at, _)| *at),
                after.map(|(_, key)| key.source.as_str()),
                after.map(|(_, key)| key.session_id.as_str())
            ],
        )
        .await?;
    let shut = ShutGates::read(db).await?;
    rows.iter().map(|row| read(row, &shut)).collect()
}

fn read(row: &Row, shut: &ShutGates) -> Result<SessionLine, DbError> {
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
    let source: String = row.get("source")?;
    let system: Option<String> = row.get("system")?;
    let (waiting_reason, waiting_until) = match shut.before(&state, &source, system.as_deref()) {
        Some((reason, until)) => (Some(reason), until),
        None => (row.get("waiting_reason")?, row.get("waiting_until")?),
    };
    Ok(SessionLine {
        key: SessionKey::new(source, row.get::<String>("session_id")?),
        status,
        state,
        generation: row.get("generation")?,
        environment: row.get("environment")?,
        first_activity_at: row.get("first_activity_at")?,
        last_activity_at: row.get("last_activity_at")?,
        waiting_reason,
        waiting_until,
        incomplete: row.get("incomplete")?,
        verdict,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::inspect::tests::{session, verdict},
        test_support::{TestDb, on_each_database},
    };

    on_each_database! {
        sessions_are_found_by_status_source_intent_and_id,
        a_session_that_was_judged_before_and_waits_again_keeps_its_old_verdict_in_view,
    }

    async fn ids(db: &Db, filter: SessionFilter) -> Vec<String> {
        let lines = list(db, &SessionFilter { limit: 100, ..filter }).await.unwrap();
        lines.into_iter().map(|line| line.key.session_id).collect()
    }

    async fn sessions_are_found_by_status_source_intent_and_id(database: TestDb) {
        let db = &database.db;
        for (id, status) in [("a", "pass"), ("b", "fail"), ("c/é 100%", "fail")] {
            session(db, "calls", id, "done", None).await;
            verdict(db, "calls", id, 1, status).await;
        }
        session(db, "calls", "d", "verifying", Some("look again")).await;
        session(db, "other", "a", "reopened", Some("new activity")).await;
        verdict(db, "other", "a", 1, "fail").await;

        let with_status = |statuses: &[&str]| SessionFilter {
            statuses: statuses.iter().map(|status| (*status).to_owned()).collect(),
            ..SessionFilter::default()
        };
        assert_eq!(ids(db, SessionFilter::default()).await.len(), 5);
        assert_eq!(ids(db, with_status(&["fail"])).await, ["b", "c/é 100%"]);
        assert_eq!(ids(db, with_status(&["waiting"])).await, ["d", "a"]);
        assert_eq!(ids(db, with_status(&["pass", "waiting"])).await, ["a", "d", "a"]);
        let by_id = SessionFilter {
            session_id: Some("c/é 100%".to_owned()),
            ..SessionFilter::default()
        };
        assert_eq!(ids(db, by_id).await, ["c/é 100%"]);
        let by_intent = SessionFilter {
            intent: Some("cancellation".to_owned()),
            ..SessionFilter::default()
        };
        assert!(ids(db, by_intent).await.is_empty());
        let later = SessionFilter {
            since: DateTime::from_timestamp(4_000_000_000, 0),
            ..SessionFilter::default()
        };
        assert!(ids(db, later).await.is_empty());
    }

    async fn a_session_that_was_judged_before_and_waits_again_keeps_its_old_verdict_in_view(database: TestDb) {
        let db = &database.db;
        session(db, "calls", "a", "reopened", Some("new activity")).await;
        verdict(db, "calls", "a", 1, "fail").await;
        let lines = list(
            db,
            &SessionFilter {
                limit: 10,
                ..SessionFilter::default()
            },
        )
        .await
        .unwrap();
        assert_eq!(lines[0].status, "waiting");
        assert_eq!(lines[0].verdict.as_ref().unwrap().status, "fail");
        assert_eq!(lines[0].waiting_reason.as_deref(), Some("new activity"));
    }
}
