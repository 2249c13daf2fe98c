//! The arrows out of `running`. Each carries the claim's lease and changes nothing when the row has another one by then.
//!
//! Only a running job has a lease, so that no statement asks for the state as well: it would let a planner take the index of
//! all running jobs, and of all that ran lately, in place of the one row.

use std::time::Duration;

use serde_json::Value as Json;

use super::{
    gate::{Outage, Waits},
    job::{AnyJob, JobError},
    lease::Lease,
};
use crate::{
    db::{
        Db, DbError, Sql, Tx,
        clock::{postgres_now, sqlite_now},
    },
    params,
};

const LOCK: Sql = Sql::each(
    concat!(
        "-- lock_by_lease
         SELECT cancel_requested_at IS NOT NULL AS cancelled, ",
        sqlite_now!(),
        " AS now FROM jobs WHERE id = $1 AND lease = $2"
    ),
    concat!(
        "-- lock_by_lease
         SELECT cancel_requested_at IS NOT NULL AS cancelled, ",
        postgres_now!(),
        " AS now FROM jobs WHERE id = $1 AND lease = $2 FOR UPDATE"
    ),
);

/// What the job's row says to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locked {
    /// Until the transaction ends nobody else changes it.
    Ours,
    /// Ours, and somebody asked for its end.
    Cancelled,
    /// It has another lease, or none.
    Lost,
}

/// The job's row under its lease, before anything else of the transaction.
pub(super) async fn lock(tx: &mut Tx, lease: &Lease) -> Result<Locked, DbError> {
    let Some(row) = tx.fetch_optional(LOCK, &params![lease.job, lease.id]).await? else {
        return Ok(Locked::Lost);
    };
    tx.take_now(&row)?;
    Ok(if row.get::<bool>("cancelled")? {
        Locked::Cancelled
    } else {
        Locked::Ours
    })
}

/// Whether this lease's run has its line in the history: a commit whose answer was lost did happen.
pub(super) async fn is_ended(db: &Db, lease: &Lease) -> Result<bool, DbError> {
    let line = db
        .fetch_optional(
            "-- is_ended\nSELECT outcome FROM job_attempts WHERE lease = $1 AND outcome <> 'rescued'",
            &params![lease.id],
        )
        .await?;
    Ok(line.is_some())
}

/// Nothing changed: the row is another worker's by now.
fn held(changed: u64) -> Result<(), JobError> {
    if changed == 1 { Ok(()) } else { Err(JobError::LostLease) }
}

/// The job's end and its line in the history: on a server one round trip.
const COMPLETE: Sql = Sql::each(
    "-- complete_job
     UPDATE jobs SET state = 'completed', lease = NULL, lease_expires_at = NULL, slot = NULL, wait_reason = NULL,
            progress = COALESCE($4, progress), finished_at = $3
     WHERE id = $1 AND lease = $2 RETURNING id",
    "-- complete_job
     WITH done AS (
        UPDATE jobs SET state = 'completed', lease = NULL, lease_expires_at = NULL, slot = NULL, wait_reason = NULL,
               progress = COALESCE($4, progress), finished_at = $3
        WHERE id = $1 AND lease = $2 RETURNING id)
     INSERT INTO job_attempts (lease, job_id, queue, limit_key, slot, attempt, worker, started_at, finished_at, outcome,
                               duration_us)
     SELECT $2, id, $5, $6, $7, $8, $9, $10, $3, 'completed', $11 FROM done RETURNING job_id AS id",
);

pub(super) async fn complete(tx: &mut Tx, lease: &Lease, progress: Option<Json>) -> Result<(), JobError> {
    let now = tx.now().await?;
    let mut params = params![lease.job, lease.id, now, progress].to_vec();
    let with_history = tx.is_on_server();
    if with_history {
        let attempt = &lease.attempt;
        params.extend(params![
            &*attempt.queue,
            &*attempt.limit_key,
            attempt.slot,
            attempt.number,
            &*attempt.worker,
            attempt.started_at,
            attempt.duration_us(now)
        ]);
    }
    let changed = tx.fetch_all(COMPLETE, &params).await?;
    held(changed.len() as u64)?;
    if with_history {
        return Ok(());
    }
    end_attempt(tx, lease, "completed", None).await?;
    Ok(())
}

