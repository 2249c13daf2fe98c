//! The ends of jobs that have nothing to write but that they are done.
//!
//! Those that end while the last write is under way share the next one: nobody waits for company, and the more there are, the
//! fewer commits they take. Each still learns by its own lease whether its end counts.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    job::JobError,
    lease::{Lease, Stop},
};
use crate::{
    db::{
        Db, DbError, Sql,
        clock::{postgres_now, sqlite_now},
    },
    params,
};

/// Ends that share a commit, at most.
const TOGETHER: usize = 500;
/// Between two tries while the database is away.
const AGAIN_MOST: Duration = Duration::from_secs(1);

pub(super) type Waiting = (Arc<Lease>, oneshot::Sender<Result<(), JobError>>);

/// Where jobs leave their ends. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Completions {
    /// Each end is a commit of its own.
    Alone(Db),
    /// Written by one task for all.
    Together(mpsc::UnboundedSender<Waiting>),
}

impl Completions {
    pub(super) fn alone(db: Db) -> Self {
        Self::Alone(db)
    }

    /// Starts the task that writes them. It ends with the last clone.
    pub(super) fn together(db: Db) -> Self {
        let (sender, waiting) = mpsc::unbounded_channel();
        tokio::spawn(write_all(db, waiting));
        Self::Together(sender)
    }

    /// Completes a run. While the database is away it waits: the row is ours until it says otherwise.
    pub(super) async fn complete(&self, lease: &Arc<Lease>) -> Result<(), JobError> {
        let (sender, ended) = oneshot::channel();
        let waiting = (Arc::clone(lease), sender);
        let gone = || JobError::retry("the process is ending");
        match self {
            Self::Alone(db) => write(db, vec![waiting]).await,
            Self::Together(task) => task.send(waiting).map_err(|_| gone())?,
        }
        ended.await.map_err(|_| gone())?
    }
}

async fn write_all(db: Db, mut waiting: mpsc::UnboundedReceiver<Waiting>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, TOGETHER).await > 0 {
        write(&db, std::mem::take(&mut batch)).await;
    }
}

async fn write(db: &Db, mut batch: Vec<Waiting>) {
    let mut wait = Duration::from_millis(50);
    loop {
        let (lost, ours): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|(lease, _)| lease.stopped() == Some(Stop::Lost));
        answer(lost, |_| Err(JobError::LostLease));
        if ours.is_empty() {
            return;
        }
        match complete_all(db, &ours).await {
            Ok(done) => {
                answer(ours, |lease| {
                    if done.done.contains(&lease) {
                        Ok(())
                    } else if done.cancelled.contains(&lease) {
                        Err(JobError::Cancelled)
                    } else {
                        Err(JobError::LostLease)
                    }
                });
                return;
            }
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, jobs = ours.len(), "jobs are done and it cannot be written yet");
                batch = ours;
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(AGAIN_MOST);
            }
            Err(error) => {
                answer(ours, |_| Err(JobError::retry(&error)));
                return;
            }
        }
    }
}

fn answer(batch: Vec<Waiting>, with: impl Fn(Uuid) -> Result<(), JobError>) {
    for (lease, sender) in batch {
        // Who was told to stop in the meantime does not wait any more.
        let _ = sender.send(with(lease.id));
    }
}

/// What became of them.
#[derive(Default)]
struct Ends {
    done: HashSet<Uuid>,
    /// Somebody asked for their end at the last moment. What is neither is another worker's by now.
    cancelled: HashSet<Uuid>,
}

