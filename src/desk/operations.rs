//! What is done to many jobs or sessions at once.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Desk, Trouble, pages::whole};
use crate::{
    operate::many::{self, Preview},
    operation::{self, Operation, Task},
    queue::{
        bulk::Change,
        inspect::{JobFilter, JobRow},
    },
    store::inspect::sessions::{SessionFilter, SessionLine},
};

/// How often the API is asked how far an operation is.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
struct Stopped {
    stopped: bool,
}

#[derive(Deserialize)]
struct CalledFor {
    operation: Uuid,
}

impl Desk {
    /// The latest operations.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn operations(&self, most: u32) -> Result<Vec<Operation>, Trouble> {
        match self {
            Self::Database(here) => Ok(operation::list(&here.db, most).await?),
            Self::Api(api) => whole(api, &["operations"], &[("limit", most.to_string())]).await,
        }
    }

    /// One operation.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn operation(&self, id: Uuid) -> Result<Option<Operation>, Trouble> {
        match self {
            Self::Database(here) => Ok(operation::load(&here.db, id).await?),
            Self::Api(api) => super::known(
                api.get(&["operations", &id.to_string()], &[]).await,
                "unknown_operation",
            ),
        }
    }

    /// Ends an operation where it is. Answers whether it ran; `None`: there is none.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn stop_operation(&self, id: Uuid) -> Result<Option<bool>, Trouble> {
        match self {
            Self::Database(here) => {
                if operation::load(&here.db, id).await?.is_none() {
                    return Ok(None);
                }
                let mut tx = here.db.begin().await?;
                let stopped = operation::stop(&mut tx, id, &here.actor).await?;
                tx.commit().await?;
                Ok(Some(stopped))
            }
            Self::Api(api) => {
                let stopped = api.post(&["operations", &id.to_string(), "stop"], &json!({})).await;
                let stopped: Option<Stopped> = super::known(stopped, "unknown_operation")?;
                Ok(stopped.map(|stopped| stopped.stopped))
            }
        }
    }

    /// How many jobs a task is for as it is now, and some of them. What is given back is not shown.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn preview_jobs(&self, task: &Task) -> Result<Preview<JobRow>, Trouble> {
        match (self, task) {
            (Self::Database(here), _) => Ok(many::jobs(&here.db, task).await?),
            // The API counts when it begins; until then as many can come back as were given up.
            (Self::Api(_), Task::Discarded { operation }) => Ok(Preview {
                matched: self.operation(*operation).await?.map_or(0, |operation| operation.done),
                acted: false,
                sample: Vec::new(),
            }),
            (Self::Api(api), _) => Ok(api.post(&["operations", task.verb()], &body(task, None, false)).await?),
        }
    }

    /// How many sessions would be judged again, and some of them.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn preview_sessions(&self, filter: &SessionFilter) -> Result<Preview<SessionLine>, Trouble> {
        match self {
            Self::Database(here) => Ok(many::sessions(&here.db, filter).await?),
            Self::Api(api) => {
                let task = Task::Sessions { filter: filter.clone() };
                Ok(api
                    .post(&["operations", task.verb()], &body(&task, None, false))
                    .await?)
            }
        }
    }

    /// Calls for it; answers its id. `matched` is what was counted before.
    ///
    /// # Errors
    /// When nobody answers, or it does not fit the state of things.
    pub async fn begin(&self, task: &Task, reason: Option<&str>, matched: u64) -> Result<Uuid, Trouble> {
        match (self, task) {
            (Self::Database(here), _) => {
                let mut tx = here.db.begin().await?;
                let id = operation::begin(&mut tx, task, &here.actor, reason, matched).await?;
                tx.commit().await?;
                Ok(id)
            }
            (Self::Api(api), Task::Discarded { operation }) => {
                let path = ["operations", &operation.to_string(), "undo"];
                Ok(api.post::<CalledFor>(&path, &json!({})).await?.operation)
            }
            (Self::Api(api), _) => {
                let path = ["operations", task.verb()];
                Ok(api.post::<CalledFor>(&path, &body(task, reason, true)).await?.operation)
            }
        }
    }

    /// Brings an operation on: a batch of it at the database, which workers do as well; at an API the workers do it, and this is
    /// a look. `None`: it has ended, else how long to rest.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn advance(&self, id: Uuid) -> Result<Option<Duration>, Trouble> {
        match self {
            Self::Database(here) => {
                let began = Instant::now();
                let mut tx = here.db.begin().await?;
                let step = operation::step(&mut tx, id).await?;
                tx.commit().await?;
                Ok(operation::pause_after(&here.db, step, began.elapsed()))
            }
            Self::Api(_) => {
                let operation = self.operation(id).await?;
                let runs = operation.is_some_and(|operation| operation.state == "running");
                Ok(runs.then_some(LOOK))
            }
        }
    }
}

/// What the API is told of a task: what to do, and to which. What was not asked for is left out.
fn body(task: &Task, reason: Option<&str>, act: bool) -> Value {
    let mut body = match task {
        Task::Jobs { change, filter } => {
            let mut body = json!({ "filter": jobs_where(filter) });
            match change {
                Change::Reprioritise { priority } => body["priority"] = json!(priority),
                Change::Move { run_at, partition } => {
                    body["to"] = given([("run_at", json!(run_at)), ("partition", json!(partition))]);
                }
                Change::Retry | Change::Cancel | Change::Discard | Change::Delete => {}
            }
            body
        }
        Task::Sessions { filter } => json!({ "filter": sessions_where(filter) }),
        Task::Discarded { .. } => json!({}),
    };
    body["act"] = json!(act);
    if let Some(reason) = reason {
        body["reason"] = json!(reason);
    }
    body
}

/// Every condition is sent on: one that the API does not know it refuses, instead of acting on more than was meant.
fn jobs_where(filter: &JobFilter) -> Value {
    let JobFilter {
        queue,
        state,
        partition,
        key_contains,
        error_contains,
        arg,
        created_since,
        created_until,
        attempts,
        ids,
    } = filter;
    given([
        ("queue", json!(queue)),
        ("state", json!(state)),
        ("partition", json!(partition)),
        ("key", json!(key_contains)),
        ("error", json!(error_contains)),
        ("arg", json!(arg)),
        ("since", json!(created_since)),
        ("until", json!(created_until)),
        ("attempts", json!(attempts)),
        ("ids", json!(ids)),
    ])
}

fn sessions_where(filter: &SessionFilter) -> Value {
    let SessionFilter {
        source,
        session_id,
        statuses,
        intent,
        since,
        until,
        state,
        id_contains,
        // Of a page, not of what is done.
        limit: _,
    } = filter;
    given([
        ("source", json!(source)),
        ("session_id", json!(session_id)),
        ("status", json!(statuses)),
        ("intent", json!(intent)),
        ("since", json!(since)),
        ("until", json!(until)),
        ("state", json!(state)),
        ("id_contains", json!(id_contains)),
    ])
}

/// Without what says nothing.
fn given<const N: usize>(members: [(&str, Value); N]) -> Value {
    let said = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    let members = members.into_iter().filter(|(_, value)| said(value));
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect())
}
