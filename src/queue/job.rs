//! The unit of work, what a run of it may end as, and the list of all kinds that a process knows.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};

use super::{context::JobContext, policy::Policy};
use crate::db::{DbError, DbErrorKind, Tx};

/// A kind of work. Its fields are its payload: ids only, since it is stored as JSON.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + Sized + 'static {
    /// What a run may touch.
    type Env: Send + Sync + 'static;

    /// Stored in rows: never rename one, only retire it.
    const NAME: &'static str;
    /// How often, how long, how many at once.
    const POLICY: Policy;

    /// What its limit is counted by, where the policy's limit is per partition.
    fn partition(&self) -> String {
        String::new()
    }

    /// At most one live job of the queue has this key. Free again once the job is completed, cancelled or discarded.
    fn unique_key(&self) -> Option<String>;

    /// The gate of the upstream that it calls first, such as `records:airline`: while that is down, it is not started. A gate
    /// that nobody closed is open.
    fn gate(&self) -> Option<String> {
        None
    }

    /// Does it. May be repeated after a crash at any point: only what [`JobContext::finish`] and [`JobContext::progress`]
    /// committed has happened.
    fn run(&self, ctx: &JobContext, env: &Self::Env) -> impl Future<Output = Result<Outcome, JobError>> + Send;

    /// Runs in the transaction that discards the job, so that the thing it worked for ends with the reason.
    fn on_discard(&self, tx: &mut Tx, reason: &str) -> impl Future<Output = Result<(), DbError>> + Send {
        let _ = (tx, reason);
        async { Ok(()) }
    }

    /// Runs in the transaction that brings an ended job back to life: what it worked for has ended with it. Answers whether it
    /// called for the work in another way, so that the job itself stays as it is.
    fn on_revive(&self, tx: &mut Tx) -> impl Future<Output = Result<bool, DbError>> + Send {
        let _ = tx;
        async { Ok(false) }
    }
}

/// Proof that the run's end is committed: only [`JobContext::finish`], [`JobContext::done`] and [`JobContext::snooze`] make
/// one.
#[derive(Debug, PartialEq, Eq)]
pub struct Committed(pub(super) ());

/// How a run ended well.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The job is completed.
    Done(Committed),
    /// The job waits, without a counted attempt.
    Snoozed(Committed),
}

/// How a run ended otherwise. The last five are control flow, not failures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// It may work later: stored backoff, until the attempts are used up.
    #[error("{error}")]
    Retry {
        /// What happened.
        error: String,
        /// Not before this, when the other side said so.
        after: Option<Duration>,
    },
    /// It will not work: discarded at once.
    #[error("{error}")]
    Fail {
        /// What happened.
        error: String,
    },
    /// Somebody else is to blame: wait, without a counted attempt.
    #[error("waits: {reason}")]
    Snooze {
        /// For how long.
        after: Duration,
        /// Why, for people.
        reason: String,
    },
    /// It was uncertain whether the job is still ours, or whether its end was written: it goes back to the queue if it is,
    /// without a counted attempt.
    #[error("interrupted: {why}")]
    Interrupted {
        /// What happened.
        why: String,
    },
    /// The job was given to another worker: nothing of this run counts.
    #[error("the lease was lost")]
    LostLease,
    /// Somebody cancelled the job.
    #[error("cancelled")]
    Cancelled,
    /// This process stops: the job goes back to the queue.
    #[error("the worker is shutting down")]
    ShuttingDown,
}

impl JobError {
    /// It may work later.
    pub fn retry(error: impl fmt::Display) -> Self {
        Self::Retry {
            error: error.to_string(),
            after: None,
        }
    }

    /// It may work later, but not before `after`.
    pub fn retry_after(error: impl fmt::Display, after: Duration) -> Self {
        Self::Retry {
            error: error.to_string(),
            after: Some(after),
        }
    }

    /// It will not work.
    pub fn fail(error: impl fmt::Display) -> Self {
        Self::Fail {
            error: error.to_string(),
        }
    }

    /// Back to the queue, without a counted attempt.
    pub fn interrupted(why: impl fmt::Display) -> Self {
        Self::Interrupted { why: why.to_string() }
    }

    /// Wait, without a counted attempt.
    pub fn snooze(after: Duration, reason: impl fmt::Display) -> Self {
        Self::Snooze {
            after,
            reason: reason.to_string(),
        }
    }
}

