//! Sessions and where each stands.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    db::{Db, DbError, Row, Sql, Tx},
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
    /// Earliest start seen.
    pub first_activity_at: DateTime<Utc>,
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
    /// When its analysis was called for last.
    pub settled_at: Option<DateTime<Utc>>,
    /// When it ended, as a webhook told; `None` once that was judged.
    pub told_at: Option<DateTime<Utc>>,
    /// Observations that scans saw: 0 for one that only a webhook knows.
    pub observations: u64,
}

impl StoredSession {
    /// Whether only a webhook knows it.
    pub fn is_untraced(&self) -> bool {
        self.observations == 0
    }
}

macro_rules! columns {
    () => {
        "source, session_id, state, generation, environment, first_activity_at, last_activity_at, digest, digest_since, open_since, ended, incomplete,
         analyzed_digest, system, look_round, settled_at, told_at, observation_count"
    };
}

fn read(row: &Row) -> Result<StoredSession, DbError> {
    let state: String = row.get("state")?;
    Ok(StoredSession {
        key: SessionKey::new(row.get::<String>("source")?, row.get::<String>("session_id")?),
        state: SessionState::parse(&state).ok_or_else(|| row.bad("state", "not a known state"))?,
        generation: row.get("generation")?,
        environment: row.get("environment")?,
        first_activity_at: row.get("first_activity_at")?,
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
        told_at: row.get("told_at")?,
        observations: row.get("observation_count")?,
    })
}

macro_rules! load {
    () => {
        concat!(
            "-- load_session\nSELECT ",
            columns!(),
            " FROM sessions WHERE source = $1 AND session_id = $2"
        )
    };
}

const LOAD: &str = load!();

/// One session, or `None` when it was never seen.
///
/// # Errors
/// When the database cannot answer.
pub async fn load(db: &Db, key: &SessionKey) -> Result<Option<StoredSession>, DbError> {
    let row = db.fetch_optional(LOAD, &params![&key.source, &key.session_id]).await?;
    row.as_ref().map(read).transpose()
}

const LOAD_TO_CHANGE: Sql = Sql::each(LOAD, concat!(load!(), " FOR NO KEY UPDATE"));

/// One session, in the transaction that changes it: until its end nobody else does.
///
/// # Errors
/// When the database cannot answer.
pub async fn load_in(tx: &mut Tx, key: &SessionKey) -> Result<Option<StoredSession>, DbError> {
    let row = tx
        .fetch_optional(LOAD_TO_CHANGE, &params![&key.source, &key.session_id])
        .await?;
    row.as_ref().map(read).transpose()
}

const IS_CURRENT: Sql = Sql::each(
    "-- session_is_current
     SELECT 1 AS yes FROM sessions
     WHERE source = $1 AND session_id = $2 AND generation = $3 AND state <> 'done'",
    "-- session_is_current
     SELECT 1 AS yes FROM sessions
     WHERE source = $1 AND session_id = $2 AND generation = $3 AND state <> 'done' FOR NO KEY UPDATE",
);

/// Whether this generation still counts and is not finished: everything else a job writes depends on it. If so, nobody opens
/// the next one before the end of the transaction.
///
/// # Errors
/// When the database cannot answer.
pub async fn is_current(tx: &mut Tx, key: &SessionKey, generation: Generation) -> Result<bool, DbError> {
    let row = tx
        .fetch_optional(IS_CURRENT, &params![&key.source, &key.session_id, generation])
        .await?;
    Ok(row.is_some())
}

