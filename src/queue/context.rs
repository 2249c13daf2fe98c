//! What a running job holds: its lease, and the only ways to write under it.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    completions::Completions,
    finish::{self, Locked},
    gate::Passage,
    job::{Committed, JobError, Outcome},
    lease::{Lease, since_boot},
};
use crate::{
    db::{Db, DbError, DbErrorKind, Tx},
    fault::{self, FaultPoint},
};

/// Between two tries while the database is away.
const AGAIN_FIRST: Duration = Duration::from_millis(50);
const AGAIN_MOST: Duration = Duration::from_secs(1);

/// The context of one run.
#[derive(Debug)]
pub struct JobContext {
    pub(super) db: Db,
    pub(super) lease: Arc<Lease>,
    pub(super) attempt: u32,
    pub(super) snoozes: u32,
    pub(super) worker: Arc<str>,
    pub(super) progress: Option<Json>,
    pub(super) completions: Completions,
    /// By gate.
    pub(super) passages: Mutex<BTreeMap<String, Passage>>,
}

/// A transaction that holds the job's row under its lease.
#[derive(Debug)]
pub struct Fenced {
    tx: Tx,
    sent: Duration,
    progress: Option<Json>,
}

impl Fenced {
    /// What [`JobContext::progress`], [`JobContext::snooze`] or [`JobContext::finish`] stores on the job's row, for people
    /// and for the next run.
    pub fn set_progress(&mut self, progress: Json) {
        self.progress = Some(progress);
    }
}

impl Deref for Fenced {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for Fenced {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}

impl JobContext {
    /// The job's id.
    #[expect(clippy::misnamed_getters, reason = "the lease has an id of its own")]
    pub fn id(&self) -> Uuid {
        self.lease.job
    }

    /// Which attempt this is; the first is 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How often it was snoozed in a row.
    pub fn snoozes(&self) -> u32 {
        self.snoozes
    }

    /// The id of the process that runs it.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// What an earlier run stored with [`Fenced::set_progress`].
    pub fn last_progress(&self) -> Option<&Json> {
        self.progress.as_ref()
    }

    /// Cancelled when the job is to stop: it was cancelled, the process stops, or the job is another worker's by now.
    pub fn cancelled(&self) -> &CancellationToken {
        self.lease.token()
    }

    /// Cancelled when no outside call may go on: the lease is no longer certain. Take it anew for each call: once the
    /// heartbeat got through again, calls may be made again.
    pub fn outside_calls(&self) -> CancellationToken {
        self.lease.outside_calls()
    }

    /// For how long the job is certainly still ours. Zero: start no outside call.
    pub fn certain_for(&self) -> Duration {
        self.lease.certain_for()
    }

