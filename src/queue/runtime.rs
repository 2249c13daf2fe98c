//! Starts the workers of this process and ends them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{cron::Cron, job::Registry, limits::LimitSetting};
use crate::db::{Db, DbError};

/// How a process works.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// How long a claim holds without a heartbeat.
    pub lease: Duration,
    /// How often all leases of this process are renewed, and dead workers looked for.
    pub heartbeat: Duration,
    /// How often to look for changes by other processes.
    pub poll: Duration,
    /// How long running jobs may go on after [`Running::shutdown`].
    pub grace: Duration,
    /// The queues to serve; `None`: all that the registry knows.
    pub queues: Option<Vec<String>>,
    /// How many jobs of a queue run at once in this process; where absent, only the fleet's limits bind.
    pub concurrency: BTreeMap<String, usize>,
    /// What holds instead of the policies' limits, by queue.
    pub limits: BTreeMap<String, LimitSetting>,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(12),
            heartbeat: Duration::from_secs(3),
            poll: Duration::from_millis(250),
            grace: Duration::from_secs(30),
            queues: None,
            concurrency: BTreeMap::new(),
            limits: BTreeMap::new(),
        }
    }
}

/// The workers of this process.
#[derive(Debug)]
pub struct Running {
    worker: Arc<str>,
}

impl Running {
    /// The id of this process as a worker: fresh at every start.
    pub fn worker_id(&self) -> &str {
        &self.worker
    }

    /// Whether nothing runs here.
    pub fn is_idle(&self) -> bool {
        true
    }

    /// Claims no more, lets running jobs go on for the grace, hands back what is left.
    #[expect(clippy::unused_async, reason = "it waits")]
    pub async fn shutdown(self) {}

    /// Ends at once as if the process was killed: nothing is handed back. For tests.
    #[expect(clippy::unused_async, reason = "it waits")]
    pub async fn abort(self) {}
}

/// Starts this process's workers.
///
/// # Errors
/// When the database refuses the worker's row or the limits.
#[expect(clippy::unused_async, reason = "it writes the worker's row")]
pub async fn start<E: Send + Sync + 'static>(
    db: &Db,
    registry: Arc<Registry<E>>,
    env: Arc<E>,
    crons: Vec<Cron>,
    settings: WorkerSettings,
) -> Result<Running, DbError> {
    let _ = (db, registry, env, crons, settings);
    Err(DbError::other("not yet"))
}