/// A new date on the lease, from the database's clock.
pub(super) async fn renew(tx: &mut Tx, lease: &Lease, progress: Option<Json>) -> Result<(), JobError> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "-- renew_lease
             UPDATE jobs SET lease_expires_at = $3, progress = COALESCE($4, progress)
             WHERE id = $1 AND lease = $2",
            &params![lease.job, lease.id, now + lease.term(), progress],
        )
        .await?;
    held(changed)
}

/// The attempt is refunded and the start stays charged: the job itself did nothing wrong.
pub(super) async fn snooze(
    tx: &mut Tx,
    lease: &Lease,
    after: Duration,
    reason: &str,
    progress: Option<Json>,
) -> Result<(), JobError> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "-- snooze_job
             UPDATE jobs SET state = 'scheduled', run_at = $3, attempt = attempt - 1, snoozes = snoozes + 1, outages = 0,
                    lease = NULL, lease_expires_at = NULL, slot = NULL, worker = NULL,
                    wait_reason = $4, progress = COALESCE($5, progress)
             WHERE id = $1 AND lease = $2",
            &params![lease.job, lease.id, now + after, reason, progress],
        )
        .await?;
    held(changed)?;
    tx.wake_claimer();
    end_attempt(tx, lease, "snoozed", Some(reason)).await?;
    Ok(())
}

/// How a job waits for an upstream that is down.
pub(super) struct Hold<'a> {
    /// The gate that it goes on at.
    pub(super) gate: &'a str,
    /// The gate that holds it; `None` when that is open again.
    pub(super) held_by: Option<&'a str>,
    /// Its own call found the upstream down. Then it also has a wait of its own, longer each time: if it alone brings the
    /// upstream down, the others go first once the gate is open.
    pub(super) found_down: bool,
    pub(super) waits: Waits,
    pub(super) reason: &'a Outage,
}

/// As [`snooze`]; other snoozes in a row count apart.
pub(super) async fn hold(tx: &mut Tx, lease: &Lease, hold: Hold<'_>, progress: Option<Json>) -> Result<(), JobError> {
    let now = tx.now().await?;
    let row = tx
        .fetch_optional(
            "-- outages_of_job\nSELECT outages FROM jobs WHERE id = $1 AND lease = $2",
            &params![lease.job, lease.id],
        )
        .await?
        .ok_or(JobError::LostLease)?;
    let outages = row.get::<u32>("outages")?.saturating_add(hold.found_down.into());
    let (run_at, wait_reason) = if hold.found_down {
        let why = format!("tries {} again after a wait of its own", hold.reason.gate);
        (now + hold.waits.after(outages), Some(why))
    } else {
        (now, None)
    };
    let reason = hold.reason.to_string();
    let changed = tx
        .execute(
            "-- hold_job
             UPDATE jobs SET state = 'scheduled', run_at = $3, attempt = attempt - 1, outages = $4, gate = $5, held_by = $6,
                    lease = NULL, lease_expires_at = NULL, slot = NULL, worker = NULL,
                    wait_reason = $7, progress = COALESCE($8, progress)
             WHERE id = $1 AND lease = $2",
            &params![
                lease.job,
                lease.id,
                run_at,
                outages,
                hold.gate,
                hold.held_by,
                wait_reason,
                progress
            ],
        )
        .await?;
    held(changed)?;
    tx.wake_claimer();
    end_attempt(tx, lease, "snoozed", Some(&reason)).await?;
    Ok(())
}

