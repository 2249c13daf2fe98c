//! A job is a row in the transaction that made it necessary.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{job::Job, limits, policy::Policy};
use crate::{
    db::{Db, DbError, Sql, Tx},
    fault::{self, FaultPoint},
    params,
    telemetry::trace,
};

/// Times that a live twin may end just when it is looked for.
const TWINS_MOST: u32 = 20;

/// Times that a job which waits is looked for again when others have its row, and how long after.
const HELD_MOST: u32 = 500;
const HELD_AGAIN: Duration = Duration::from_millis(2);
/// The same of a job that runs: its heartbeat has the row for a few milliseconds, its own end for as long as that takes.
const HELD_RUNNING: u32 = 25;

/// What an enqueue found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// A new job.
    New(Uuid),
    /// A live job has the same unique key: that one does it.
    Twin(Uuid),
}

impl Enqueued {
    /// The job that does it.
    pub fn id(self) -> Uuid {
        match self {
            Self::New(id) | Self::Twin(id) => id,
        }
    }

    /// Whether there was none before.
    pub fn is_new(self) -> bool {
        matches!(self, Self::New(_))
    }
}

/// What may differ from the job's policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EnqueueOptions {
    /// Not before this.
    pub run_at: Option<DateTime<Utc>>,
    /// Higher runs first.
    pub priority: Option<i32>,
}

/// Enqueues a job in this transaction.
///
/// # Errors
/// When the database refuses it. A live twin is no error.
pub async fn enqueue<J: Job>(tx: &mut Tx, job: &J) -> Result<Enqueued, DbError> {
    enqueue_with(tx, job, EnqueueOptions::default()).await
}

/// Enqueues a job in this transaction, later or with another priority than its policy says.
///
/// # Errors
/// When the database refuses it. A live twin is no error.
pub async fn enqueue_with<J: Job>(tx: &mut Tx, job: &J, options: EnqueueOptions) -> Result<Enqueued, DbError> {
    let args = serde_json::to_value(job)
        .map_err(|error| DbError::other(format!("a job of {} cannot be written as JSON: {error}", J::NAME)))?;
    let now = tx.now().await?;
    let run_at = options.run_at.unwrap_or(now);
    let partition = job.partition();
    let unique_key = job.unique_key();
    let limit_key = J::POLICY.limit_key(J::NAME, &partition);
    let id = Uuid::now_v7();
    let trace = trace::Enqueue::start(J::NAME, &id.to_string(), &args.to_string());
    // A twin that is live when we insert may have ended when we look for it, as other processes commit in between.
    for _ in 0..TWINS_MOST {
        // Naming the conflict keeps it from aborting the transaction on any database.
        let inserted = tx
            .execute(
                "-- enqueue_job
                 INSERT INTO jobs (id, queue, partition, limit_key, unique_key, args, priority, state, run_at, max_attempts, created_at, gate,
                                   trace_context)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                 ON CONFLICT (queue, unique_key)
                    WHERE unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable')
                 DO NOTHING",
                &params![
                    id,
                    J::NAME,
                    &partition,
                    &limit_key,
                    unique_key.as_deref(),
                    &args,
                    options.priority.unwrap_or(J::POLICY.priority),
                    if run_at > now { "scheduled" } else { "available" },
                    run_at,
                    J::POLICY.attempts,
                    now,
                    job.gate(),
                    trace.traceparent()
                ],
            )
            .await?;
        if inserted == 1 {
            return entered(tx, &partition, id, &J::POLICY, J::NAME).await;
        }
        let twin = tx
            .fetch_optional(
                "-- live_twin
                 SELECT id FROM jobs WHERE queue = $1 AND unique_key = $2
                    AND state IN ('available', 'scheduled', 'running', 'retryable')",
                &params![J::NAME, unique_key.as_deref()],
            )
            .await?;
        if let Some(twin) = twin {
            trace.found_twin();
            return Ok(Enqueued::Twin(twin.get("id")?));
        }
    }
    Err(DbError::other(format!(
        "live twins of a {} job come and go: it was not enqueued",
        J::NAME
    )))
}

