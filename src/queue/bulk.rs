//! What an operator does to many jobs: one batch at a time, each in a transaction of the caller's.
//!
//! What a change would break is left alone and counted by why: a second live job of one key, a job that runs, one that ended.
//! A job whose row another transaction has at this moment (its worker renews it, claims it, ends it) is passed over, and said:
//! whoever calls looks at it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    job::Registry,
    limits,
    select::{self, Candidate, JobFilter, Size},
};
use crate::{
    db::{DbError, Sql, Tx},
    params,
};

/// A statement over the jobs whose ids are the list `$1`, which each database unpacks in its own way.
macro_rules! of_ids {
    ($before:literal) => {
        of_ids!($before, "")
    };
    ($before:literal, $after:literal) => {
        Sql::each(
            concat!($before, "(SELECT value FROM json_each($1))", $after),
            concat!(
                $before,
                "(SELECT value::uuid FROM jsonb_array_elements_text($1) AS value)",
                $after
            ),
        )
    };
}

/// Of a server: some 50 ms.
const AT_SERVER: Size = Size {
    look: 1_000,
    take: 1_000,
};
/// Of a file, in which everybody who writes waits for the end of the batch: some 1 ms.
const IN_FILE: Size = Size { look: 1_000, take: 15 };

/// Jobs whose kinds have a say in it, between two looks at the clock: each may write what it works for.
const BETWEEN_LOOKS: u32 = 50;
/// A batch of these ends after so long: nobody who needs one of its rows waits for long.
const LONGEST: Duration = Duration::from_millis(200);

fn size(tx: &Tx) -> Size {
    if tx.is_on_server() { AT_SERVER } else { IN_FILE }
}

/// What to do to jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Change {
    /// Those that ended without success, or wait for a time, run now, with all their attempts.
    Retry,
    /// Those that wait are cancelled; those that run are asked to stop.
    Cancel,
    /// Those that wait are given up; what they worked for ends with the reason. Can be undone.
    Discard,
    /// Those that ended are deleted, with their attempts.
    Delete,
    /// Those that wait run in another order: higher first.
    Reprioritise {
        /// The new one.
        priority: i32,
    },
    /// Those that wait run at another time, or in another partition.
    Move {
        /// Not before this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run_at: Option<DateTime<Utc>>,
        /// In the queue of one limit per partition.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partition: Option<String>,
    },
}

impl Change {
    /// As operators call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Discard => "discard",
            Self::Delete => "delete",
            Self::Reprioritise { .. } => "reprioritise",
            Self::Move { .. } => "move",
        }
    }

    /// Why a job in this state is left alone; `None` where the change is for it. `named`: the filter asks for this very state.
    fn refuses(&self, state: &str, named: bool) -> Option<&'static str> {
        let waits = matches!(state, "available" | "scheduled" | "retryable");
        let ended = matches!(state, "completed" | "cancelled" | "discarded");
        match self {
            _ if state == "running" && !matches!(self, Self::Cancel) => Some("running"),
            Self::Retry if state == "available" => Some("due_already"),
            Self::Retry if state == "completed" && !named => Some("completed"),
            Self::Delete if waits => Some("live"),
            Self::Retry | Self::Delete => None,
            _ if ended => Some("ended"),
            _ => None,
        }
    }
}

/// Who does it, and why.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The operation that it is part of.
    pub operation: Uuid,
    /// What to do.
    pub change: &'a Change,
    /// To which jobs.
    pub filter: &'a JobFilter,
    /// What those that are given up are told.
    pub reason: &'a str,
}

/// What one batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Jobs changed.
    pub done: u64,
    /// Jobs that match and were left alone, by why.
    pub skipped: BTreeMap<String, u64>,
    /// Jobs that match and that other transactions had: nothing was done to them, and they are not counted.
    pub locked: Vec<Uuid>,
    /// How far it came.
    pub position: Uuid,
}

