//! What an operator does to many jobs or sessions at once: shown first, done in the background, resumable, written down, and
//! undone where it was a discard.
//!
//! An operation is a row. Whoever works on it locks that row, does one batch, and writes how far it came in the same
//! transaction; so that a process that dies loses nothing, and two that work on one take turns. What was made after the operation
//! is left alone.

mod again;
mod run;
mod sessions;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::again::Locked;
pub use self::run::{Step, step};
use crate::{
    db::{Db, DbError, Row, Tx},
    jobs::ApplyOperation,
    params,
    queue::{
        self,
        bulk::Change,
        control,
        select::{self, JobFilter},
    },
    store::inspect::sessions::{self as listed, SessionFilter},
};

/// What to do, to what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Task {
    /// Jobs are changed.
    Jobs {
        /// How.
        change: Change,
        /// Which.
        filter: JobFilter,
    },
    /// What an operation discarded is given back.
    Discarded {
        /// That operation.
        operation: Uuid,
    },
    /// Sessions are judged again.
    Sessions {
        /// Which.
        filter: SessionFilter,
    },
}

impl Task {
    /// As operators call it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Jobs { change, .. } => change.name(),
            Self::Discarded { .. } => "restore",
            Self::Sessions { .. } => "reprocess",
        }
    }

    /// How many jobs or sessions it is for, as it is now.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn count(&self, db: &Db) -> Result<u64, DbError> {
        match self {
            Self::Jobs { filter, .. } => select::count(db, filter).await,
            Self::Discarded { operation } => {
                let row = db
                    .fetch_optional(
                        "-- count_discarded\nSELECT count(*) AS n FROM discarded_jobs WHERE operation = $1",
                        &params![*operation],
                    )
                    .await?;
                row.map_or(Ok(0), |row| row.get("n"))
            }
            Self::Sessions { filter } => listed::count(db, filter).await,
        }
    }
}

/// The longest pause between two batches.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long to wait for jobs that other transactions have.
const WAIT: Duration = Duration::from_millis(250);

/// How long to rest after a step that took so long, so that the queue's own work comes first: as long again; in a file, where only
/// one writes at a time, three times as long. `None`: it was the last.
pub fn pause_after(db: &Db, step: Step, took: Duration) -> Option<Duration> {
    if step.is_last() {
        return None;
    }
    let pauses = if db.is_server() { 1 } else { 3 };
    let pause = if step == Step::Waits { WAIT } else { took * pauses };
    Some(pause.min(LONGEST_PAUSE))
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = BulkOperation)]
pub struct Operation {
    /// Which.
    pub id: Uuid,
    /// What it does.
    pub task: Task,
    /// Who called for it.
    pub actor: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `running`, `done`, `stopped`.
    pub state: String,
    /// How many matched when it began.
    pub matched: u64,
    /// How many it has changed.
    pub done: u64,
    /// How many it left alone, by why.
    pub skipped: BTreeMap<String, u64>,
    /// When it was called for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    position: Option<Position>,
    #[serde(skip)]
    locked: Locked,
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Position {
    Job(Uuid),
    Session(crate::domain::session::SessionKey),
}

impl Operation {
    /// What gives back what it took away.
    ///
    /// # Errors
    /// Why it cannot be undone, and what to do.
    pub fn undone_by(&self) -> Result<Task, String> {
        let Self { id, .. } = self;
        let verb = self.task.verb();
        if verb != "discard" {
            return Err(format!("operation {id} is a {verb}: only a discard can be undone"));
        }
        if self.state == "running" {
            return Err(format!(
                "operation {id} still discards: `aftercall operations stop {id}` stops it, then it can be undone"
            ));
        }
        Ok(Task::Discarded { operation: *id })
    }
}

/// Calls for an operation: a worker does it. `matched` is what its preview counted.
///
/// # Errors
/// When the database refuses it.
pub async fn begin(tx: &mut Tx, task: &Task, actor: &str, reason: Option<&str>, matched: u64) -> Result<Uuid, DbError> {
    let id = Uuid::now_v7();
    let now = tx.now().await?;
    let json = serde_json::to_value(task).map_err(|error| DbError::other(error.to_string()))?;
    tx.execute(
        "-- begin_operation
         INSERT INTO operations (id, verb, target, actor, reason, state, matched, created_at)
         VALUES ($1, $2, $3, $4, $5, 'running', $6, $7)",
        &params![id, task.verb(), &json, actor, reason, matched, now],
    )
    .await?;
    queue::enqueue(tx, &ApplyOperation { operation: id }).await?;
    let detail = format!("{json}; matched: {matched}; reason: {}", reason.unwrap_or("none given"));
    control::audit(tx, actor, task.verb(), &id.to_string(), Some(&detail)).await?;
    Ok(id)
}

/// Ends an operation where it is. Answers whether it ran.
///
/// # Errors
/// When the database refuses it.
pub async fn stop(tx: &mut Tx, id: Uuid, actor: &str) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let stopped = tx
        .execute(
            "-- stop_operation\nUPDATE operations SET state = 'stopped', finished_at = $2 WHERE id = $1 AND state = 'running'",
            &params![id, now],
        )
        .await?;
    if stopped == 0 {
        return Ok(false);
    }
    control::audit(tx, actor, "stop_operation", &id.to_string(), None).await?;
    Ok(true)
}

/// The latest operations.
///
/// # Errors
/// When the database cannot answer.
pub async fn list(db: &Db, most: u32) -> Result<Vec<Operation>, DbError> {
    db.fetch_all(
        "-- operations\nSELECT * FROM operations ORDER BY created_at DESC, id DESC LIMIT $1",
        &params![most],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Those that run.
///
/// # Errors
/// When the database cannot answer.
pub async fn running(db: &Db) -> Result<Vec<Uuid>, DbError> {
    db.fetch_all(
        "-- running_operations\nSELECT id FROM operations WHERE state = 'running'",
        &[],
    )
    .await?
    .iter()
    .map(|row| row.get("id"))
    .collect()
}

/// One operation.
///
/// # Errors
/// When the database cannot answer.
pub async fn load(db: &Db, id: Uuid) -> Result<Option<Operation>, DbError> {
    db.fetch_optional("-- operation\nSELECT * FROM operations WHERE id = $1", &params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

fn read(row: &Row) -> Result<Operation, DbError> {
    let json = |name: &'static str| row.get::<serde_json::Value>(name);
    let position: Option<serde_json::Value> = row.get("position")?;
    let locked: Option<serde_json::Value> = row.get("locked")?;
    Ok(Operation {
        id: row.get("id")?,
        task: serde_json::from_value(json("target")?).map_err(|error| row.bad("target", &error.to_string()))?,
        actor: row.get("actor")?,
        reason: row.get("reason")?,
        state: row.get("state")?,
        matched: row.get("matched")?,
        done: row.get("done")?,
        skipped: serde_json::from_value(json("skipped")?).map_err(|error| row.bad("skipped", &error.to_string()))?,
        created_at: row.get("created_at")?,
        finished_at: row.get("finished_at")?,
        position: position
            .map(|position| serde_json::from_value(position).map_err(|error| row.bad("position", &error.to_string())))
            .transpose()?,
        locked: locked
            .map(|locked| serde_json::from_value(locked).map_err(|error| row.bad("locked", &error.to_string())))
            .transpose()?
            .unwrap_or_default(),
    })
}