    /// Opens a transaction and locks the job's row by its lease. While the database is away it waits: nothing has happened
    /// yet, and the row is ours until it says otherwise.
    ///
    /// # Errors
    /// [`JobError::LostLease`] when the job is another worker's by now, [`JobError::Cancelled`] when somebody cancelled it,
    /// [`JobError::Retry`] when the database refuses.
    pub async fn begin(&self) -> Result<Fenced, JobError> {
        let mut wait = AGAIN_FIRST;
        loop {
            let sent = since_boot();
            let began = async {
                let mut tx = self.db.begin().await?;
                let locked = finish::lock(&mut tx, &self.lease).await?;
                Ok::<_, DbError>((tx, locked))
            };
            match began.await {
                Ok((tx, Locked::Ours)) => {
                    return Ok(Fenced {
                        tx,
                        sent,
                        progress: None,
                    });
                }
                Ok((_, Locked::Cancelled)) => return Err(JobError::Cancelled),
                Ok((_, Locked::Lost)) => return Err(JobError::LostLease),
                Err(error) if error.is_passing() => {
                    tracing::debug!(%error, "the database is away: the job waits for it");
                    self.wait_for_database(&mut wait).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A while, longer each time; unless the run is to stop.
    async fn wait_for_database(&self, wait: &mut Duration) -> Result<(), JobError> {
        tokio::select! {
            biased;
            () = self.cancelled().cancelled() => return Err(JobError::interrupted("the database is away")),
            () = tokio::time::sleep(*wait) => {}
        }
        *wait = (*wait * 2).min(AGAIN_MOST);
        Ok(())
    }

    /// Completes a job that has nothing else to write. Jobs that end at the same time share a commit.
    ///
    /// # Errors
    /// [`JobError::LostLease`] when the job is another worker's by now, [`JobError::Cancelled`] when somebody cancelled it.
    pub async fn done(&self) -> Result<Outcome, JobError> {
        self.completions.complete(&self.lease).await?;
        Ok(Outcome::Done(Committed(())))
    }

    /// Completes the job and commits: the domain's writes, the follow-up jobs and the completion in one transaction.
    ///
    /// # Errors
    /// [`JobError::LostLease`], [`JobError::Interrupted`], or what became of a statement: then nothing of it happened.
    pub async fn finish(&self, fenced: Fenced) -> Result<Outcome, JobError> {
        let mut tx = fenced.tx;
        finish::complete(&mut tx, &self.lease, fenced.progress).await?;
        fault::hit(FaultPoint::BeforeFinishCommit);
        self.commit(tx).await?;
        fault::hit(FaultPoint::AfterFinishCommit);
        Ok(Outcome::Done(Committed(())))
    }

    /// Commits a transaction that ends the run. When the answer is lost, it finds out whether it happened.
    async fn commit(&self, tx: Tx) -> Result<(), JobError> {
        let Err(error) = tx.commit().await else { return Ok(()) };
        if error.kind != DbErrorKind::Unavailable || !self.db.is_server() {
            return Err(error.into());
        }
        let mut wait = AGAIN_FIRST;
        loop {
            match finish::is_ended(&self.db, &self.lease).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(JobError::interrupted(error)),
                Err(again) if again.is_passing() => self.wait_for_database(&mut wait).await?,
                Err(again) => return Err(again.into()),
            }
        }
    }

    /// Commits without completing, and renews the lease.
    ///
    /// # Errors
    /// [`JobError::LostLease`], or what became of a statement: then nothing of it happened.
    pub async fn progress(&self, fenced: Fenced) -> Result<(), JobError> {
        let mut tx = fenced.tx;
        finish::renew(&mut tx, &self.lease, fenced.progress).await?;
        tx.commit().await?;
        self.lease.renewed(fenced.sent);
        fault::hit(FaultPoint::AfterProgressCommit);
        Ok(())
    }

    /// Commits, and lets the job wait for `until_after` without a counted attempt.
    ///
    /// # Errors
    /// [`JobError::LostLease`], or what became of a statement: then nothing of it happened.
    pub async fn snooze(&self, fenced: Fenced, until_after: Duration, reason: &str) -> Result<Outcome, JobError> {
        let mut tx = fenced.tx;
        finish::snooze(&mut tx, &self.lease, until_after, reason, fenced.progress).await?;
        self.commit(tx).await?;
        Ok(Outcome::Snoozed(Committed(())))
    }

    /// [`JobContext::snooze`] behind a gate.
    pub(super) async fn held(&self, fenced: Fenced, hold: finish::Hold<'_>) -> Result<Outcome, JobError> {
        let mut tx = fenced.tx;
        finish::hold(&mut tx, &self.lease, hold, fenced.progress).await?;
        self.commit(tx).await?;
        Ok(Outcome::Snoozed(Committed(())))
    }

    pub(super) fn note(&self, gate: &str, passage: Passage) {
        self.passages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(gate.to_owned(), passage);
    }

    pub(super) fn noted(&self, gate: &str) -> Option<Passage> {
        self.passages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(gate)
            .copied()
    }
}