impl Batch {
    /// Leaves alone so many jobs that other transactions had all the time.
    pub fn leave_busy(&mut self, count: usize) {
        self.skip("busy", count as u64);
    }

    fn skip(&mut self, why: &str, count: u64) {
        if count > 0 {
            *self.skipped.entry(why.to_owned()).or_default() += count;
        }
    }
}

/// Does it to the next jobs after `after`, none of them younger than `upto`.
///
/// # Errors
/// When the database refuses it: then nothing of the batch happened.
pub async fn apply<E: Send + Sync + 'static>(
    tx: &mut Tx,
    registry: &Registry<E>,
    order: &Order<'_>,
    after: Uuid,
    upto: Uuid,
) -> Result<Batch, DbError> {
    let select::Taken { jobs, locked, end } = select::forward(tx, order.filter, after, upto, size(tx)).await?;
    let mut batch = Batch {
        locked,
        position: end,
        ..Batch::default()
    };
    let named = order.filter.state.is_some();
    let kinds_have_a_say = matches!(order.change, Change::Retry | Change::Discard);
    let at_once = if kinds_have_a_say {
        BETWEEN_LOOKS as usize
    } else {
        jobs.len().max(1)
    };
    let began = Instant::now();
    for some in jobs.chunks(at_once) {
        let mut fit: Vec<Candidate> = Vec::new();
        for job in some {
            match order.change.refuses(&job.state, named) {
                Some(why) => batch.skip(why, 1),
                None => fit.push(job.clone()),
            }
        }
        change(tx, registry, order, fit, &mut batch).await?;
        batch.position = some.last().map_or(end, |job| job.id);
        if began.elapsed() > LONGEST {
            break;
        }
    }
    if batch.position == jobs.last().map_or(Uuid::nil(), |job| job.id) {
        batch.position = end;
    }
    // Those after it are in the next window again.
    batch.locked.retain(|id| *id <= batch.position);
    if batch.done > 0 {
        tx.wake_fleet();
    }
    Ok(batch)
}

/// Changes jobs that the change is for.
async fn change<E: Send + Sync + 'static>(
    tx: &mut Tx,
    registry: &Registry<E>,
    order: &Order<'_>,
    fit: Vec<Candidate>,
    batch: &mut Batch,
) -> Result<(), DbError> {
    match order.change {
        Change::Retry => revive(tx, registry, fit, batch).await?,
        Change::Cancel => cancel(tx, &fit, batch).await?,
        Change::Discard => discard(tx, registry, order, &fit, batch).await?,
        Change::Delete => delete(tx, &fit, batch).await?,
        Change::Reprioritise { priority } => {
            let sql = of_ids!(
                "-- reprioritise_jobs\nUPDATE jobs SET priority = $2
                 WHERE id IN "
            );
            batch.done += tx.execute(sql, &params![ids(&fit), *priority]).await?;
        }
        Change::Move { run_at, partition } => {
            move_to(tx, registry, &fit, *run_at, partition.as_deref(), batch).await?;
        }
    }
    Ok(())
}

fn ids(jobs: &[Candidate]) -> serde_json::Value {
    json!(jobs.iter().map(|job| job.id.to_string()).collect::<Vec<_>>())
}

