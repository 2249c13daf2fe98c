//! What scans have seen of sessions, from sources that show a window at a time.
//!
//! Each page is merged into rows by trace and observation, and what they add up to is stored as the session. The same
//! observation again changes nothing; the order of pages does not matter. A trace belongs to one session: the one that any
//! of its observations names, whenever that one arrives, and the first by alphabet should they name several.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value as Json, json};

use super::{retention, sessions};
use crate::{
    db::{Db, DbError, Row, Sql, Tx},
    domain::{
        grouping::{self, Span},
        session::{SessionKey, digest_of},
        webhook::not_in_traces_yet,
    },
    params,
    ports::{SeenObservation, SeenSession},
};

/// What a page brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// Sessions with something new in them.
    pub changed: u64,
    /// Of those, sessions never seen before.
    pub new: u64,
}

/// The first by alphabet is the first by bytes, as within a page and in SQLite, however the database sorts by itself.
const TRACES: Sql = Sql::each(
    "-- merge_seen_traces
     INSERT INTO seen_traces (source, trace_id, session_id, user_hash, environment, started_at, last_activity_at)
     SELECT $1, value ->> 'trace', value ->> 'session', value ->> 'user', value ->> 'environment', value ->> 'from', value ->> 'to'
     FROM json_each($2) WHERE true
     ON CONFLICT (source, trace_id) DO UPDATE SET
         session_id = CASE WHEN excluded.session_id IS NULL THEN seen_traces.session_id
                           WHEN seen_traces.session_id IS NULL OR seen_traces.grouped = 1 THEN excluded.session_id
                           ELSE MIN(seen_traces.session_id, excluded.session_id) END,
         grouped = CASE WHEN excluded.session_id IS NULL THEN seen_traces.grouped ELSE 0 END,
         user_hash = CASE WHEN seen_traces.user_hash = '' THEN excluded.user_hash ELSE seen_traces.user_hash END,
         environment = COALESCE(excluded.environment, seen_traces.environment),
         started_at = MIN(seen_traces.started_at, excluded.started_at),
         last_activity_at = MAX(seen_traces.last_activity_at, excluded.last_activity_at)",
    "-- merge_seen_traces
     INSERT INTO seen_traces (source, trace_id, session_id, user_hash, environment, started_at, last_activity_at)
     SELECT $1, t.trace, t.session, t.\"user\", t.environment,
            timestamptz 'epoch' + t.\"from\" * interval '1 microsecond', timestamptz 'epoch' + t.\"to\" * interval '1 microsecond'
     FROM jsonb_to_recordset($2) AS t (trace text, session text, \"user\" text, environment text, \"from\" bigint, \"to\" bigint)
     ON CONFLICT (source, trace_id) DO UPDATE SET
         session_id = CASE WHEN excluded.session_id IS NULL THEN seen_traces.session_id
                           WHEN seen_traces.session_id IS NULL OR seen_traces.grouped THEN excluded.session_id
                           ELSE LEAST(seen_traces.session_id COLLATE \"C\", excluded.session_id COLLATE \"C\") END,
         grouped = CASE WHEN excluded.session_id IS NULL THEN seen_traces.grouped ELSE false END,
         user_hash = CASE WHEN seen_traces.user_hash = '' THEN excluded.user_hash ELSE seen_traces.user_hash END,
         environment = COALESCE(excluded.environment, seen_traces.environment),
         started_at = LEAST(seen_traces.started_at, excluded.started_at),
         last_activity_at = GREATEST(seen_traces.last_activity_at, excluded.last_activity_at)",
);

const OBSERVATIONS: Sql = Sql::each(
    "-- merge_seen_observations
     INSERT INTO seen_observations (source, trace_id, observation_id, mark, started_at, last_activity_at, ends_session)
     SELECT $1, value ->> 'trace', value ->> 'id', value ->> 'mark', value ->> 'from', value ->> 'to', value ->> 'ends'
     FROM json_each($2) WHERE true
     ON CONFLICT (source, trace_id, observation_id) DO UPDATE SET
         mark = excluded.mark, started_at = excluded.started_at, last_activity_at = excluded.last_activity_at,
         ends_session = excluded.ends_session
     WHERE seen_observations.mark <> excluded.mark
     RETURNING trace_id",
    "-- merge_seen_observations
     INSERT INTO seen_observations (source, trace_id, observation_id, mark, started_at, last_activity_at, ends_session)
     SELECT $1, o.trace, o.id, o.mark, timestamptz 'epoch' + o.\"from\" * interval '1 microsecond',
            timestamptz 'epoch' + o.\"to\" * interval '1 microsecond', o.ends = 1
     FROM jsonb_to_recordset($2) AS o (trace text, id text, mark text, \"from\" bigint, \"to\" bigint, ends bigint)
     ON CONFLICT (source, trace_id, observation_id) DO UPDATE SET
         mark = excluded.mark, started_at = excluded.started_at, last_activity_at = excluded.last_activity_at,
         ends_session = excluded.ends_session
     WHERE seen_observations.mark <> excluded.mark
     RETURNING trace_id",
);

const SESSIONS_OF: Sql = Sql::each(
    "-- sessions_of_traces
     SELECT trace_id, session_id FROM seen_traces
     WHERE source = $1 AND trace_id IN (SELECT value FROM json_each($2))",
    "-- sessions_of_traces
     SELECT trace_id, session_id FROM seen_traces
     WHERE source = $1 AND trace_id IN (SELECT jsonb_array_elements_text($2))",
);

/// CROSS: SQLite's planner keeps the order, and begins with the sessions' few traces instead of the source's all observations.
pub(super) const OF_SESSIONS: Sql = Sql::each(
    "-- seen_of_sessions
     SELECT t.session_id, o.trace_id, o.observation_id, o.mark, o.started_at, o.last_activity_at, o.ends_session, t.environment,
            t.end_used
     FROM json_each($2) wanted CROSS JOIN seen_traces t CROSS JOIN seen_observations o
     WHERE t.source = $1 AND t.session_id = wanted.value AND t.session_id IS NOT NULL
        AND o.source = t.source AND o.trace_id = t.trace_id",
    "-- seen_of_sessions
     SELECT t.session_id, o.trace_id, o.observation_id, o.mark, o.started_at, o.last_activity_at, o.ends_session, t.environment,
            t.end_used
     FROM seen_traces t JOIN seen_observations o ON o.source = t.source AND o.trace_id = t.trace_id
     WHERE t.source = $1 AND t.session_id IN (SELECT jsonb_array_elements_text($2)) AND t.session_id IS NOT NULL",
);

/// Of these observations, those whose session is done and that are not kept any more.
pub(super) const PRUNED: Sql = Sql::each(
    "-- pruned_observations
     SELECT value ->> 'trace' AS trace_id, value ->> 'id' AS observation_id
     FROM json_each($2)
     LEFT JOIN seen_traces t ON t.source = $1 AND t.trace_id = value ->> 'trace'
     JOIN sessions s ON s.source = $1 AND s.session_id = COALESCE(value ->> 'session', t.session_id)
     WHERE s.state = 'done' AND NOT EXISTS (SELECT 1 FROM seen_observations o
         WHERE o.source = $1 AND o.trace_id = value ->> 'trace' AND o.observation_id = value ->> 'id')",
    "-- pruned_observations
     SELECT old.trace AS trace_id, old.id AS observation_id
     FROM jsonb_to_recordset($2) AS old (trace text, id text, session text)
     LEFT JOIN seen_traces t ON t.source = $1 AND t.trace_id = old.trace
     JOIN sessions s ON s.source = $1 AND s.session_id = COALESCE(old.session, t.session_id)
     WHERE s.state = 'done' AND NOT EXISTS (SELECT 1 FROM seen_observations o
         WHERE o.source = $1 AND o.trace_id = old.trace AND o.observation_id = old.id)",
);

/// Sessions counted by one statement: what is read of them at once stays small.
const COUNTED_AT_ONCE: usize = 100;

/// Merges a page of observations, and stores the sessions that it changed.
///
/// # Errors
/// When the database refuses it.
pub async fn merge(tx: &mut Tx, source: &str, page: &[SeenObservation]) -> Result<Merged, DbError> {
    let page = &without_pruned(tx, source, page).await?;
    if page.is_empty() {
        return Ok(Merged::default());
    }
    let traces = traces_of_page(source, page);
    let ids = json!(traces.keys().collect::<Vec<_>>());
    let before = sessions_of(tx, source, &ids).await?;
    let rows: Json = traces.into_values().collect();
    tx.execute(TRACES, &params![source, rows]).await?;
    let changed = tx
        .fetch_all(OBSERVATIONS, &params![source, observations_of_page(page)])
        .await?;
    let changed = changed
        .iter()
        .map(|row| row.get::<String>("trace_id"))
        .collect::<Result<BTreeSet<_>, _>>()?;
    let after = sessions_of(tx, source, &ids).await?;

    // A trace that moved to another session changed both.
    let moved = |trace: &&String| before.get(*trace) != after.get(*trace);
    let mut touched: BTreeSet<&String> = changed.iter().filter_map(|trace| after.get(trace)).collect();
    for trace in after.keys().filter(moved) {
        touched.extend(before.get(trace).into_iter().chain(after.get(trace)));
    }
    recount(tx, source, &touched.into_iter().collect::<Vec<_>>()).await
}

/// Leaves out what was deleted by age after its session was judged, and is shown once more: it is no news. A session that is
/// not judged yet needs all of it, however old.
async fn without_pruned<'p>(
    tx: &mut Tx,
    source: &str,
    page: &'p [SeenObservation],
) -> Result<Cow<'p, [SeenObservation]>, DbError> {
    let kept_since = tx.now().await? - TimeDelta::from_std(retention::SEEN_FOR).unwrap_or_default();
    let is_old = |seen: &&SeenObservation| seen.last_activity < kept_since;
    let sessions: BTreeMap<&str, &str> = page
        .iter()
        .filter_map(|seen| Some((seen.trace_id.as_str(), seen.session_id.as_deref()?)))
        .collect();
    let old: Json = page
        .iter()
        .filter(is_old)
        .map(|seen| {
            let session = sessions.get(seen.trace_id.as_str());
            json!({"trace": seen.trace_id, "id": seen.id, "session": session})
        })
        .collect();
    if old.as_array().is_none_or(Vec::is_empty) {
        return Ok(Cow::Borrowed(page));
    }
    let rows = tx.fetch_all(PRUNED, &params![source, old]).await?;
    let pruned = rows
        .iter()
        .map(|row| Ok((row.get("trace_id")?, row.get("observation_id")?)))
        .collect::<Result<BTreeSet<(String, String)>, DbError>>()?;
    let is_pruned = |seen: &SeenObservation| pruned.contains(&(seen.trace_id.clone(), seen.id.clone()));
    Ok(page.iter().filter(|seen| !is_pruned(seen)).cloned().collect())
}

fn traces_of_page(source: &str, page: &[SeenObservation]) -> BTreeMap<String, Json> {
    let mut traces: BTreeMap<&str, Vec<&SeenObservation>> = BTreeMap::new();
    for seen in page {
        traces.entry(&seen.trace_id).or_default().push(seen);
    }
    traces
        .into_iter()
        .map(|(trace, seen)| {
            let session = seen.iter().filter_map(|seen| seen.session_id.as_deref()).min();
            let user = seen.iter().filter_map(|seen| seen.user_id.as_deref()).min();
            let environment = seen.iter().filter_map(|seen| seen.environment.as_deref()).min();
            let from = seen.iter().map(|seen| seen.started_at).min();
            let to = seen.iter().map(|seen| seen.last_activity).max();
            let row = json!({
                "trace": trace, "session": session, "user": grouping::user_hash(source, user), "environment": environment,
                "from": from.map(|at| at.timestamp_micros()), "to": to.map(|at| at.timestamp_micros()),
            });
            (trace.to_owned(), row)
        })
        .collect()
}

/// Each observation once, as it came last: one statement cannot change a row twice.
fn observations_of_page(page: &[SeenObservation]) -> Json {
    let latest: BTreeMap<(&str, &str), &SeenObservation> = page
        .iter()
        .map(|seen| ((seen.trace_id.as_str(), seen.id.as_str()), seen))
        .collect();
    latest
        .into_values()
        .map(|seen| {
            json!({
                "trace": seen.trace_id, "id": seen.id, "mark": seen.mark, "from": seen.started_at.timestamp_micros(),
                "to": seen.last_activity.timestamp_micros(), "ends": u8::from(seen.ends_session),
            })
        })
        .collect()
}

async fn sessions_of(tx: &mut Tx, source: &str, traces: &Json) -> Result<BTreeMap<String, String>, DbError> {
    let rows = tx.fetch_all(SESSIONS_OF, &params![source, traces]).await?;
    rows.iter()
        .filter_map(|row| {
            let session = row.get::<Option<String>>("session_id").transpose()?;
            Some(session.and_then(|session| Ok((row.get("trace_id")?, session))))
        })
        .collect()
}

/// Stores each of the sessions as all of its rows add up to.
async fn recount(tx: &mut Tx, source: &str, touched: &[&String]) -> Result<Merged, DbError> {
    let mut merged = Merged::default();
    for some in touched.chunks(COUNTED_AT_ONCE) {
        let rows = tx.fetch_all(OF_SESSIONS, &params![source, json!(some)]).await?;
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        for row in &rows {
            sums.entry(row.get("session_id")?).or_default().add(row)?;
        }
        for &session_id in some {
            merged.changed += 1;
            let seen = sums.remove(session_id).and_then(|sum| sum.into_session(session_id));
            if let Some(seen) = seen {
                merged.new += u64::from(sessions::save_seen(tx, source, &seen).await?);
            } else {
                let key = SessionKey::new(source, session_id);
                sessions::forget_unjudged(tx, &key, &not_in_traces_yet()).await?;
            }
        }
    }
    Ok(merged)
}

/// What the rows of one session add up to.
#[derive(Default)]
struct Sum {
    /// Id and mark.
    marks: Vec<(String, String)>,
    /// By trace: its latest activity, and whether it holds an end signal.
    traces: BTreeMap<String, (DateTime<Utc>, bool)>,
    environment: Option<String>,
    first: Option<DateTime<Utc>>,
}

impl Sum {
    fn add(&mut self, row: &Row) -> Result<(), DbError> {
        let last: DateTime<Utc> = row.get("last_activity_at")?;
        let ends = row.get::<bool>("ends_session")? && !row.get::<bool>("end_used")?;
        let trace = self.traces.entry(row.get("trace_id")?).or_insert((last, false));
        *trace = (trace.0.max(last), trace.1 || ends);
        let started: DateTime<Utc> = row.get("started_at")?;
        self.first = Some(self.first.map_or(started, |first| first.min(started)));
        let environment: Option<String> = row.get("environment")?;
        self.environment = self.environment.take().into_iter().chain(environment).min();
        self.marks.push((row.get("observation_id")?, row.get("mark")?));
        Ok(())
    }

    fn into_session(self, session_id: &str) -> Option<SeenSession> {
        // The signal counts while nothing came after the trace that holds it: a call that went on is not over.
        let (last_activity, ended) = self.traces.values().max().copied()?;
        Some(SeenSession {
            session_id: session_id.to_owned(),
            environment: self.environment,
            first_activity: self.first?,
            last_activity,
            observations: self.marks.len() as u64,
            traces: self.traces.len() as u64,
            digest: digest_of(self.marks.iter().map(|(id, mark)| (id.as_str(), mark.as_str()))),
            ended,
        })
    }
}

/// The traces of a session, as far as scans saw them.
///
/// # Errors
/// When the database cannot answer.
pub async fn traces_of(db: &Db, key: &SessionKey) -> Result<Vec<String>, DbError> {
    let rows = db
        .fetch_all(
            "-- traces_of_session
             SELECT trace_id FROM seen_traces
             WHERE source = $1 AND session_id = $2 AND session_id IS NOT NULL ORDER BY started_at, trace_id",
            &params![&key.source, &key.session_id],
        )
        .await?;
    rows.iter().map(|row| row.get("trace_id")).collect()
}

/// The session was read: the end signals seen so far ended what was read. A trace that held one ends nothing more, so what
/// comes late to it waits for rest with all that comes with it, and is not judged piece by piece. A call that goes on
/// signals its next end in another trace.
///
/// # Errors
/// When the database refuses it.
pub async fn use_end_signals(tx: &mut Tx, key: &SessionKey) -> Result<(), DbError> {
    tx.execute(USE_END_SIGNALS, &params![&key.source, &key.session_id, true])
        .await?;
    Ok(())
}

/// In the order in which a page of a scan takes traces, so that neither waits for what the other has.
pub(super) const USE_END_SIGNALS: Sql = Sql::each(
    "-- use_end_signals
     UPDATE seen_traces SET end_used = $3
     WHERE source = $1 AND session_id = $2 AND session_id IS NOT NULL AND EXISTS (
         SELECT 1 FROM seen_observations o
         WHERE o.source = seen_traces.source AND o.trace_id = seen_traces.trace_id AND o.ends_session = $3)",
    "-- use_end_signals
     WITH ended AS (
         SELECT t.trace_id FROM seen_traces t
         WHERE t.source = $1 AND t.session_id = $2 AND t.session_id IS NOT NULL AND EXISTS (
             SELECT 1 FROM seen_observations o
             WHERE o.source = t.source AND o.trace_id = t.trace_id AND o.ends_session = $3)
         ORDER BY t.trace_id COLLATE \"C\" FOR NO KEY UPDATE OF t)
     UPDATE seen_traces SET end_used = $3 FROM ended WHERE source = $1 AND seen_traces.trace_id = ended.trace_id",
);

pub(super) const LOOSE: &str = "-- loose_traces
    SELECT trace_id, user_hash, started_at, last_activity_at FROM seen_traces
    WHERE source = $1 AND session_id IS NULL AND last_activity_at <= $2 ORDER BY user_hash, started_at LIMIT $3";

pub(super) const NEAR: Sql = Sql::each(
    "-- groups_near
     SELECT session_id, MIN(started_at) AS started_at, MAX(last_activity_at) AS ended_at FROM seen_traces
     WHERE source = $1 AND user_hash = $2 AND grouped = 1 AND session_id IN (
         SELECT near.session_id FROM seen_traces near
         WHERE near.source = $1 AND near.user_hash = $2 AND near.grouped = 1 AND near.started_at <= $4
            AND near.last_activity_at >= $3)
     GROUP BY session_id ORDER BY MIN(started_at), session_id",
    "-- groups_near
     SELECT session_id, MIN(started_at) AS started_at, MAX(last_activity_at) AS ended_at FROM seen_traces
     WHERE source = $1 AND user_hash = $2 AND grouped AND session_id IN (
         SELECT near.session_id FROM seen_traces near
         WHERE near.source = $1 AND near.user_hash = $2 AND near.grouped AND near.started_at <= $4
            AND near.last_activity_at >= $3)
     GROUP BY session_id ORDER BY MIN(started_at), session_id",
);

/// Makes sessions of traces that name none and have rested since `rested_at`, at most `page` of them. Answers how many
/// traces, and what came of it.
///
/// # Errors
/// When the database refuses it.
pub async fn group_loose(
    tx: &mut Tx,
    source: &str,
    rested_at: DateTime<Utc>,
    page: u32,
) -> Result<(usize, Merged), DbError> {
    let gap = TimeDelta::from_std(grouping::GAP).unwrap_or_default();
    let rows = tx.fetch_all(LOOSE, &params![source, rested_at, page]).await?;
    let mut touched = BTreeSet::new();
    for row in &rows {
        let user: String = row.get("user_hash")?;
        let trace = Span {
            started_at: row.get("started_at")?,
            ended_at: row.get("last_activity_at")?,
        };
        let near = tx
            .fetch_all(
                NEAR,
                &params![source, &user, trace.started_at - gap, trace.ended_at + gap],
            )
            .await?;
        let mut session = None;
        for group in &near {
            let span = Span {
                started_at: group.get("started_at")?,
                ended_at: group.get("ended_at")?,
            };
            if grouping::joins(span, trace, user.is_empty()) {
                session = Some(group.get::<String>("session_id")?);
                break;
            }
        }
        let session = session.unwrap_or_else(|| grouping::group_id(source, &user, trace.started_at));
        tx.execute(
            "-- group_trace
             UPDATE seen_traces SET session_id = $3, grouped = $4 WHERE source = $1 AND trace_id = $2",
            &params![source, row.get::<String>("trace_id")?, &session, true],
        )
        .await?;
        touched.insert(session);
    }
    let merged = recount(tx, source, &touched.iter().collect::<Vec<_>>()).await?;
    Ok((rows.len(), merged))
}

/// Traces of each source that no session is known of: `(source, traces)`.
///
/// # Errors
/// When the database cannot answer.
pub async fn loose_traces(db: &Db) -> Result<BTreeMap<String, u64>, DbError> {
    let rows = db
        .fetch_all(
            "-- count_loose_traces
             SELECT source, COUNT(*) AS traces FROM seen_traces WHERE session_id IS NULL GROUP BY source",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.get("source")?, row.get("traces")?)))
        .collect()
}

#[cfg(test)]
mod tests;
