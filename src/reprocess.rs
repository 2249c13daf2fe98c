//! Opens the next generation of a session: a new analysis, beside which the old verdict stays.
//!
//! The live jobs of the generation before are cancelled in the same transaction; one that still finishes finds that its
//! generation no longer counts and writes nothing.

use chrono::{DateTime, Utc};

use crate::{
    db::{DbError, Tx},
    domain::session::{Generation, SessionKey, SessionState},
    jobs::{AnalyzeSession, DiagnoseSession, VerifySession},
    queue::{self, EnqueueOptions, Enqueued, Job},
    store::sessions::{self, StoredSession},
};

/// Cancels what still works for the current generation, and answers the number of the next.
///
/// # Errors
/// When the database refuses it.
pub async fn open_next_generation(tx: &mut Tx, session: &StoredSession) -> Result<Generation, DbError> {
    let SessionKey { source, session_id } = &session.key;
    let generation = session.generation;
    let why = "a newer generation of the session was opened";
    let analyze = AnalyzeSession {
        source: source.clone(),
        session_id: session_id.clone(),
        generation,
    };
    let diagnose = DiagnoseSession {
        source: source.clone(),
        session_id: session_id.clone(),
        generation,
    };
    let verify = session.system.as_ref().map(|system| VerifySession {
        source: source.clone(),
        session_id: session_id.clone(),
        generation,
        system: system.clone(),
    });
    for (queue, key) in [
        (AnalyzeSession::NAME, analyze.unique_key()),
        (DiagnoseSession::NAME, diagnose.unique_key()),
        (VerifySession::NAME, verify.and_then(|verify| verify.unique_key())),
    ] {
        if let Some(key) = key {
            queue::cancel_live(tx, queue, &key, why).await?;
        }
    }
    Ok(generation + 1)
}

/// Calls for an analysis of a session: answers the one under way as a twin, else opens the next generation. `None` for an
/// unknown session.
///
/// # Errors
/// When the database refuses it.
pub async fn analyze(tx: &mut Tx, key: &SessionKey) -> Result<Option<Enqueued>, DbError> {
    let Some(session) = sessions::load_in(tx, key).await? else {
        return Ok(None);
    };
    let under_way = matches!(session.state, SessionState::Settled | SessionState::Analyzing);
    let generation = if under_way || session.state == SessionState::Open {
        session.generation
    } else {
        open_next_generation(tx, &session).await?
    };
    if under_way {
        return enqueue_analysis(tx, key, generation, None).await.map(Some);
    }
    call_for_analysis(tx, key, generation, session.incomplete)
        .await
        .map(Some)
}

/// A session is over: calls for its analysis, in its first generation, or in the next when the one before was read. `not_before`
/// is when its content may be read at the earliest.
///
/// # Errors
/// When the database refuses it.
pub async fn settle(
    tx: &mut Tx,
    session: &StoredSession,
    incomplete: bool,
    not_before: Option<DateTime<Utc>>,
) -> Result<Enqueued, DbError> {
    let generation = match session.analyzed_digest {
        Some(_) => open_next_generation(tx, session).await?,
        None => session.generation,
    };
    sessions::settle(tx, &session.key, generation, incomplete).await?;
    enqueue_analysis(tx, &session.key, generation, not_before).await
}

/// Settles a session and enqueues its analysis, in this generation.
///
/// # Errors
/// When the database refuses it.
pub async fn call_for_analysis(
    tx: &mut Tx,
    key: &SessionKey,
    generation: Generation,
    incomplete: bool,
) -> Result<Enqueued, DbError> {
    sessions::settle(tx, key, generation, incomplete).await?;
    enqueue_analysis(tx, key, generation, None).await
}

async fn enqueue_analysis(
    tx: &mut Tx,
    key: &SessionKey,
    generation: Generation,
    run_at: Option<DateTime<Utc>>,
) -> Result<Enqueued, DbError> {
    let SessionKey { source, session_id } = key.clone();
    let job = AnalyzeSession {
        source,
        session_id,
        generation,
    };
    let options = EnqueueOptions {
        run_at,
        ..EnqueueOptions::default()
    };
    queue::enqueue_with(tx, &job, options).await
}

/// Calls for a new analysis of a session, whatever its state: opens its next generation. Answers that, or `None` for an
/// unknown session.
///
/// # Errors
/// When the database refuses it.
pub async fn reprocess(tx: &mut Tx, key: &SessionKey) -> Result<Option<Generation>, DbError> {
    let Some(session) = sessions::load_in(tx, key).await? else {
        return Ok(None);
    };
    let generation = open_next_generation(tx, &session).await?;
    call_for_analysis(tx, key, generation, session.incomplete).await?;
    Ok(Some(generation))
}

/// Calls again for the work of a session that ended as its job was given up or cancelled. Answers whether that is done: a session
/// that still waits for this generation has its own job.
///
/// # Errors
/// When the database refuses it.
pub async fn revive(tx: &mut Tx, key: &SessionKey, generation: Generation) -> Result<bool, DbError> {
    let Some(session) = sessions::load_in(tx, key).await? else {
        return Ok(false);
    };
    if session.generation != generation || session.state != SessionState::Done {
        return Ok(false);
    }
    Ok(reprocess(tx, key).await?.is_some())
}
