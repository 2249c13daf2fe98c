//! What an operator may change. Everything is in `audit_log` with the actor, in the same transaction.

use uuid::Uuid;

use super::{
    gate::{self, Outage},
    job::Registry,
};
use crate::{
    db::{DbError, Sql, Tx},
    params,
};

/// What became of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited: it is cancelled.
    AtOnce,
    /// It runs: its token is cancelled, and it ends as cancelled.
    Requested,
    /// It had ended before.
    AlreadyEnded,
    /// There is no such job.
    Unknown,
}

/// What became of a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It runs as soon as its limit allows, with all its attempts.
    Now,
    /// It stays as it is: what had ended with it calls for its work anew.
    CalledAnew,
    /// It runs already.
    Running,
    /// A live job with the same unique key does it.
    Twin(Uuid),
    /// There is no such job.
    Unknown,
}

/// Writes a line into the audit log.
///
/// # Errors
/// When the database refuses it.
pub async fn audit(tx: &mut Tx, actor: &str, action: &str, subject: &str, detail: Option<&str>) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- audit\nINSERT INTO audit_log (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)",
        &params![now, actor, action, subject, detail],
    )
    .await
    .map(|_| ())
}

/// Starts no more jobs of the queue, in the whole fleet. Those that run go on.
///
/// # Errors
/// When the database refuses it.
pub async fn pause(tx: &mut Tx, queue: &str, by: &str, reason: &str) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- pause_queue
         INSERT INTO queues (name, paused_at, paused_by, pause_reason, updated_at) VALUES ($1, $2, $3, $4, $2)
         ON CONFLICT (name) DO UPDATE SET paused_at = $2, paused_by = $3, pause_reason = $4, updated_at = $2",
        &params![queue, now, by, reason],
    )
    .await?;
    audit(tx, by, "pause", queue, Some(reason)).await
}

/// Starts jobs of the queue again.
///
/// # Errors
/// When the database refuses it.
pub async fn resume(tx: &mut Tx, queue: &str, by: &str) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- resume_queue
         UPDATE queues SET paused_at = NULL, paused_by = NULL, pause_reason = NULL, updated_at = $2 WHERE name = $1",
        &params![queue, now],
    )
    .await?;
    tx.wake_fleet();
    audit(tx, by, "resume", queue, None).await
}

/// How many jobs of a limit key run at once, in the whole fleet. `key` is a queue, or `queue/partition`; a queue that is
/// limited per partition changes for every partition. The configuration does not overwrite it. Answers whether there is
/// such a limit.
///
/// # Errors
/// When the database refuses it.
pub async fn set_limit(tx: &mut Tx, key: &str, max_running: u32, by: &str) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "-- set_limit
             UPDATE limits SET max_running = $2, pinned = $4, updated_at = $3 WHERE key = $1 OR queue = $1",
            &params![key, max_running, now, true],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    tx.wake_fleet();
    audit(tx, by, "set_limit", key, Some(&max_running.to_string())).await?;
    Ok(true)
}

/// What became of opening a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It had been closed by hand: its jobs go on.
    Open,
    /// One of its jobs tries the upstream now, and opens it when that answers.
    Tried,
    /// It was not shut.
    NotShut,
}

/// Why a gate is closed that an operator closed.
pub const CLOSED_BY_HAND: &str = "closed_by_hand";

/// Starts no more jobs that need the upstream, in the whole fleet, until somebody opens the gate. Those that run make no
/// further call to it.
///
/// # Errors
/// When the database refuses it.
pub async fn close_gate(tx: &mut Tx, key: &str, by: &str, reason: &str) -> Result<(), DbError> {
    let outage = Outage {
        gate: key.to_owned(),
        reason: CLOSED_BY_HAND.to_owned(),
        detail: format!("closed by {by}: {reason}; `aftercall gate open {key}` opens it"),
        retry_after: None,
    };
    gate::close(tx, &outage, 0, None).await?;
    audit(tx, by, "close_gate", key, Some(reason)).await
}

/// Opens a gate that was closed by hand; one that an outage closed is tried now, and not when its wait is over.
///
/// # Errors
/// When the database refuses it.
pub async fn open_gate(tx: &mut Tx, key: &str, by: &str) -> Result<Opened, DbError> {
    const GATE: Sql = Sql::each(
        "-- gate_to_open\nSELECT state, probe_at FROM gates WHERE key = $1 AND state <> 'open'",
        "-- gate_to_open\nSELECT state, probe_at FROM gates WHERE key = $1 AND state <> 'open' FOR NO KEY UPDATE",
    );
    let row = tx.fetch_optional(GATE, &params![key]).await?;
    let Some(row) = row else {
        return Ok(Opened::NotShut);
    };
    let opened = if row.get::<Option<chrono::DateTime<chrono::Utc>>>("probe_at")?.is_none() {
        gate::open(tx, key).await?;
        Opened::Open
    } else {
        // Half open, it is being tried already.
        gate::probe_now(tx, key).await?;
        Opened::Tried
    };
    audit(tx, by, "open_gate", key, None).await?;
    Ok(opened)
}