/// Ended jobs live again, unless another live job has their key: of several with one key the youngest.
async fn revive<E: Send + Sync + 'static>(
    tx: &mut Tx,
    registry: &Registry<E>,
    jobs: Vec<Candidate>,
    batch: &mut Batch,
) -> Result<(), DbError> {
    const REVIVE: Sql = of_ids!(
        "-- revive_jobs
             UPDATE jobs SET state = 'available', run_at = $2, attempt = 0, rescues = 0, snoozes = 0, outages = 0,
                    held_by = NULL, rate_charged = $3, cancel_requested_at = NULL, finished_at = NULL, wait_reason = NULL,
                    worker = NULL
             WHERE id IN ",
        " AND state <> 'running' AND (state IN ('scheduled', 'retryable') OR NOT EXISTS (
                SELECT 1 FROM jobs AS twin WHERE twin.queue = jobs.queue AND twin.unique_key = jobs.unique_key
                    AND twin.unique_key IS NOT NULL AND twin.id <> jobs.id
                    AND twin.state IN ('available', 'scheduled', 'running', 'retryable')))"
    );
    let mut kept: Vec<Candidate> = Vec::new();
    let mut keys: BTreeSet<(String, String)> = BTreeSet::new();
    for job in jobs.into_iter().rev() {
        let ended = matches!(job.state.as_str(), "completed" | "cancelled" | "discarded");
        if let Some(key) = &job.unique_key
            && ended
            && !keys.insert((job.queue.clone(), key.clone()))
        {
            batch.skip("twin", 1);
            continue;
        }
        if ended
            && let Some(kind) = registry.get(&job.queue)
            && kind.on_revive(&job.args, tx).await?
        {
            batch.done += 1;
            continue;
        }
        kept.push(job);
    }
    let now = tx.now().await?;
    let revived = tx.execute(REVIVE, &params![ids(&kept), now, false]).await?;
    batch.done += revived;
    batch.skip("twin", kept.len() as u64 - revived);
    Ok(())
}

async fn cancel(tx: &mut Tx, jobs: &[Candidate], batch: &mut Batch) -> Result<(), DbError> {
    const CANCEL: Sql = of_ids!(
        "-- cancel_jobs
         UPDATE jobs SET state = CASE state WHEN 'running' THEN 'running' ELSE 'cancelled' END,
                finished_at = CASE state WHEN 'running' THEN finished_at ELSE $2 END,
                cancel_requested_at = CASE state WHEN 'running' THEN COALESCE(cancel_requested_at, $2)
                                      ELSE cancel_requested_at END,
                wait_reason = NULL, held_by = NULL
         WHERE id IN "
    );
    let now = tx.now().await?;
    batch.done += tx.execute(CANCEL, &params![ids(jobs), now]).await?;
    Ok(())
}

async fn discard<E: Send + Sync + 'static>(
    tx: &mut Tx,
    registry: &Registry<E>,
    order: &Order<'_>,
    jobs: &[Candidate],
    batch: &mut Batch,
) -> Result<(), DbError> {
    const REMEMBER: Sql = of_ids!(
        "-- remember_discarded
         INSERT INTO discarded_jobs (operation, job_id, state)
         SELECT $2, id, state FROM jobs
         WHERE id IN ",
        "
         ON CONFLICT (operation, job_id) DO NOTHING"
    );
    const DISCARD: Sql = of_ids!(
        "-- discard_jobs
         UPDATE jobs SET state = 'discarded', finished_at = $2, last_error = $3, wait_reason = NULL, held_by = NULL
         WHERE id IN "
    );
    let now = tx.now().await?;
    let list = ids(jobs);
    tx.execute(REMEMBER, &params![&list, order.operation]).await?;
    batch.done += tx.execute(DISCARD, &params![&list, now, order.reason]).await?;
    for job in jobs {
        if let Some(kind) = registry.get(&job.queue) {
            kind.on_discard(&job.args, tx, order.reason).await?;
        }
    }
    Ok(())
}

async fn delete(tx: &mut Tx, jobs: &[Candidate], batch: &mut Batch) -> Result<(), DbError> {
    const ATTEMPTS: Sql = of_ids!(
        "-- delete_attempts\nDELETE FROM job_attempts
         WHERE job_id IN "
    );
    const JOBS: Sql = of_ids!(
        "-- delete_jobs\nDELETE FROM jobs
         WHERE id IN "
    );
    let list = ids(jobs);
    tx.execute(ATTEMPTS, &params![&list]).await?;
    batch.done += tx.execute(JOBS, &params![&list]).await?;
    Ok(())
}