/// How a failed run goes on.
pub(super) enum Failure<'a> {
    /// Again after the wait, unless its attempts are used up.
    Retry { error: &'a str, wait: Duration },
    /// Never again.
    Discard { error: &'a str },
}

/// Retries or discards. `Ok(false)`: the lease was lost and nothing changed.
pub(super) async fn fail<E>(
    tx: &mut Tx,
    lease: &Lease,
    kind: &dyn AnyJob<E>,
    args: &str,
    failure: Failure<'_>,
) -> Result<bool, DbError> {
    // Locked where there are others: nobody asks for its end between this and the retry.
    const FAILED: Sql = Sql::each(
        "-- failed_job
         SELECT attempt, max_attempts, cancel_requested_at IS NOT NULL AS cancelled FROM jobs
         WHERE id = $1 AND lease = $2",
        "-- failed_job
         SELECT attempt, max_attempts, cancel_requested_at IS NOT NULL AS cancelled FROM jobs
         WHERE id = $1 AND lease = $2 FOR NO KEY UPDATE",
    );
    let now = tx.now().await?;
    let Some(row) = tx.fetch_optional(FAILED, &params![lease.job, lease.id]).await? else {
        return Ok(false);
    };
    // Cancelled a moment ago, and its token does not know yet: a retry would forget it.
    if row.get("cancelled")? {
        return cancel(tx, lease).await;
    }
    let attempt: u32 = row.get("attempt")?;
    let exhausted = attempt >= row.get::<u32>("max_attempts")?;
    match failure {
        Failure::Retry { error, wait } if !exhausted => {
            tx.execute(
                "-- retry_job
                 UPDATE jobs SET state = 'retryable', run_at = $3, rate_charged = $5, snoozes = 0, outages = 0,
                        lease = NULL, lease_expires_at = NULL, slot = NULL, worker = NULL,
                        last_error = $4, wait_reason = 'waits to be tried again after an error'
                 WHERE id = $1 AND lease = $2",
                &params![lease.job, lease.id, now + wait, error, false],
            )
            .await?;
            end_attempt(tx, lease, "retried", Some(error)).await?;
        }
        Failure::Retry { error, .. } => {
            let reason = format!("{error} (attempt {attempt}, the last one)");
            discard(tx, lease, kind, args, &reason).await?;
        }
        Failure::Discard { error } => discard(tx, lease, kind, args, error).await?,
    }
    tx.wake_claimer();
    Ok(true)
}

/// Discards; the job's own last words go into the same transaction.
async fn discard<E>(tx: &mut Tx, lease: &Lease, kind: &dyn AnyJob<E>, args: &str, reason: &str) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- discard_job
         UPDATE jobs SET state = 'discarded', lease = NULL, lease_expires_at = NULL, slot = NULL,
                last_error = $3, wait_reason = NULL, finished_at = $4
         WHERE id = $1 AND lease = $2",
        &params![lease.job, lease.id, reason, now],
    )
    .await?;
    end_attempt(tx, lease, "discarded", Some(reason)).await?;
    kind.on_discard(args, tx, reason).await
}

/// Waits although it failed for good, since the database refused how it was to end. `Ok(false)`: the lease was lost.
pub(super) async fn put_off(tx: &mut Tx, lease: &Lease, wait: Duration, error: &str) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "-- put_off_job
             UPDATE jobs SET state = 'retryable', run_at = $3, lease = NULL, lease_expires_at = NULL, slot = NULL,
                    worker = NULL, rate_charged = $5, last_error = $4, wait_reason = 'its end could not be written'
             WHERE id = $1 AND lease = $2",
            &params![lease.job, lease.id, now + wait, error, false],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    end_attempt(tx, lease, "retried", Some(error)).await?;
    tx.wake_claimer();
    Ok(true)
}

/// Ends as cancelled. `Ok(false)`: the lease was lost and nothing changed.
pub(super) async fn cancel(tx: &mut Tx, lease: &Lease) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "-- end_cancelled_job
             UPDATE jobs SET state = 'cancelled', lease = NULL, lease_expires_at = NULL, slot = NULL,
                    wait_reason = NULL, finished_at = $3
             WHERE id = $1 AND lease = $2",
            &params![lease.job, lease.id, now],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    end_attempt(tx, lease, "cancelled", None).await?;
    tx.wake_claimer();
    Ok(true)
}

/// Gives the job back untried: the attempt is refunded and the start stays charged. `Ok(false)`: the lease was lost.
pub(super) async fn hand_back(tx: &mut Tx, lease: &Lease) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "-- hand_back_job
             UPDATE jobs SET state = CASE WHEN cancel_requested_at IS NULL THEN 'available' ELSE 'cancelled' END,
                    finished_at = CASE WHEN cancel_requested_at IS NULL THEN finished_at ELSE $3 END,
                    attempt = attempt - 1, lease = NULL, lease_expires_at = NULL, slot = NULL, worker = NULL,
                    wait_reason = 'handed back by a worker that stopped'
             WHERE id = $1 AND lease = $2",
            &params![lease.job, lease.id, now],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    end_attempt(tx, lease, "handed_back", None).await?;
    tx.wake_fleet();
    Ok(true)
}

/// What became of the run.
async fn end_attempt(tx: &mut Tx, lease: &Lease, outcome: &'static str, error: Option<&str>) -> Result<(), DbError> {
    lease.attempt.end(tx, (lease.job, lease.id), outcome, error).await
}