/// Cancels a job: at once when it waits, by its token when it runs.
///
/// # Errors
/// When the database refuses it.
pub async fn cancel(tx: &mut Tx, id: Uuid, by: &str) -> Result<Cancelled, DbError> {
    let now = tx.now().await?;
    let Some(state) = state_of(tx, id).await? else {
        return Ok(Cancelled::Unknown);
    };
    let done = match state.as_str() {
        "available" | "scheduled" | "retryable" => {
            tx.execute(
                "-- cancel_waiting_job
                 UPDATE jobs SET state = 'cancelled', finished_at = $2, wait_reason = NULL, held_by = NULL WHERE id = $1",
                &params![id, now],
            )
            .await?;
            Cancelled::AtOnce
        }
        "running" => {
            tx.execute(
                "-- cancel_running_job
                 UPDATE jobs SET cancel_requested_at = COALESCE(cancel_requested_at, $2) WHERE id = $1",
                &params![id, now],
            )
            .await?;
            Cancelled::Requested
        }
        _ => return Ok(Cancelled::AlreadyEnded),
    };
    tx.wake_fleet();
    audit(tx, by, "cancel_job", &id.to_string(), None).await?;
    Ok(done)
}

/// Lets a job that ended or waits run now, with all its attempts; what had ended with it calls for its work anew instead.
///
/// # Errors
/// When the database refuses it.
pub async fn retry<E: Send + Sync + 'static>(
    tx: &mut Tx,
    registry: &Registry<E>,
    id: Uuid,
    by: &str,
) -> Result<Retried, DbError> {
    let now = tx.now().await?;
    let Some(state) = state_of(tx, id).await? else {
        return Ok(Retried::Unknown);
    };
    if state == "running" {
        return Ok(Retried::Running);
    }
    let twin = tx
        .fetch_optional(
            "-- live_twin_of
             SELECT other.id AS id FROM jobs AS this JOIN jobs AS other
                ON other.queue = this.queue AND other.unique_key = this.unique_key AND other.id <> this.id
                AND other.state IN ('available', 'scheduled', 'running', 'retryable')
             WHERE this.id = $1",
            &params![id],
        )
        .await?;
    if let Some(twin) = twin {
        return Ok(Retried::Twin(twin.get("id")?));
    }
    let ended = matches!(state.as_str(), "completed" | "cancelled" | "discarded");
    if ended && called_anew(tx, registry, id).await? {
        tx.wake_fleet();
        audit(
            tx,
            by,
            "retry_job",
            &id.to_string(),
            Some("its work is called for anew"),
        )
        .await?;
        return Ok(Retried::CalledAnew);
    }
    tx.execute(
        "-- retry_job_now
         UPDATE jobs SET state = 'available', run_at = $2, attempt = 0, rescues = 0, snoozes = 0, outages = 0, held_by = NULL, rate_charged = $3,
                cancel_requested_at = NULL, finished_at = NULL, wait_reason = NULL, worker = NULL
         WHERE id = $1",
        &params![id, now, false],
    )
    .await?;
    tx.wake_fleet();
    audit(tx, by, "retry_job", &id.to_string(), None).await?;
    Ok(Retried::Now)
}

/// Whether the job's kind called for its work in another way.
async fn called_anew<E: Send + Sync + 'static>(tx: &mut Tx, registry: &Registry<E>, id: Uuid) -> Result<bool, DbError> {
    let row = tx
        .fetch_optional(
            "-- job_to_revive\nSELECT queue, args FROM jobs WHERE id = $1",
            &params![id],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    let (queue, args): (String, String) = (row.get("queue")?, row.get("args")?);
    match registry.get(&queue) {
        Some(kind) => kind.on_revive(&args, tx).await,
        None => Ok(false),
    }
}

/// Until the end of the transaction it stays so: nobody claims the job in between, or ends it.
async fn state_of(tx: &mut Tx, id: Uuid) -> Result<Option<String>, DbError> {
    const STATE: Sql = Sql::each(
        "-- job_state\nSELECT state FROM jobs WHERE id = $1",
        "-- job_state\nSELECT state FROM jobs WHERE id = $1 FOR NO KEY UPDATE",
    );
    tx.fetch_optional(STATE, &params![id])
        .await?
        .map(|row| row.get("state"))
        .transpose()
}
