//! Sessions by filter, each with its latest verdict.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};

use super::waiting::ShutGates;
use crate::{
    db::{Db, DbError, Row, Tx, Value},
    domain::session::SessionKey,
    params,
};

/// A session at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// Observations that scans saw; 0: only a webhook knows the session.
    pub observations: u64,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
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
    /// In this state: `open`, `settled`, `analyzing`, `verifying`, `done` or `reopened`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// With an id that contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_contains: Option<String>,
    /// With no activity after this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// At most this many.
    pub limit: u32,
}

/// The filter's first eight parameters, over a session `s` and its latest verdict `m`.
macro_rules! matches {
    () => {
        "($1 IS NULL OR s.source = $1) AND ($2 IS NULL OR s.session_id = $2)
               AND ($3 IS NULL OR $3 LIKE '%,' ||
                    CASE WHEN s.state = 'done' THEN COALESCE(m.verification_status, 'waiting') ELSE 'waiting' END || ',%')
               AND ($4 IS NULL OR m.intent_type = $4) AND ($5 IS NULL OR s.last_activity_at >= $5)
               AND ($6 IS NULL OR s.state = $6) AND ($7 IS NULL OR replace(s.session_id, $7, '') <> s.session_id)
               AND ($8 IS NULL OR s.last_activity_at <= $8)"
    };
}

impl SessionFilter {
    fn params(&self) -> Vec<Value> {
        // One parameter for a list of any length, on any database: `,pass,fail,`.
        let statuses = (!self.statuses.is_empty()).then(|| format!(",{},", self.statuses.join(",")));
        params![
            self.source.as_deref(),
            self.session_id.as_deref(),
            statuses,
            self.intent.as_deref(),
            self.since,
            self.state.as_deref(),
            self.id_contains.as_deref().filter(|part| !part.is_empty()),
            self.until
        ]
        .to_vec()
    }
}

/// How many sessions match.
///
/// # Errors
/// When the database cannot answer.
pub async fn count(db: &Db, filter: &SessionFilter) -> Result<u64, DbError> {
    let row = db
        .fetch_optional(
            concat!(
                "-- count_sessions
             SELECT count(*) AS n FROM sessions s
             LEFT JOIN monitoring_results m ON m.source = s.source AND m.session_id = s.session_id WHERE ",
                matches!()
            ),
            &filter.params(),
        )
        .await?;
    row.map_or(Ok(0), |row| row.get("n"))
}

/// Sessions looked at by one statement.
const WINDOW: u32 = 2_000;

/// Some of the sessions, in the order of their keys.
#[derive(Debug)]
pub struct Window {
    /// Those that match.
    pub matching: Vec<SessionKey>,
    /// The last one looked at.
    pub end: SessionKey,
    /// Whether there are more behind it.
    pub more: bool,
}

/// The next sessions after `after` that match and were known at `known_at`: at most `most`.
///
/// # Errors
/// When the database cannot answer.
pub async fn window(
    tx: &mut Tx,
    filter: &SessionFilter,
    after: &SessionKey,
    known_at: DateTime<Utc>,
    most: u32,
) -> Result<Window, DbError> {
    let key = |row: &Row| {
        Ok::<_, DbError>(SessionKey::new(
            row.get::<String>("source")?,
            row.get::<String>("session_id")?,
        ))
    };
    let full = tx
        .fetch_optional(
            "-- session_window
             SELECT source, session_id FROM sessions WHERE (source, session_id) > ($1, $2)
             ORDER BY source, session_id LIMIT 1 OFFSET $3",
            &params![&after.source, &after.session_id, WINDOW - 1],
        )
        .await?;
    let mut more = full.is_some();
    let last = match full {
        Some(row) => Some(row),
        None => {
            tx.fetch_optional(
                "-- last_session
                 SELECT source, session_id FROM sessions WHERE (source, session_id) > ($1, $2)
                 ORDER BY source DESC, session_id DESC LIMIT 1",
                &params![&after.source, &after.session_id],
            )
            .await?
        }
    };
    let Some(last) = last else {
        return Ok(Window {
            matching: Vec::new(),
            end: after.clone(),
            more: false,
        });
    };
    let mut end = key(&last)?;
    let mut values = filter.params();
    values.extend(params![
        &after.source,
        &after.session_id,
        &end.source,
        &end.session_id,
        known_at,
        most
    ]);
    let rows = tx
        .fetch_all(
            concat!(
                "-- sessions_in_window
             SELECT s.source, s.session_id FROM sessions s
             LEFT JOIN monitoring_results m ON m.source = s.source AND m.session_id = s.session_id
             WHERE (s.source, s.session_id) > ($9, $10) AND (s.source, s.session_id) <= ($11, $12) AND s.discovered_at <= $13 AND ",
                matches!(),
                " ORDER BY s.source, s.session_id LIMIT $14"
            ),
            &values,
        )
        .await?;
    let matching = rows.iter().map(key).collect::<Result<Vec<_>, DbError>>()?;
    if let Some(last) = matching.last().filter(|_| matching.len() >= most as usize) {
        end = last.clone();
        more = true;
    }
    Ok(Window { matching, end, more })
}