/// Stores a session as a scan saw it, state untouched; a new one begins as `open`. Answers true when it is new.
///
/// Later activity than any before begins its wait to settle anew: the deadline is for what does not come to rest, not for
/// what goes on. So does the first of one that a webhook told of. The start of a session that was read once stays: what was
/// seen of it then may have been deleted since.
///
/// # Errors
/// When the database refuses it.
pub async fn save_seen(tx: &mut Tx, source: &str, seen: &SeenSession) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let row = tx.fetch_optional(
        "-- save_seen_session
         INSERT INTO sessions (source, session_id, environment, first_activity_at, last_activity_at, observation_count,
                               trace_count, digest, digest_since, open_since, ended, state, waiting_reason, waiting_until,
                               discovered_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, 'open', 'just seen: waiting to settle', $9, $9, $9)
         ON CONFLICT (source, session_id) DO UPDATE SET
             environment = COALESCE(excluded.environment, sessions.environment),
             first_activity_at = CASE WHEN sessions.first_activity_at < excluded.first_activity_at
                                           AND (sessions.generation > 1 OR sessions.analyzed_digest IS NOT NULL)
                                      THEN sessions.first_activity_at ELSE excluded.first_activity_at END,
             open_since = CASE WHEN sessions.observation_count = 0 OR sessions.last_activity_at < excluded.last_activity_at
                               THEN excluded.open_since ELSE sessions.open_since END,
             waiting_reason = CASE WHEN sessions.observation_count = 0 AND sessions.state IN ('open', 'reopened')
                                   THEN excluded.waiting_reason ELSE sessions.waiting_reason END,
             waiting_until = CASE WHEN sessions.observation_count = 0 AND sessions.state IN ('open', 'reopened')
                                  THEN excluded.waiting_until ELSE sessions.waiting_until END,
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

/// An end was told: from now on the session is known, whether a scan saw it or not. Answers what is known of it.
///
/// # Errors
/// When the database refuses it.
pub async fn tell(
    tx: &mut Tx,
    key: &SessionKey,
    ended_at: DateTime<Utc>,
    waiting_reason: &str,
) -> Result<StoredSession, DbError> {
    let now = tx.now().await?;
    let row = tx
        .fetch_optional(
            concat!(
                "-- tell_session_end
                 INSERT INTO sessions (source, session_id, first_activity_at, last_activity_at, observation_count, trace_count,
                                       digest, digest_since, open_since, state, waiting_reason, told_at, discovered_at, updated_at)
                 VALUES ($1, $2, $3, $3, 0, 0, '', $4, $4, 'open', $5, $3, $4, $4)
                 ON CONFLICT (source, session_id) DO UPDATE SET
                     told_at = CASE WHEN sessions.told_at > excluded.told_at THEN sessions.told_at ELSE excluded.told_at END,
                     updated_at = excluded.updated_at
                 RETURNING ",
                columns!()
            ),
            &params![&key.source, &key.session_id, ended_at, now, waiting_reason],
        )
        .await?;
    read(&row.ok_or_else(|| DbError::other("statement `tell_session_end` gave no row"))?)
}

/// Its traces turned out to be other sessions': nothing of it is left, and nobody has read it yet. One that was read stays, and
/// so does one that a webhook told of: it waits for its own, with this reason.
///
/// # Errors
/// When the database refuses it.
pub(super) async fn forget_unjudged(tx: &mut Tx, key: &SessionKey, waiting_reason: &str) -> Result<(), DbError> {
    tx.execute(
        "-- forget_unjudged_session
         DELETE FROM sessions WHERE source = $1 AND session_id = $2 AND state = 'open' AND generation = 1
            AND analyzed_digest IS NULL AND told_at IS NULL",
        &params![&key.source, &key.session_id],
    )
    .await?;
    tx.execute(
        "-- untrace_session
         UPDATE sessions SET observation_count = 0, trace_count = 0, digest = '', waiting_reason = $3, waiting_until = NULL
         WHERE source = $1 AND session_id = $2 AND state = 'open' AND generation = 1 AND analyzed_digest IS NULL",
        &params![&key.source, &key.session_id, waiting_reason],
    )
    .await?;
    Ok(())
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

/// Marks that the session waits for its turn and for nothing else that is its own. Why its upstream does not answer is shown
/// from the upstream's gate.
///
/// # Errors
/// When the database refuses it.
pub async fn set_waiting_its_turn(tx: &mut Tx, key: &SessionKey) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- set_session_waiting_its_turn
         UPDATE sessions SET waiting_until = NULL, updated_at = $3,
                waiting_reason = CASE state WHEN 'verifying' THEN 'waiting for its turn at the system of record'
                                            WHEN 'analyzing' THEN 'waiting to be read'
                                            ELSE 'waiting for its analysis' END
         WHERE source = $1 AND session_id = $2 AND state IN ('settled', 'analyzing', 'verifying')",
        &params![&key.source, &key.session_id, now],
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

/// New activity after the verdict: it waits to come to rest again. The verdict stands until then. An end of after the verdict is
/// the end of what began after it, an end of before is not; what came late to what was judged is not judged piece by piece.
///
/// # Errors
/// When the database refuses it.
pub async fn reopen(tx: &mut Tx, key: &SessionKey) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- reopen_session
         UPDATE sessions SET state = 'reopened', open_since = $3, updated_at = $3,
                told_at = CASE WHEN last_activity_at > done_at AND told_at > done_at THEN told_at END,
                waiting_reason = 'new activity after the verdict: waiting to settle again', waiting_until = $3
         WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, now],
    )
    .await?;
    Ok(())
}

