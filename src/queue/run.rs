//! One run of one job: from the claim to what the row says afterwards.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use uuid::Uuid;

use super::{
    claim::Claimed,
    completions::Completions,
    context::JobContext,
    finish::{self, Failure, Locked},
    job::{AnyJob, JobError, Outcome, Registry},
    lease::{Lease, Leases, Stop},
};
use crate::{
    db::{Db, DbError, Tx},
    telemetry::trace,
};

/// How long a cancelled job may take to end by itself before its future is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(2);
/// The same when the process stops: the grace for that is over already.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);
/// A job whose discard cannot be written is tried again; not for ever when the database answers and refuses.
const REFUSALS_MOST: u32 = 3;

/// What runs of this process share.
pub(super) struct Runner<E> {
    pub(super) db: Db,
    pub(super) registry: Arc<Registry<E>>,
    pub(super) env: Arc<E>,
    pub(super) leases: Leases,
    pub(super) worker: Arc<str>,
    pub(super) completions: Completions,
}

/// Takes the lease off the list whatever ends the run, a dropped future included.
struct Listed<'a>(&'a Leases, Uuid);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}

impl<E: Send + Sync + 'static> Runner<E> {
    /// Runs it, and writes how it ended unless the job itself committed that.
    pub(super) async fn run(&self, claimed: Claimed) {
        let lease = Arc::clone(&claimed.lease);
        let _listed = Listed(&self.leases, lease.id);
        let Some(kind) = self.registry.get(claimed.queue) else {
            // Never claimed: only registered names are asked for.
            return;
        };
        let trace = trace::Run::start(
            &claimed.origin,
            claimed.queue,
            &lease.job.to_string(),
            claimed.attempt,
            &claimed.args,
        );
        let (outcome, failed) = trace.scope(self.run_as(claimed, &lease, kind)).await;
        trace.end(outcome, failed);
    }

    /// Answers how it ended, as a code, and whether that is a failure.
    async fn run_as(&self, claimed: Claimed, lease: &Arc<Lease>, kind: &Arc<dyn AnyJob<E>>) -> (&'static str, bool) {
        let context = JobContext {
            db: self.db.clone(),
            lease: Arc::clone(lease),
            attempt: claimed.attempt,
            snoozes: claimed.snoozes,
            worker: Arc::clone(&self.worker),
            progress: claimed.progress,
            completions: self.completions.clone(),
            passages: Mutex::default(),
        };
        let policy = kind.policy();
        let ended = match kind.run(&claimed.args, &context, &self.env) {
            Err(error) => Err(JobError::fail(format!("its arguments cannot be read: {error}"))),
            Ok(run) => {
                let run = AssertUnwindSafe(run).catch_unwind();
                tokio::select! {
                    biased;
                    ended = run => ended.unwrap_or_else(|panic| Err(JobError::retry(panic_words(&*panic)))),
                    stop = told_to_stop(lease) => Err(match stop {
                        Stop::Cancelled => JobError::Cancelled,
                        Stop::ShuttingDown => JobError::ShuttingDown,
                        Stop::Lost => JobError::LostLease,
                    }),
                    () = tokio::time::sleep(policy.timeout) => Err(JobError::retry(format!("timed out after {:?}", policy.timeout))),
                }
            }
        };
        let how = how(&ended);
        self.settle(lease, kind, &claimed.args, claimed.attempt, ended).await;
        how
    }

    async fn settle(
        &self,
        lease: &Lease,
        kind: &Arc<dyn AnyJob<E>>,
        args: &str,
        attempt: u32,
        ended: Result<Outcome, JobError>,
    ) {
        let Err(error) = ended else { return };
        // Why it was told to stop outweighs what it made of that.
        let error = match lease.stopped() {
            Some(Stop::Lost) => JobError::LostLease,
            Some(Stop::Cancelled) => JobError::Cancelled,
            Some(Stop::ShuttingDown) => JobError::ShuttingDown,
            None => error,
        };
        match &error {
            JobError::LostLease => {
                tracing::warn!("the lease was lost: nothing of this run counts");
                return;
            }
            JobError::Retry { error, .. } => tracing::warn!(error, "the job failed"),
            JobError::Fail { error } => tracing::error!(error, "the job failed for good"),
            JobError::Interrupted { why } => {
                tracing::warn!(why, "the run was interrupted: the job goes back to the queue");
            }
            JobError::Snooze { .. } | JobError::Cancelled | JobError::ShuttingDown => {}
        }
        let chance = chance();
        let mut wait = Duration::from_millis(50);
        let mut refusals = 0;
        // As long as nobody else has the job: what is written carries the lease, however long the database was away.
        while lease.stopped() != Some(Stop::Lost) {
            let written = self
                .write(lease, kind, args, attempt, &error, chance, refusals >= REFUSALS_MOST)
                .await;
            match written {
                Ok(true) => return,
                Ok(false) => {
                    tracing::warn!("the lease was lost: how this run ended is not written");
                    return;
                }
                Err(failed) => {
                    tracing::warn!(error = %failed, "how the job ended cannot be written yet");
                    refusals += u32::from(!failed.is_passing());
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(1));
        }
        tracing::warn!("how the job ended could not be written before the job was another worker's: it runs again");
    }

    #[expect(clippy::too_many_arguments, reason = "one call, and each is needed")]
    async fn write(
        &self,
        lease: &Lease,
        kind: &Arc<dyn AnyJob<E>>,
        args: &str,
        attempt: u32,
        error: &JobError,
        chance: f64,
        refused: bool,
    ) -> Result<bool, DbError> {
        let mut tx: Tx = self.db.begin().await?;
        let policy = kind.policy();
        let held = match error {
            JobError::Retry { error, .. } | JobError::Fail { error } if refused => {
                let error = format!("{error}; its end could not be written: see the log");
                finish::put_off(&mut tx, lease, policy.backoff_most, &error).await?
            }
            JobError::Retry { error, after } => {
                let wait = policy.backoff_after(attempt, chance).max(after.unwrap_or_default());
                finish::fail(&mut tx, lease, &**kind, args, Failure::Retry { error, wait }).await?
            }
            JobError::Fail { error } => finish::fail(&mut tx, lease, &**kind, args, Failure::Discard { error }).await?,
            JobError::Snooze { after, reason } => {
                let snoozed = match finish::lock(&mut tx, lease).await? {
                    Locked::Ours => finish::snooze(&mut tx, lease, *after, reason, None).await,
                    Locked::Cancelled => Err(JobError::Cancelled),
                    Locked::Lost => Err(JobError::LostLease),
                };
                match snoozed {
                    Ok(()) => true,
                    Err(JobError::LostLease) => false,
                    Err(JobError::Cancelled) => finish::cancel(&mut tx, lease).await?,
                    Err(other) => return Err(DbError::other(other.to_string())),
                }
            }
            JobError::Cancelled => finish::cancel(&mut tx, lease).await?,
            JobError::ShuttingDown | JobError::Interrupted { .. } => finish::hand_back(&mut tx, lease).await?,
            JobError::LostLease => false,
        };
        if held {
            tx.commit().await?;
        }
        Ok(held)
    }
}