macro_rules! list {
    () => {
        "-- list_sessions
             SELECT s.source, s.session_id, s.state, s.generation, s.environment, s.first_activity_at, s.last_activity_at,
                    s.observation_count, s.waiting_reason, s.waiting_until, s.incomplete, s.system, m.generation AS judged, m.verification_status,
                    m.intent_type, m.intent_confidence, m.verdict_summary, m.diagnostic_status, m.analyzed_at,
                    v.reason, v.severity
             FROM sessions s
             LEFT JOIN monitoring_results m ON m.source = s.source AND m.session_id = s.session_id
             LEFT JOIN verdicts v ON v.source = m.source AND v.session_id = m.session_id AND v.generation = m.generation
             WHERE "
    };
}

macro_rules! order {
    () => {
        " ORDER BY s.last_activity_at DESC, s.source, s.session_id"
    };
}

/// Where a page of sessions ends: the order of pages is latest activity first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    last_activity_at: DateTime<Utc>,
    key: SessionKey,
}

impl Cursor {
    fn of(line: &SessionLine) -> Self {
        Self {
            last_activity_at: line.last_activity_at,
            key: line.key.clone(),
        }
    }
}

/// One word, whatever the session's id holds: it is pasted into shells and addresses.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = (
            self.last_activity_at.timestamp_micros(),
            &self.key.source,
            &self.key.session_id,
        );
        let json = serde_json::to_vec(&parts).map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let json = URL_SAFE_NO_PAD.decode(text).ok()?;
            let (micros, source, session_id): (i64, String, String) = serde_json::from_slice(&json).ok()?;
            Some(Self {
                last_activity_at: DateTime::from_timestamp_micros(micros)?,
                key: SessionKey::new(source, session_id),
            })
        };
        read().ok_or_else(|| "it is no end of a page: take it from what the page before says".to_owned())
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A page of sessions, latest activity first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionLine>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<Cursor>,
}

/// Sessions by filter.
///
/// # Errors
/// When the database cannot answer.
pub async fn list(db: &Db, filter: &SessionFilter) -> Result<Vec<SessionLine>, DbError> {
    let shut = ShutGates::read(db).await?;
    rows(db, filter, None, filter.limit, &shut).await
}

/// The next sessions after `after` that match the filter and, where it is said, wait for a reason that contains `waiting_for`:
/// the reason as it is shown, which for a session behind an upstream that is down is that upstream's.
///
/// # Errors
/// When the database cannot answer.
pub async fn page(
    db: &Db,
    filter: &SessionFilter,
    waiting_for: Option<&str>,
    after: Option<&Cursor>,
) -> Result<SessionPage, DbError> {
    let shut = ShutGates::read(db).await?;
    let limit = filter.limit as usize;
    let mut filter = filter.clone();
    if waiting_for.is_some() {
        filter.statuses = vec!["waiting".to_owned()];
    }
    let mut cursor = after.cloned();
    let mut sessions: Vec<SessionLine> = Vec::new();
    loop {
        // One more than is shown says whether there are more.
        let most = match waiting_for {
            None => filter.limit.saturating_add(1),
            Some(_) => WINDOW,
        };
        let lines = rows(db, &filter, cursor.as_ref(), most, &shut).await?;
        let is_last = lines.len() < most as usize;
        cursor = lines.last().map(Cursor::of);
        let waits = |line: &SessionLine| match (waiting_for, &line.waiting_reason) {
            (None, _) => true,
            (Some(part), reason) => reason.as_ref().is_some_and(|reason| reason.contains(part)),
        };
        sessions.extend(lines.into_iter().filter(waits));
        if is_last || sessions.len() > limit {
            break;
        }
    }
    let has_more = sessions.len() > limit;
    sessions.truncate(limit);
    Ok(SessionPage {
        next: sessions.last().filter(|_| has_more).map(Cursor::of),
        sessions,
    })
}