/// Its content changed between settling and analysis: not settled yet. Since when it waits stays as it is, so that one whose
/// content is another at every read meets its deadline. Nothing happens when this generation no longer waits for its analysis.
///
/// # Errors
/// When the database refuses it.
pub async fn unsettle(tx: &mut Tx, key: &SessionKey, generation: Generation, digest: &str) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        // What a scan says of just this content stays: its end signal, and since when it is the same.
        "-- unsettle_session
         UPDATE sessions SET state = 'open',
                ended = CASE WHEN digest = $3 THEN ended ELSE $5 END,
                digest_since = CASE WHEN digest = $3 THEN digest_since ELSE $4 END,
                digest = $3, updated_at = $4,
                waiting_reason = 'still changing when it was read: waiting to settle', waiting_until = $4
         WHERE source = $1 AND session_id = $2 AND generation = $6 AND state IN ('settled', 'analyzing')",
        &params![&key.source, &key.session_id, digest, now, false, generation],
    )
    .await?;
    Ok(())
}

/// It was called for, and its source does not hold it: a webhook told of it, and no scan has seen it. It waits for its traces.
///
/// # Errors
/// When the database refuses it.
pub async fn wait_for_traces(
    tx: &mut Tx,
    key: &SessionKey,
    generation: Generation,
    reason: &str,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- wait_for_traces
         UPDATE sessions SET state = 'open', waiting_reason = $4, waiting_until = NULL, updated_at = $5
         WHERE source = $1 AND session_id = $2 AND generation = $3 AND state IN ('settled', 'analyzing')",
        &params![&key.source, &key.session_id, generation, reason, now],
    )
    .await?;
    Ok(())
}

/// Its end was told, and when it was read it held more than was seen before: it is read again when it has rested. Nothing
/// happens when this generation no longer waits for its analysis.
///
/// # Errors
/// When the database refuses it.
pub async fn read_again(
    tx: &mut Tx,
    key: &SessionKey,
    generation: Generation,
    digest: &str,
    until: DateTime<Utc>,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- read_session_again
         UPDATE sessions SET digest_since = CASE WHEN digest = $3 THEN digest_since ELSE $4 END, digest = $3, updated_at = $4,
                waiting_reason = 'it ended: its last spans may still be on their way', waiting_until = $5
         WHERE source = $1 AND session_id = $2 AND generation = $6 AND state = 'settled'",
        &params![&key.source, &key.session_id, digest, now, until, generation],
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

/// The session was read, in this content. `scanned` is the content that the last scan before it saw: what was read is newer,
/// unless there was another scan meanwhile. The end that was told by then ended what was read, and no more.
///
/// # Errors
/// When the database refuses it.
pub async fn set_analyzed_digest(
    tx: &mut Tx,
    key: &SessionKey,
    digest: &str,
    scanned: &str,
    told_at: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    tx.execute(
        "-- set_analyzed_digest
         UPDATE sessions SET analyzed_digest = $3, digest = CASE WHEN digest = $4 THEN $3 ELSE digest END,
                told_at = CASE WHEN told_at = $5 THEN NULL ELSE told_at END
         WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, digest, scanned, told_at],
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

/// Verification goes on at this system, which has its looks still before it.
///
/// # Errors
/// When the database refuses it.
pub async fn verify_at(tx: &mut Tx, key: &SessionKey, system: &str) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- verify_session_at
         UPDATE sessions SET state = 'verifying', system = $3, look_round = 0, updated_at = $4,
                waiting_reason = 'waiting for its turn at the system of record', waiting_until = NULL
         WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id, system, now],
    )
    .await?;
    Ok(())
}

