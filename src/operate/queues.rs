//! Queues at a glance, and which there are.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::advice;
use crate::{
    db::{Db, DbError},
    jobs,
    queue::inspect::{self, Later, QueueDepth},
};

/// A queue, and why those of its jobs that wait for a time do so: the first question when it does not move.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Queue)]
pub struct QueueLine {
    /// What it holds.
    #[serde(flatten)]
    pub depth: QueueDepth,
    /// What of it is due later.
    pub later: Vec<Later>,
}

/// All queues that have a job, a limit or a pause, by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn all(db: &Db) -> Result<Vec<QueueLine>, DbError> {
    let depths = inspect::queue_depths(db).await?;
    let mut later = inspect::later(db, &depths).await?;
    let line = |depth: QueueDepth| QueueLine {
        later: later.remove(&depth.queue).unwrap_or_default(),
        depth,
    };
    Ok(depths.into_iter().map(line).collect())
}

/// Refuses a queue that there is not: a pause of a misspelt queue would hold nothing, and nobody would notice.
///
/// # Errors
/// When the database cannot answer; the inner one says which queues there are.
pub async fn check(db: &Db, queue: &str) -> Result<Result<(), String>, DbError> {
    if among(Vec::new(), queue).is_ok() {
        return Ok(Ok(()));
    }
    // Those of another release's jobs.
    let stored = inspect::queue_depths(db).await?.into_iter().map(|depth| depth.queue);
    Ok(among(stored.collect(), queue))
}

/// Refuses a queue that is neither of this release nor among those that are stored.
///
/// # Errors
/// Which queues there are.
pub fn among(stored: Vec<String>, queue: &str) -> Result<(), String> {
    // Also queues that had no job yet: before a maintenance nothing may have run.
    let mut names: BTreeSet<String> = jobs::registry().names().into_iter().map(str::to_owned).collect();
    names.extend(stored);
    if names.contains(queue) {
        return Ok(());
    }
    let known: Vec<String> = names.into_iter().collect();
    Err(format!("there is no queue `{queue}`; {}", advice(queue, &known)))
}
