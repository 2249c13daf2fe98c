//! Sessions and where each stands.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    db::{Db, DbError, Row, Tx},
    domain::session::{Generation, SessionKey, SessionState},
    params,
    ports::SeenSession,
};

/// One row of `sessions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Which.
    pub key: SessionKey,
    /// Where it stands.
    pub state: SessionState,
    /// The analysis that counts.
    pub generation: Generation,
    /// `production`, …
    pub environment: Option<String>,
    /// Latest activity seen.
    pub last_activity_at: DateTime<Utc>,
    /// Of the content as last scanned.
    pub digest: String,
    /// Since when it is the same.
    pub digest_since: DateTime<Utc>,
    /// Since when it waits to settle.
    pub open_since: DateTime<Utc>,
    /// An explicit end signal was seen.
    pub ended: bool,
    /// Settled by the deadline, not by rest.
    pub incomplete: bool,
    /// Of the content that the current generation judged.
    pub analyzed_digest: Option<String>,
    /// The system whose turn it is, while verifying.
    pub system: Option<String>,
    /// Looks at the systems of record so far, while verifying.
    pub look_round: u32,
    /// When its analysis was first called for.
    pub settled_at: Option<DateTime<Utc>>,
}

macro_rules! columns {
    () => {
        "source, session_id, state, generation, environment, last_activity_at, digest, digest_since, open_since, ended, incomplete,
         analyzed_digest, system, look_round, settled_at"
    };
}

fn read(row: &Row) -> Result<StoredSession, DbError> {
    let state: String = row.get("state")?;
    Ok(StoredSession {
        key: SessionKey::new(row.get::<String>("source")?, row.get::<String>("session_id")?),
        state: SessionState::parse(&state).ok_or_else(|| row.bad("state", "not a known state"))?,
        generation: row.get("generation")?,
        environment: row.get("environment")?,
        last_activity_at: row.get("last_activity_at")?,
        digest: row.get("digest")?,
        digest_since: row.get("digest_since")?,
        open_since: row.get("open_since")?,
        ended: row.get("ended")?,
        incomplete: row.get("incomplete")?,
        analyzed_digest: row.get("analyzed_digest")?,
        system: row.get("system")?,
        look_round: row.get("look_round")?,
        settled_at: row.get("settled_at")?,
    })
}

const LOAD: &str = concat!(
    "-- load_session\nSELECT ",
    columns!(),
    " FROM sessions WHERE source = $1 AND session_id = $2"
);

/// One session, or `None` when it was never seen.
///
/// # Errors
/// When the database cannot answer.
pub async fn load(db: &Db, key: &SessionKey) -> Result<Option<StoredSession>, DbError> {
    let row = db.fetch_optional(LOAD, &params![&key.source, &key.session_id]).await?;
    row.as_ref().map(read).transpose()
}

/// One session, inside a transaction.
///
/// # Errors
/// When the database cannot answer.
pub async fn load_in(tx: &mut Tx, key: &SessionKey) -> Result<Option<StoredSession>, DbError> {
    let row = tx.fetch_optional(LOAD, &params![&key.source, &key.session_id]).await?;
    row.as_ref().map(read).transpose()
}

/// Whether this generation still counts and is not finished: everything else a job writes depends on it.
///
/// # Errors
/// When the database cannot answer.
pub async fn is_current(tx: &mut Tx, key: &SessionKey, generation: Generation) -> Result<bool, DbError> {
    let row = tx
        .fetch_optional(
            "-- session_is_current
             SELECT 1 AS yes FROM sessions
             WHERE source = $1 AND session_id = $2 AND generation = $3 AND state <> 'done'",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    Ok(row.is_some())
}

/// Stores a session as a scan saw it, state untouched; a new one begins as `open`. Answers true when it is new.
///
/// # Errors
/// When the database refuses it.
pub async fn save_seen(tx: &mut Tx, source: &str, seen: &SeenSession) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let row = tx.fetch_optional(
        "-- save_seen_session
         INSERT INTO sessions (source, session_id, environment, first_activity_at, last_activity_at, observation_count,
                               trace_count, digest, digest_since, open_since, ended, state, waiting_reason, discovered_at,
                               updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, 'open', 'just seen: waiting to settle', $9, $9)
         ON CONFLICT (source, session_id) DO UPDATE SET
             environment = COALESCE(excluded.environment, sessions.environment),
             first_activity_at = excluded.first_activity_at,
             last_activity_at = excluded.last_activity_at,
             observation_count = excluded.observation_count,
             trace_count = excluded.trace_count,
             digest_since = CASE WHEN sessions.digest = excluded.digest THEN sessions.digest_since ELSE excluded.digest_since END,
             digest = excluded.digest,
             ended = excluded.ended,
             updated_at = excluded.updated_at
         RETURNING discovered_at",
        &params![
            source,
            &seen.session_id,
            seen.environment.clone(),
            seen.first_activity,
            seen.last_activity,
            seen.observations,
            seen.traces,
            &seen.digest,
            now,
            seen.ended
        ],
    )
    .await?;
    let row = row.ok_or_else(|| DbError::other("statement `save_seen_session` gave no row"))?;
    Ok(row.get::<DateTime<Utc>>("discovered_at")? == now)
}