/// Counts one more look of this generation at the systems of record, and says when the next one is.
///
/// # Errors
/// When the database refuses it.
pub async fn look_again_in(
    tx: &mut Tx,
    key: &SessionKey,
    generation: Generation,
    round: u32,
    wait: Duration,
    reason: &str,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    let until = now + chrono::Duration::from_std(wait).unwrap_or_default();
    tx.execute(
        "-- look_again_in
         UPDATE sessions SET look_round = $3, waiting_reason = $4, waiting_until = $5, updated_at = $6
         WHERE source = $1 AND session_id = $2 AND generation = $7",
        &params![&key.source, &key.session_id, round, reason, until, now, generation],
    )
    .await?;
    Ok(())
}

pub(super) const UNSETTLED: Sql = Sql::each(
    concat!(
        "-- unsettled_sessions\nSELECT ",
        columns!(),
        " FROM sessions WHERE state IN ('open', 'reopened') AND source = $1 AND session_id > $2 AND observation_count > 0
          ORDER BY session_id LIMIT $3"
    ),
    concat!(
        "-- unsettled_sessions\nSELECT ",
        columns!(),
        " FROM sessions WHERE state IN ('open', 'reopened') AND source = $1 AND session_id > $2 AND observation_count > 0
          ORDER BY session_id LIMIT $3 FOR UPDATE"
    ),
);

/// Sessions of a source that wait to settle, a page at a time by id; not those that only a webhook knows. In the transaction that settles them, so that nobody
/// else moves them on in between.
///
/// # Errors
/// When the database cannot answer.
pub async fn unsettled_after(
    tx: &mut Tx,
    source: &str,
    after: Option<&str>,
    page: u32,
) -> Result<Vec<StoredSession>, DbError> {
    // No session has an empty id.
    let rows = tx
        .fetch_all(UNSETTLED, &params![source, after.unwrap_or_default(), page])
        .await?;
    rows.iter().map(read).collect()
}

/// What is said of a session that only a webhook knows.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// Before its deadline.
    pub yet: &'a str,
    /// After it.
    pub never: &'a str,
    /// While nobody looked for its traces.
    pub before: &'a str,
}

