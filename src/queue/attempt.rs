//! The history of runs: one row per run, written when it ends and never again. Until then the job's own row says all of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    db::{DbError, Tx},
    params,
};

/// What will stand in the history of a run.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) queue: Arc<str>,
    pub(super) limit_key: Arc<str>,
    /// `None`: its queue has no limit.
    pub(super) slot: Option<u32>,
    /// Repeats after a snooze; the lease never does.
    pub(super) number: u32,
    pub(super) worker: Arc<str>,
    pub(super) started_at: DateTime<Utc>,
}

impl Attempt {
    /// For how long it has run.
    pub(super) fn duration_us(&self, now: DateTime<Utc>) -> i64 {
        (now - self.started_at).num_microseconds().unwrap_or(i64::MAX)
    }

    /// Writes what became of it. `error` is also the reason of a snooze.
    pub(super) async fn end(
        &self,
        tx: &mut Tx,
        (job, lease): (Uuid, Uuid),
        outcome: &'static str,
        error: Option<&str>,
    ) -> Result<(), DbError> {
        let now = tx.now().await?;
        tx.execute(
            "-- end_attempt
             INSERT INTO job_attempts (lease, job_id, queue, limit_key, slot, attempt, worker, started_at, finished_at,
                                       outcome, error, duration_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &params![
                lease,
                job,
                &*self.queue,
                &*self.limit_key,
                self.slot,
                self.number,
                &*self.worker,
                self.started_at,
                now,
                outcome,
                error,
                self.duration_us(now)
            ],
        )
        .await
        .map(drop)
    }
}