/// Marks that the session waits, for a person to read. It stays in its state.
///
/// # Errors
/// When the database refuses it.
pub async fn set_waiting(
    tx: &mut Tx,
    key: &SessionKey,
    reason: &str,
    until: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- set_session_waiting
         UPDATE sessions SET waiting_reason = $3, waiting_until = $4, updated_at = $5 WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, reason, until, now],
    )
    .await?;
    Ok(())
}

/// The session is over: its analysis is called for, in this generation.
///
/// # Errors
/// When the database refuses it.
pub async fn settle(tx: &mut Tx, key: &SessionKey, generation: Generation, incomplete: bool) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- settle_session
         UPDATE sessions SET state = 'settled', generation = $3, incomplete = $4, settled_at = $5, updated_at = $5,
                system = NULL, look_round = 0, analyzed_digest = NULL, done_at = NULL,
                waiting_reason = 'waiting for its analysis', waiting_until = NULL
         WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, generation, incomplete, now],
    )
    .await?;
    Ok(())
}

/// New activity after the verdict: it waits to come to rest again. The verdict stands until then.
///
/// # Errors
/// When the database refuses it.
pub async fn reopen(tx: &mut Tx, key: &SessionKey) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- reopen_session
         UPDATE sessions SET state = 'reopened', open_since = $3, updated_at = $3,
                waiting_reason = 'new activity after the verdict: waiting to settle again', waiting_until = $3
         WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, now],
    )
    .await?;
    Ok(())
}

/// Its content changed between discovery and analysis: not settled yet.
///
/// # Errors
/// When the database refuses it.
pub async fn unsettle(tx: &mut Tx, key: &SessionKey, digest: &str) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- unsettle_session
         UPDATE sessions SET state = 'open', ended = 0, digest = $3, digest_since = $4, open_since = $4, updated_at = $4,
                waiting_reason = 'still changing when it was read: waiting to settle', waiting_until = $4
         WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, digest, now],
    )
    .await?;
    Ok(())
}

/// Moves the session on.
///
/// # Errors
/// When the database refuses it.
pub async fn set_state(
    tx: &mut Tx,
    key: &SessionKey,
    state: SessionState,
    waiting_reason: Option<&str>,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- set_session_state
         UPDATE sessions SET state = $3, waiting_reason = $4, waiting_until = NULL, updated_at = $5,
                done_at = CASE WHEN $3 = 'done' THEN $5 ELSE done_at END
         WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, state.as_str(), waiting_reason, now],
    )
    .await?;
    Ok(())
}

/// The session was read, in this content.
///
/// # Errors
/// When the database refuses it.
pub async fn set_analyzed_digest(tx: &mut Tx, key: &SessionKey, digest: &str) -> Result<(), DbError> {
    tx.execute(
        "-- set_analyzed_digest
         UPDATE sessions SET analyzed_digest = $3 WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, digest],
    )
    .await?;
    Ok(())
}

/// The content as last scanned is the one that the verdict stands for: only newer activity reopens the session.
///
/// # Errors
/// When the database refuses it.
pub async fn mark_current_content_judged(tx: &mut Tx, key: &SessionKey) -> Result<(), DbError> {
    tx.execute(
        "-- mark_current_content_judged
         UPDATE sessions SET analyzed_digest = digest WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id],
    )
    .await?;
    Ok(())
}

