//! What a process does that is one of a fleet: serve some queues, fire the schedules, or answer questions.
//!
//! All of them write a row of their own in `workers`, keep it fresh, and free the jobs of those that died.

use std::{collections::BTreeMap, sync::Arc};

use super::try_mended;
use crate::{
    config::Config,
    db::Db,
    env::{self, Env},
    jobs,
    queue::{self, Role, Running, WorkerSettings},
};

/// Which queues a process serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// Their names; `None`: all.
    pub queues: Option<Vec<String>>,
    /// How many jobs of a queue run at once in this process; where absent, only the fleet's limits bind.
    pub concurrency: BTreeMap<String, usize>,
}

/// Serves queues, and fires nothing.
///
/// # Errors
/// When the configuration does not hold, there is no such queue, or the database cannot be reached.
pub async fn worker(config: &Config, db: &Db, served: Served) -> anyhow::Result<Running> {
    let env = Arc::new(Env::build(config, db)?);
    try_mended(&env).await?;
    let settings = WorkerSettings {
        role: Role::Worker,
        queues: served.queues,
        concurrency: served.concurrency,
        ..env::worker_settings(config)
    };
    Ok(queue::start(db, Arc::new(jobs::registry()), env, Vec::new(), settings).await?)
}

/// Fires the schedules, and serves no queue. Calls nobody: it needs no secret.
///
/// # Errors
/// When a schedule is none, or the database cannot be reached.
pub async fn scheduler(config: &Config, db: &Db) -> anyhow::Result<Running> {
    let env = Env::without_upstreams(config, db)?;
    let scanned = config.sources.iter().filter(|source| source.enabled);
    let crons = jobs::crons(scanned.map(|source| source.name.clone()), &env.settings.schedule);
    let settings = serving_none(config, Role::Scheduler);
    Ok(queue::start(db, Arc::new(jobs::registry()), Arc::new(env), crons, settings).await?)
}

/// Is there, for a process that answers questions.
///
/// # Errors
/// When the database cannot be reached.
pub async fn api(config: &Config, db: &Db) -> anyhow::Result<Running> {
    let env = Env::without_upstreams(config, db)?;
    let settings = serving_none(config, Role::Api);
    Ok(queue::start(db, Arc::new(jobs::registry()), Arc::new(env), Vec::new(), settings).await?)
}

fn serving_none(config: &Config, role: Role) -> WorkerSettings {
    WorkerSettings {
        role,
        queues: Some(Vec::new()),
        ..env::worker_settings(config)
    }
}