/// What follows from a new job's row.
async fn entered(tx: &mut Tx, partition: &str, id: Uuid, policy: &Policy, queue: &str) -> Result<Enqueued, DbError> {
    if policy.limit.per_partition {
        limits::ensure_partition(tx, queue, partition, policy).await?;
    }
    tx.wake_fleet();
    fault::hit(FaultPoint::BeforeEnqueueCommit);
    Ok(Enqueued::New(id))
}

/// Cancels the live job with this unique key: at once when it waits, by its token when it runs. Answers how many. For work that
/// no longer counts: on a server a run that is just writing its end may still come to it.
///
/// # Errors
/// When the database refuses it.
pub async fn cancel_live(tx: &mut Tx, queue: &str, unique_key: &str, why: &str) -> Result<u64, DbError> {
    // The conditions repeat the index's own: without it the planner reads the whole table.
    macro_rules! cancel {
        ($lock:literal) => {
            concat!(
                "-- cancel_live_by_key
                 UPDATE jobs SET state = CASE state WHEN 'running' THEN 'running' ELSE 'cancelled' END,
                        finished_at = CASE state WHEN 'running' THEN finished_at ELSE $4 END,
                        cancel_requested_at = CASE state WHEN 'running' THEN $4 ELSE cancel_requested_at END,
                        wait_reason = CASE state WHEN 'running' THEN wait_reason END,
                        held_by = CASE state WHEN 'running' THEN held_by END, last_error = $3
                 WHERE id IN (SELECT id FROM jobs WHERE queue = $1 AND unique_key = $2 AND unique_key IS NOT NULL
                              AND state IN ('available', 'scheduled', 'running', 'retryable')
                              AND (state <> 'running' OR cancel_requested_at IS NULL)",
                $lock,
                ")"
            )
        };
    }
    // Nobody who has the row is waited for to the end: a run that is just writing its end may wait for what this transaction
    // holds. It ends by itself, and finds out that what it worked for no longer counts.
    const CANCEL: Sql = Sql::each(cancel!(""), cancel!(" FOR NO KEY UPDATE SKIP LOCKED"));
    const LEFT: &str = "-- left_by_key
        SELECT state FROM jobs WHERE queue = $1 AND unique_key = $2 AND unique_key IS NOT NULL
            AND state IN ('available', 'scheduled', 'running', 'retryable')
            AND (state <> 'running' OR cancel_requested_at IS NULL)";
    let now = tx.now().await?;
    let mut ran = 0;
    for _ in 0..HELD_MOST {
        let cancelled = tx.execute(CANCEL, &params![queue, unique_key, why, now]).await?;
        if cancelled > 0 {
            tx.wake_fleet();
            return Ok(cancelled);
        }
        let Some(left) = tx.fetch_optional(LEFT, &params![queue, unique_key]).await? else {
            return Ok(0);
        };
        // One that is just claimed waited when it was looked for, and runs in a moment.
        if left.get::<String>("state")? == "running" {
            ran += 1;
            if ran > HELD_RUNNING {
                return Ok(0);
            }
        }
        tokio::time::sleep(HELD_AGAIN).await;
    }
    Err(DbError::busy(format!(
        "the {queue} job with the key {unique_key} is being changed by others all the time: try it again in a moment"
    )))
}

/// Which of these unique keys a live job of the queue has.
///
/// # Errors
/// When the database cannot answer.
pub async fn live_among(db: &Db, queue: &str, keys: &[String]) -> Result<BTreeSet<String>, DbError> {
    // Both repeat the index's own condition: without it the planner reads the whole table.
    const LIVE: Sql = Sql::each(
        "-- live_among
         SELECT unique_key FROM jobs WHERE queue = $1 AND unique_key IN (SELECT value FROM json_each($2))
            AND unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable')",
        "-- live_among
         SELECT unique_key FROM jobs WHERE queue = $1 AND unique_key IN (SELECT jsonb_array_elements_text($2))
            AND unique_key IS NOT NULL AND state IN ('available', 'scheduled', 'running', 'retryable')",
    );
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = db.fetch_all(LIVE, &params![queue, serde_json::json!(keys)]).await?;
    rows.iter().map(|row| row.get("unique_key")).collect()
}