/// In a file nobody else writes in between: first what the jobs' rows say of these runs, then their end.
const COMPLETE_ALL: Sql = Sql::each(
    concat!(
        "-- complete_jobs
         BEGIN IMMEDIATE;
         INSERT INTO job_attempts (lease, job_id, queue, limit_key, slot, attempt, worker, started_at, finished_at, outcome,
                                   duration_us)
         SELECT j.lease, j.id, j.queue, j.limit_key, j.slot, j.attempt, j.worker, j.started_at, clock.now, 'completed',
                clock.now - j.started_at
         FROM (SELECT ",
        sqlite_now!(),
        " AS now) AS clock CROSS JOIN json_each($1) AS done CROSS JOIN jobs AS j
         WHERE j.id = done.key AND j.lease = done.value ->> 'lease' AND j.cancel_requested_at IS NULL
         RETURNING lease;
         UPDATE jobs SET state = 'completed', lease = NULL, lease_expires_at = NULL, slot = NULL, wait_reason = NULL,
                finished_at = (SELECT a.finished_at FROM job_attempts AS a WHERE a.lease = jobs.lease)
         FROM json_each($1) AS done
         WHERE jobs.id = done.key AND jobs.lease = done.value ->> 'lease' AND jobs.cancel_requested_at IS NULL;
         COMMIT"
    ),
    concat!(
        "-- complete_jobs
         WITH done AS (
            UPDATE jobs SET state = 'completed', lease = NULL, lease_expires_at = NULL, slot = NULL, wait_reason = NULL,
                   finished_at = ",
        postgres_now!(),
        "
            WHERE id = ANY (ARRAY(SELECT jsonb_object_keys($1)::uuid)) AND lease = ($1 -> id::text ->> 'lease')::uuid
                AND cancel_requested_at IS NULL
            RETURNING id, queue, limit_key, attempt, worker, started_at, finished_at)
         INSERT INTO job_attempts (lease, job_id, queue, limit_key, slot, attempt, worker, started_at, finished_at, outcome,
                                   duration_us)
         SELECT ($1 -> id::text ->> 'lease')::uuid, id, queue, limit_key, ($1 -> id::text ->> 'slot')::bigint, attempt, worker,
                started_at, finished_at, 'completed', (extract(epoch FROM finished_at - started_at) * 1000000)::bigint
         FROM done RETURNING lease"
    ),
);

/// What became of those that were not completed now: by an earlier try whose answer was lost, or not at all.
const WHAT_ELSE: Sql = Sql::each(
    "-- ends_before
     SELECT lease, 'done' AS what FROM job_attempts
     WHERE lease IN (SELECT value FROM json_each($1)) AND outcome = 'completed'
     UNION ALL
     SELECT lease, 'cancelled' FROM jobs
     WHERE state = 'running' AND lease IN (SELECT value FROM json_each($1)) AND cancel_requested_at IS NOT NULL",
    "-- ends_before
     SELECT lease, 'done' AS what FROM job_attempts
     WHERE lease IN (SELECT value::uuid FROM jsonb_array_elements_text($1)) AND outcome = 'completed'
     UNION ALL
     SELECT lease, 'cancelled' FROM jobs
     WHERE state = 'running' AND lease IN (SELECT value::uuid FROM jsonb_array_elements_text($1))
        AND cancel_requested_at IS NOT NULL",
);

async fn complete_all(db: &Db, batch: &[Waiting]) -> Result<Ends, DbError> {
    let list: Json = batch
        .iter()
        .map(|(lease, _)| {
            let line = json!({"lease": lease.id, "slot": lease.attempt.slot});
            (lease.job.to_string(), line)
        })
        .collect();
    let rows = db.write_whole(COMPLETE_ALL, &params![list]).await?;
    let mut ends = Ends::default();
    for row in rows {
        ends.done.insert(row.get("lease")?);
    }
    let others: Json = batch
        .iter()
        .map(|(lease, _)| lease.id)
        .filter(|lease| !ends.done.contains(lease))
        .map(|lease| lease.to_string())
        .collect();
    if others != Json::Array(Vec::new()) {
        for row in db.fetch_all(WHAT_ELSE, &params![others]).await? {
            let lease = row.get("lease")?;
            match row.get::<String>("what")?.as_str() {
                "done" => ends.done.insert(lease),
                _ => ends.cancelled.insert(lease),
            };
        }
    }
    Ok(ends)
}