/// Verification goes on at this system.
///
/// # Errors
/// When the database refuses it.
pub async fn verify_at(tx: &mut Tx, key: &SessionKey, system: &str) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- verify_session_at
         UPDATE sessions SET state = 'verifying', system = $3, updated_at = $4,
                waiting_reason = 'waiting for its turn at the system of record', waiting_until = NULL
         WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, system, now],
    )
    .await?;
    Ok(())
}

/// Counts one more look at the systems of record, and says when the next one is.
///
/// # Errors
/// When the database refuses it.
pub async fn look_again_in(
    tx: &mut Tx,
    key: &SessionKey,
    round: u32,
    wait: Duration,
    reason: &str,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    let until = now + chrono::Duration::from_std(wait).unwrap_or_default();
    tx.execute(
        "-- look_again_in
         UPDATE sessions SET look_round = $3, waiting_reason = $4, waiting_until = $5, updated_at = $6
         WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, round, reason, until, now],
    )
    .await?;
    Ok(())
}

/// Sessions of a source that wait to settle, oldest activity first.
///
/// # Errors
/// When the database cannot answer.
pub async fn unsettled(db: &Db, source: &str) -> Result<Vec<StoredSession>, DbError> {
    const UNSETTLED: &str = concat!(
        "-- unsettled_sessions\nSELECT ",
        columns!(),
        " FROM sessions WHERE state IN ('open', 'reopened') AND source = $1 ORDER BY last_activity_at, session_id"
    );
    let rows = db.fetch_all(UNSETTLED, &params![source]).await?;
    rows.iter().map(read).collect()
}

/// Sessions of a source with activity after the content that their verdict judged.
///
/// # Errors
/// When the database cannot answer.
pub async fn changed_since_verdict(db: &Db, source: &str) -> Result<Vec<StoredSession>, DbError> {
    const CHANGED: &str = concat!(
        "-- sessions_changed_since_verdict\nSELECT ",
        columns!(),
        " FROM sessions WHERE state = 'done' AND digest <> analyzed_digest AND source = $1 ORDER BY session_id"
    );
    let rows = db.fetch_all(CHANGED, &params![source]).await?;
    rows.iter().map(read).collect()
}

/// Sessions between settling and their verdict, a page at a time by key: what reconcile walks.
///
/// # Errors
/// When the database cannot answer.
pub async fn in_progress_after(db: &Db, after: &SessionKey, page: u32) -> Result<Vec<StoredSession>, DbError> {
    const IN_PROGRESS: &str = concat!(
        "-- sessions_in_progress\nSELECT ",
        columns!(),
        " FROM sessions WHERE state IN ('settled', 'analyzing', 'verifying') AND (source, session_id) > ($1, $2)
          ORDER BY source, session_id LIMIT $3"
    );
    let rows = db
        .fetch_all(IN_PROGRESS, &params![&after.source, &after.session_id, page])
        .await?;
    rows.iter().map(read).collect()
}

/// How far the sessions are, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Sessions seen.
    pub seen: u64,
    /// With a verdict.
    pub done: u64,
    /// Waiting to settle.
    pub settling: u64,
    /// When the first of those can settle.
    pub settling_until: Option<DateTime<Utc>>,
}

/// Counts the sessions of all sources.
///
/// # Errors
/// When the database cannot answer.
pub async fn progress(db: &Db) -> Result<Progress, DbError> {
    let rows = db
        .fetch_all(
            "-- session_progress
             SELECT state, COUNT(*) AS sessions, MIN(waiting_until) AS until FROM sessions GROUP BY state",
            &[],
        )
        .await?;
    let mut progress = Progress::default();
    for row in rows {
        let sessions: u64 = row.get("sessions")?;
        progress.seen += sessions;
        match row.get::<String>("state")?.as_str() {
            "done" => progress.done += sessions,
            "open" | "reopened" => {
                progress.settling += sessions;
                let until: Option<DateTime<Utc>> = row.get("until")?;
                progress.settling_until = match (progress.settling_until, until) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
            _ => {}
        }
    }
    Ok(progress)
}

/// Sessions whose latest verdict has this status.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_with_status(db: &Db, status: &str) -> Result<u64, DbError> {
    let row = db
        .fetch_optional(
            "-- count_sessions_with_status
             SELECT COUNT(*) AS sessions FROM monitoring_results WHERE verification_status = $1",
            &params![status],
        )
        .await?;
    row.map_or(Ok(0), |row| row.get("sessions"))
}