/// A job whose queue has no limit per partition has no other partition to go to.
async fn move_to<E: Send + Sync + 'static>(
    tx: &mut Tx,
    registry: &Registry<E>,
    jobs: &[Candidate],
    run_at: Option<DateTime<Utc>>,
    partition: Option<&str>,
    batch: &mut Batch,
) -> Result<(), DbError> {
    const MOVE: Sql = of_ids!("-- move_jobs
         UPDATE jobs SET run_at = CASE WHEN held_by IS NULL THEN COALESCE($2, run_at) ELSE run_at END,
                state = CASE WHEN held_by IS NOT NULL OR $2 IS NULL THEN state WHEN $2 > $3 THEN 'scheduled' ELSE 'available' END,
                wait_reason = CASE WHEN held_by IS NOT NULL OR $2 IS NULL THEN wait_reason
                              WHEN $2 > $3 THEN 'moved by an operator' END,
                partition = COALESCE($4, partition), limit_key = COALESCE($5, limit_key)
         WHERE id IN ");
    let now = tx.now().await?;
    // Never before now: who claims remembers how far it has come.
    let run_at = run_at.map(|at| at.max(now));
    let mut by_queue: BTreeMap<&str, Vec<Candidate>> = BTreeMap::new();
    for job in jobs {
        by_queue.entry(&job.queue).or_default().push(job.clone());
    }
    for (queue, jobs) in by_queue {
        let limit_key = match partition {
            None => None,
            Some(partition) => {
                let policy = registry.get(queue).map(|kind| kind.policy());
                let Some(policy) = policy.filter(|policy| policy.limit.per_partition) else {
                    batch.skip("no_partitions", jobs.len() as u64);
                    continue;
                };
                limits::ensure_partition(tx, queue, partition, &policy).await?;
                Some(policy.limit_key(queue, partition))
            }
        };
        batch.done += tx
            .execute(MOVE, &params![ids(&jobs), run_at, now, partition, limit_key.as_deref()])
            .await?;
    }
    Ok(())
}

/// Gives back what an operation discarded: those of its jobs that are still discarded run again. Goes on after the job `after`.
///
/// # Errors
/// When the database refuses it: then nothing of the batch happened.
pub async fn restore<E: Send + Sync + 'static>(
    tx: &mut Tx,
    registry: &Registry<E>,
    operation: Uuid,
    after: Uuid,
) -> Result<Option<Batch>, DbError> {
    const TAKEN: Sql = Sql::each(
        "-- taken_by_operation
         SELECT d.job_id AS id, j.queue, j.state, j.unique_key, j.args FROM discarded_jobs d LEFT JOIN jobs j ON j.id = d.job_id
         WHERE d.operation = $1 AND d.job_id > $2 ORDER BY d.job_id LIMIT $3",
        "-- taken_by_operation
         SELECT d.job_id AS id, j.queue, j.state, j.unique_key, j.args FROM discarded_jobs d LEFT JOIN jobs j ON j.id = d.job_id
         WHERE d.operation = $1 AND d.job_id > $2 ORDER BY d.job_id LIMIT $3 FOR NO KEY UPDATE OF d",
    );
    let take = size(tx).take.min(BETWEEN_LOOKS);
    let rows = tx.fetch_all(TAKEN, &params![operation, after, take]).await?;
    let Some(last) = rows.last() else { return Ok(None) };
    let mut batch = Batch {
        position: last.get("id")?,
        ..Batch::default()
    };
    let mut jobs = Vec::new();
    for row in &rows {
        let Some(state) = row.get::<Option<String>>("state")? else {
            batch.skip("deleted", 1);
            continue;
        };
        if state != "discarded" {
            batch.skip("no_longer_discarded", 1);
            continue;
        }
        jobs.push(Candidate {
            id: row.get("id")?,
            queue: row.get("queue")?,
            state,
            unique_key: row.get("unique_key")?,
            args: row.get("args")?,
        });
    }
    revive(tx, registry, jobs, &mut batch).await?;
    if batch.done > 0 {
        tx.wake_fleet();
    }
    Ok(Some(batch))
}