/// How long a job waits that a statement of its own failed because the database was away.
const DATABASE_AWAY: Duration = Duration::from_secs(1);

/// What a `?` on a statement means: while the database is away the job waits without a counted attempt, and what the database
/// refuses, or has no time or room for, may work later.
impl From<DbError> for JobError {
    fn from(error: DbError) -> Self {
        if error.kind == DbErrorKind::Unavailable {
            Self::snooze(DATABASE_AWAY, format!("the database: {error}"))
        } else {
            Self::retry(error)
        }
    }
}

/// Every other `?` in a job says whether it may work later.
pub trait OrRetry<T> {
    /// It may work later.
    ///
    /// # Errors
    /// [`JobError::Retry`] with the error's words.
    fn or_retry(self) -> Result<T, JobError>;
    /// It will not work.
    ///
    /// # Errors
    /// [`JobError::Fail`] with the error's words.
    fn or_fail(self) -> Result<T, JobError>;
}

impl<T, E: fmt::Display> OrRetry<T> for Result<T, E> {
    fn or_retry(self) -> Result<T, JobError> {
        self.map_err(JobError::retry)
    }

    fn or_fail(self) -> Result<T, JobError> {
        self.map_err(JobError::fail)
    }
}

/// A job kind with its payload type erased: what the engine works with.
pub(super) trait AnyJob<E>: Send + Sync {
    fn policy(&self) -> Policy;
    /// `Err` when the arguments cannot be read.
    fn run<'a>(
        &self,
        args: &str,
        ctx: &'a JobContext,
        env: &'a E,
    ) -> Result<BoxFuture<'a, Result<Outcome, JobError>>, serde_json::Error>;
    fn on_discard<'a>(&self, args: &str, tx: &'a mut Tx, reason: &'a str) -> BoxFuture<'a, Result<(), DbError>>;
    fn on_revive<'a>(&self, args: &str, tx: &'a mut Tx) -> BoxFuture<'a, Result<bool, DbError>>;
}

struct Kind<J>(std::marker::PhantomData<fn() -> J>);

impl<J: Job> AnyJob<J::Env> for Kind<J> {
    fn policy(&self) -> Policy {
        J::POLICY
    }

    fn run<'a>(
        &self,
        args: &str,
        ctx: &'a JobContext,
        env: &'a J::Env,
    ) -> Result<BoxFuture<'a, Result<Outcome, JobError>>, serde_json::Error> {
        let job: J = serde_json::from_str(args)?;
        Ok(async move { job.run(ctx, env).await }.boxed())
    }

    fn on_discard<'a>(&self, args: &str, tx: &'a mut Tx, reason: &'a str) -> BoxFuture<'a, Result<(), DbError>> {
        let job: Result<J, _> = serde_json::from_str(args);
        async move {
            match job {
                Ok(job) => job.on_discard(tx, reason).await,
                // Who it worked for cannot be read either; the job itself still ends with the reason.
                Err(_) => Ok(()),
            }
        }
        .boxed()
    }

    fn on_revive<'a>(&self, args: &str, tx: &'a mut Tx) -> BoxFuture<'a, Result<bool, DbError>> {
        let job: Result<J, _> = serde_json::from_str(args);
        async move {
            match job {
                Ok(job) => job.on_revive(tx).await,
                // It will fail once more, and say why.
                Err(_) => Ok(false),
            }
        }
        .boxed()
    }
}

/// All job kinds that a process knows.
pub struct Registry<E> {
    kinds: BTreeMap<&'static str, Arc<dyn AnyJob<E>>>,
}

impl<E> fmt::Debug for Registry<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kinds.keys()).finish()
    }
}

impl<E> Default for Registry<E> {
    fn default() -> Self {
        Self { kinds: BTreeMap::new() }
    }
}

impl<E: Send + Sync + 'static> Registry<E> {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind.
    #[must_use]
    pub fn register<J: Job<Env = E>>(mut self) -> Self {
        self.kinds
            .insert(J::NAME, Arc::new(Kind::<J>(std::marker::PhantomData)));
        self
    }

    /// The names of all kinds.
    pub fn names(&self) -> Vec<&'static str> {
        self.kinds.keys().copied().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<dyn AnyJob<E>>> {
        self.kinds.get(name)
    }
}
