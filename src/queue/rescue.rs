//! Frees the jobs of workers that died, on the database's clock.
//!
//! A job that killed three workers is discarded: it must not kill the fleet.

use uuid::Uuid;

use super::{attempt::Attempt, job::Registry, lease::Leases};
use crate::{
    db::{
        Db, DbError, Row, Sql, Tx,
        clock::{postgres_now, sqlite_now},
    },
    fault::{self, FaultPoint},
    params,
};

/// Deaths of workers under a job before it is discarded.
const RESCUES_MOST: u32 = 3;
/// Jobs freed after one look.
const BATCH: u32 = 100;

macro_rules! expired_jobs {
    ($now:expr) => {
        concat!(
            "SELECT id, lease, queue, limit_key, slot, attempt, args, worker, started_at, rescues,
                    cancel_requested_at IS NOT NULL AS cancelled FROM jobs
             WHERE state = 'running' AND lease_expires_at <= ",
            $now,
            " ORDER BY lease_expires_at LIMIT $1"
        )
    };
}

/// With the clock in it: it is asked every second or so, also by a process that has nothing to do. And with who answers: a
/// server that was started again, or another one, was away from everybody.
const EXPIRED: Sql = Sql::each(
    concat!(
        "-- expired_jobs
         SELECT '' AS server, expired.* FROM (SELECT 1) LEFT JOIN (",
        expired_jobs!(sqlite_now!()),
        ") AS expired"
    ),
    concat!(
        "-- expired_jobs
         SELECT pg_postmaster_start_time()::text || ' ' || (SELECT timeline_id FROM pg_control_checkpoint())::text AS server,
                expired.*
         FROM (SELECT 1) AS one LEFT JOIN (",
        expired_jobs!(postgres_now!()),
        ") AS expired ON true"
    ),
);

/// Jobs whose lease has run out.
pub(super) struct AllExpired {
    /// Which server said so, and since when it runs; empty where there is none.
    pub(super) server: String,
    jobs: Vec<Expired>,
}

/// Looks for jobs whose lease has run out.
pub(super) async fn expired(db: &Db) -> Result<AllExpired, DbError> {
    let rows = db.fetch_all(EXPIRED, &params![BATCH]).await?;
    let server = match rows.first() {
        Some(row) => row.get("server")?,
        None => String::new(),
    };
    let jobs = rows.iter().filter_map(|row| Expired::read(row).transpose());
    Ok(AllExpired {
        server,
        jobs: jobs.collect::<Result<_, _>>()?,
    })
}

/// Frees them. Answers how many. What certainly runs here is not freed, even when the database's clock was set forward past its
/// lease.
pub(super) async fn free_all<E: Send + Sync + 'static>(
    db: &Db,
    registry: &Registry<E>,
    ours: &Leases,
    expired: &AllExpired,
) -> Result<usize, DbError> {
    let mut freed = 0;
    for job in &expired.jobs {
        if ours.get(job.lease).is_some_and(|lease| !lease.certain_for().is_zero()) {
            continue;
        }
        // Each in a transaction of its own: one whose last words the database refuses does not hold up the others.
        let mut tx = db.begin().await?;
        match free(&mut tx, registry, job).await {
            Ok(false) => {}
            Ok(true) => {
                tx.wake_fleet();
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
    attempt: Attempt,
    args: String,
    rescues: u32,
    cancelled: bool,
}

impl Expired {
    /// `None`: there is none.
    fn read(row: &Row) -> Result<Option<Self>, DbError> {
        let Some(id) = row.get("id")? else { return Ok(None) };
        Ok(Some(Self {
            id,
            lease: row.get("lease")?,
            attempt: Attempt {
                queue: row.get::<String>("queue")?.into(),
                limit_key: row.get::<String>("limit_key")?.into(),
                slot: row.get("slot")?,
                number: row.get("attempt")?,
                worker: row.get::<Option<String>>("worker")?.unwrap_or_default().into(),
                started_at: row.get("started_at")?,
            },
            args: row.get("args")?,
            rescues: row.get::<u32>("rescues")? + 1,
            cancelled: row.get("cancelled")?,
        }))
    }
}

/// `Ok(false)`: it was renewed, finished, freed or cancelled by somebody else in the meantime.
async fn free<E: Send + Sync + 'static>(tx: &mut Tx, registry: &Registry<E>, job: &Expired) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let (queue, worker) = (&*job.attempt.queue, &*job.attempt.worker);
    let why = format!("worker {worker} died or lost the database while it ran the job");
    // Whoever does not know the kind cannot end what it worked for, and leaves that to one who does.
    let discarded_by = registry
        .get(queue)
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
            "worker_died: {} workers died while they ran the job; the last: {worker}",
            job.rescues
        )
    } else {
        why.clone()
    };
    let changed = tx
        .execute(
            "-- rescue_job
         UPDATE jobs SET state = $3, rescues = $4, lease = NULL, lease_expires_at = NULL, slot = NULL,
                finished_at = $5, last_error = $6, wait_reason = $7
         WHERE id = $1 AND lease = $2 AND lease_expires_at <= $8 AND (cancel_requested_at IS NOT NULL) = $9",
            &params![
                job.id,
                job.lease,
                state,
                job.rescues,
                ended,
                &error,
                ended.is_none().then_some(&why),
                now,
                job.cancelled
            ],
        )
        .await?;
    if changed == 0 {
        return Ok(false);
    }
    job.attempt.end(tx, (job.id, job.lease), "rescued", Some(&why)).await?;
    tracing::warn!(queue, job = %job.id, worker, rescues = job.rescues, state, "a dead worker's job is freed");
    if let Some(kind) = discarded_by {
        kind.on_discard(&job.args, tx, &error).await?;
    }
    Ok(true)
}