/// Each reads those alone of which something else is to be said: the reason is part of the index.
macro_rules! wait_untraced {
    ($those:literal) => {
        concat!(
            "-- wait_untraced_sessions
             UPDATE sessions SET waiting_reason = $4, waiting_until = NULL, updated_at = $5
             WHERE (source, session_id) IN (
                 SELECT source, session_id FROM sessions
                 WHERE state IN ('open', 'reopened') AND observation_count = 0 AND source = $1 AND waiting_reason = $3
                    AND open_since ",
            $those,
            " ORDER BY open_since LIMIT $6)"
        )
    };
}

pub(super) const NO_LONGER: &str = wait_untraced!("<= $2");
pub(super) const ONCE_MORE: &str = wait_untraced!("> $2");

/// Says of sessions of a source that only a webhook knows why they wait: `never` of those that do so since then or longer, `yet`
/// of the others. Answers of how many something else is said now, `most` at most.
///
/// # Errors
/// When the database refuses it.
pub async fn wait_untraced(
    tx: &mut Tx,
    source: &str,
    since: DateTime<Utc>,
    said: &Said<'_>,
    most: u32,
) -> Result<u64, DbError> {
    let now = tx.now().await?;
    let mut changed = 0;
    for (statement, is, becomes) in [
        (NO_LONGER, said.yet, said.never),
        (NO_LONGER, said.before, said.never),
        (ONCE_MORE, said.before, said.yet),
        // The deadline is another one since.
        (ONCE_MORE, said.never, said.yet),
    ] {
        let left = u64::from(most).saturating_sub(changed);
        changed += tx
            .execute(statement, &params![source, since, is, becomes, now, left])
            .await?;
    }
    Ok(changed)
}

pub(super) const CHANGED: Sql = Sql::each(
    concat!(
        "-- sessions_changed_since_verdict\nSELECT ",
        columns!(),
        " FROM sessions WHERE state = 'done' AND digest <> analyzed_digest AND source = $1 ORDER BY session_id LIMIT $2"
    ),
    concat!(
        "-- sessions_changed_since_verdict\nSELECT ",
        columns!(),
        " FROM sessions WHERE state = 'done' AND digest <> analyzed_digest AND source = $1 ORDER BY session_id LIMIT $2
          FOR UPDATE"
    ),
);

/// Some sessions of a source with activity after the content that their verdict judged, in the transaction that reopens
/// them: they are no longer among the next.
///
/// # Errors
/// When the database cannot answer.
pub async fn changed_since_verdict(tx: &mut Tx, source: &str, page: u32) -> Result<Vec<StoredSession>, DbError> {
    let rows = tx.fetch_all(CHANGED, &params![source, page]).await?;
    rows.iter().map(read).collect()
}

pub(super) const IN_PROGRESS: &str = concat!(
    "-- sessions_in_progress\nSELECT ",
    columns!(),
    " FROM sessions WHERE state IN ('settled', 'analyzing', 'verifying') AND (source, session_id) > ($1, $2)
      ORDER BY source, session_id LIMIT $3"
);

/// Sessions between settling and their verdict, a page at a time by key: what reconcile walks.
///
/// # Errors
/// When the database cannot answer.
pub async fn in_progress_after(db: &Db, after: &SessionKey, page: u32) -> Result<Vec<StoredSession>, DbError> {
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
    /// Waiting to settle although nobody scans their source.
    pub unscanned: u64,
    /// Waiting for their traces: only a webhook knows them, and nothing says when, if ever, that changes.
    pub untraced: u64,
}

pub(super) const PROGRESS: &str = "-- session_progress
    SELECT source, state, COUNT(*) AS sessions, COUNT(waiting_until) AS timed, MIN(waiting_until) AS until FROM sessions GROUP BY source, state";

/// Counts the sessions of all sources. `scanned` says whether a source is looked at.
///
/// # Errors
/// When the database cannot answer.
pub async fn progress(db: &Db, scanned: impl Fn(&str) -> bool) -> Result<Progress, DbError> {
    let rows = db.fetch_all(PROGRESS, &[]).await?;
    let mut progress = Progress::default();
    for row in rows {
        let sessions: u64 = row.get("sessions")?;
        progress.seen += sessions;
        match row.get::<String>("state")?.as_str() {
            "done" => progress.done += sessions,
            "open" | "reopened" if !scanned(&row.get::<String>("source")?) => progress.unscanned += sessions,
            "open" | "reopened" => {
                // What waits to settle knows until when.
                let timed: u64 = row.get("timed")?;
                progress.settling += timed;
                progress.untraced += sessions - timed;
                let until: Option<DateTime<Utc>> = row.get("until")?;
                progress.settling_until = progress.settling_until.into_iter().chain(until).min();
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