/// How a run ended, as a code, and whether that is a failure.
fn how(ended: &Result<Outcome, JobError>) -> (&'static str, bool) {
    match ended {
        Ok(Outcome::Done(_)) => ("completed", false),
        Ok(Outcome::Snoozed(_)) | Err(JobError::Snooze { .. }) => ("snoozed", false),
        Err(JobError::Retry { .. }) => ("retry", true),
        Err(JobError::Fail { .. }) => ("fail", true),
        Err(JobError::Interrupted { .. }) => ("interrupted", false),
        Err(JobError::LostLease) => ("lost_lease", true),
        Err(JobError::Cancelled) => ("cancelled", false),
        Err(JobError::ShuttingDown) => ("shutting_down", false),
    }
}

/// Resolves when the run is to be dropped.
async fn told_to_stop(lease: &Lease) -> Stop {
    lease.token().cancelled().await;
    let grace = match lease.stopped() {
        Some(Stop::Cancelled) => CANCEL_GRACE,
        Some(Stop::ShuttingDown) => SHUTDOWN_GRACE,
        Some(Stop::Lost) | None => Duration::ZERO,
    };
    // The lease may be lost while a cancelled job still winds up.
    let mut left = grace;
    let step = Duration::from_millis(50);
    while !left.is_zero() && lease.stopped() != Some(Stop::Lost) {
        tokio::time::sleep(step.min(left)).await;
        left = left.saturating_sub(step);
    }
    lease.stopped().unwrap_or(Stop::Lost)
}

/// Only words that stand in the program: what a panic formats may hold parts of a transcript.
fn panic_words(panic: &(dyn Any + Send)) -> String {
    match panic.downcast_ref::<&str>() {
        Some(words) => format!("panicked: {words}"),
        None => "panicked: the log says where".to_owned(),
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let bits = u32::try_from(Uuid::new_v4().as_u128() & 0xffff_ffff).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}
