//! Frees the jobs of workers that died, on the database's clock.
//!
//! A job that killed three workers is discarded: it must not kill the fleet.

use uuid::Uuid;

use super::{job::Registry, lease::Leases};
use crate::{
    db::{
        Db, DbError, Sql, Tx,
        clock::{postgres_now, sqlite_now},
    },
    fault::{self, FaultPoint},
    params,
};

/// Deaths of workers under a job before it is discarded.
const RESCUES_MOST: u32 = 3;
/// Jobs freed in one transaction.
const BATCH: u32 = 100;

/// With the clock in it: it is asked every second or so, also by a process that has nothing to do.
const EXPIRED: Sql = Sql::each(
    concat!(
        "-- expired_jobs
         SELECT id, lease, queue, args, worker, rescues, cancel_requested_at IS NOT NULL AS cancelled FROM jobs
         WHERE state = 'running' AND lease_expires_at <= ",
        sqlite_now!(),
        " ORDER BY lease_expires_at LIMIT $1"
    ),
    concat!(
        "-- expired_jobs
         SELECT id, lease, queue, args, worker, rescues, cancel_requested_at IS NOT NULL AS cancelled FROM jobs
         WHERE state = 'running' AND lease_expires_at <= ",
        postgres_now!(),
        " ORDER BY lease_expires_at LIMIT $1"
    ),
);

/// Frees all jobs whose lease has run out. Answers how many. What certainly runs here is not freed, even when the database's
/// clock was set forward past its lease.
pub(super) async fn rescue<E: Send + Sync + 'static>(
    db: &Db,
    registry: &Registry<E>,
    ours: &Leases,
) -> Result<usize, DbError> {
    let rows = db.fetch_all(EXPIRED, &params![BATCH]).await?;
    let mut freed = 0;
    for row in &rows {
        if ours
            .get(row.get("lease")?)
            .is_some_and(|lease| !lease.certain_for().is_zero())
        {
            continue;
        }
        let job = Expired {
            id: row.get("id")?,
            lease: row.get("lease")?,
            queue: row.get("queue")?,
            args: row.get("args")?,
            worker: row.get::<Option<String>>("worker")?.unwrap_or_default(),
            rescues: row.get::<u32>("rescues")? + 1,
            cancelled: row.get("cancelled")?,
        };
        // Each in a transaction of its own: one whose last words the database refuses does not hold up the others.
        let mut tx = db.begin().await?;
        match free(&mut tx, registry, &job).await {
            Ok(false) => {}
            Ok(true) => {
                tx.wake_claimer();
                tx.commit().await?;
                fault::hit(FaultPoint::AfterRescue);
                freed += 1;
            }
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => tracing::error!(job = %job.id, %error, "a dead worker's job cannot be freed yet"),
        }
    }
    Ok(freed)
}

struct Expired {
    id: Uuid,
    lease: Uuid,
    queue: String,
    args: String,
    worker: String,
    rescues: u32,
    cancelled: bool,
}

/// `Ok(false)`: it was renewed, finished or freed by somebody else in the meantime.
async fn free<E: Send + Sync + 'static>(tx: &mut Tx, registry: &Registry<E>, job: &Expired) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let why = format!("worker {} died or lost the database while it ran the job", job.worker);
    // Whoever does not know the kind cannot end what it worked for, and leaves that to one who does.
    let discarded_by = registry
        .get(&job.queue)
        .filter(|_| job.rescues >= RESCUES_MOST && !job.cancelled);
    let state = if discarded_by.is_some() {
        "discarded"
    } else if job.cancelled {
        "cancelled"
    } else {
        "available"
    };
    let ended = (state != "available").then_some(now);
    let error = if discarded_by.is_some() {
        format!(
            "worker_died: {} workers died while they ran the job; the last: {}",
            job.rescues, job.worker
        )
    } else {
        why.clone()
    };
    let changed = tx
        .execute(
            "-- rescue_job
         UPDATE jobs SET state = $3, rescues = $4, lease = NULL, lease_expires_at = NULL, slot = NULL,
                finished_at = $5, last_error = $6, wait_reason = $7
         WHERE id = $1 AND lease = $2 AND state = 'running' AND lease_expires_at <= $8",
            &params![
                job.id,
                job.lease,
                state,
                job.rescues,
                ended,
                &error,
                ended.is_none().then_some(&why),
                now
            ],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    tx.execute(
        "-- rescued_attempt\nUPDATE job_attempts SET finished_at = $2, outcome = 'rescued', error = $3 WHERE lease = $1",
        &params![job.lease, now, &why],
    )
    .await?;
    tracing::warn!(queue = job.queue, job = %job.id, worker = job.worker, rescues = job.rescues, state, "a dead worker's job is freed");
    if let Some(kind) = discarded_by {
        kind.on_discard(&job.args, tx, &error).await?;
    }
    Ok(true)
}