async fn rows(
    db: &Db,
    filter: &SessionFilter,
    after: Option<&Cursor>,
    most: u32,
    shut: &ShutGates,
) -> Result<Vec<SessionLine>, DbError> {
    let mut values = filter.params();
    let sql = match after {
        None => {
            values.extend(params![most]);
            concat!(list!(), matches!(), order!(), " LIMIT $9")
        }
        Some(cursor) => {
            values.extend(params![
                cursor.last_activity_at,
                &cursor.key.source,
                &cursor.key.session_id,
                most
            ]);
            concat!(
                list!(),
                matches!(),
                " AND s.last_activity_at <= $9
                  AND (s.last_activity_at < $9 OR (s.source, s.session_id) > ($10, $11))",
                order!(),
                " LIMIT $12"
            )
        }
    };
    let rows = db.fetch_all(sql, &values).await?;
    rows.iter().map(|row| read(row, shut)).collect()
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
        observations: row.get("observation_count")?,
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
        pages_follow_each_other_without_gap_or_overlap,
        sessions_are_found_by_what_they_wait_for_also_where_a_gate_says_it,
    }

    async fn pages_follow_each_other_without_gap_or_overlap(database: TestDb) {
        let db = &database.db;
        // All of one moment, and one that is a page's end alone: ids that an address would have to escape.
        for id in ["a/1", "b 2", "c'3", "d\"4", "é"] {
            session(db, "calls", id, "done", None).await;
            session(db, "chats", id, "settled", Some("waiting for its analysis")).await;
        }
        let mut tx = db.begin().await.unwrap();
        let later = DateTime::from_timestamp(50, 0).unwrap();
        tx.execute(
            "UPDATE sessions SET last_activity_at = $1 WHERE session_id = 'c''3' AND source = 'calls'",
            &params![later],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let filter = SessionFilter {
            limit: 3,
            ..SessionFilter::default()
        };
        let (mut seen, mut after): (Vec<SessionKey>, Option<Cursor>) = (Vec::new(), None);
        let mut sizes = Vec::new();
        loop {
            let page = page(db, &filter, None, after.as_ref()).await.unwrap();
            sizes.push(page.sessions.len());
            seen.extend(page.sessions.into_iter().map(|line| line.key));
            // As it is pasted.
            match page.next {
                Some(next) => after = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(sizes, [3, 3, 3, 1]);
        assert_eq!(seen[0], SessionKey::new("calls", "c'3"));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 10);

        let waiting = SessionFilter {
            id_contains: Some("b".to_owned()),
            state: Some("settled".to_owned()),
            ..filter.clone()
        };
        assert_eq!(page(db, &waiting, None, None).await.unwrap().sessions.len(), 1);
        let quiet = SessionFilter {
            until: DateTime::from_timestamp(49, 0),
            limit: 100,
            ..SessionFilter::default()
        };
        assert_eq!(page(db, &quiet, None, None).await.unwrap().sessions.len(), 9);
    }

    async fn sessions_are_found_by_what_they_wait_for_also_where_a_gate_says_it(database: TestDb) {
        let db = &database.db;
        session(
            db,
            "calls",
            "looks",
            "verifying",
            Some("not found yet: looked 1 of 4 times"),
        )
        .await;
        session(db, "calls", "behind", "analyzing", Some("waiting for its analysis")).await;
        session(db, "calls", "done", "done", None).await;
        let mut tx = db.begin().await.unwrap();
        tx.execute(
            "INSERT INTO gates (key, state, reason, detail, updated_at) VALUES ('llm:default', 'closed', 'billing', 'status 402', $1)",
            &params![DateTime::from_timestamp(9, 0)],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let found = async |part: &str| -> Vec<String> {
            let filter = SessionFilter {
                limit: 10,
                ..SessionFilter::default()
            };
            let page = page(db, &filter, Some(part), None).await.unwrap();
            page.sessions.into_iter().map(|line| line.key.session_id).collect()
        };
        assert_eq!(found("402").await, ["behind"]);
        assert_eq!(found("looked 1").await, ["looks"]);
        // What stands on its row is not why it waits now.
        assert_eq!(found("for its analysis").await, [""; 0]);
        assert_eq!(found("").await.len(), 2);
    }

    #[test]
    fn what_is_no_end_of_a_page_is_refused() {
        for wrong in ["", "airline-00-0", "WzFd", "bnVsbA"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
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
