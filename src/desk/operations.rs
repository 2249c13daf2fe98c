//! What is done to many jobs or sessions at once.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Desk, Trouble, pages::whole};
use crate::operation::{self, Operation, Step, Task};

/// How often the API is asked how far an operation is.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
struct Stopped {
    stopped: bool,
}

#[derive(Deserialize)]
struct Looked {
    matched: u64,
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

    /// How many jobs or sessions it is for, as it is now.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn count(&self, task: &Task) -> Result<u64, Trouble> {
        match (self, task) {
            (Self::Database(here), _) => Ok(task.count(&here.db).await?),
            // Counted when it begins; until then what was discarded is as many as can come back.
            (Self::Api(_), Task::Discarded { operation }) => {
                Ok(self.operation(*operation).await?.map_or(0, |operation| operation.done))
            }
            (Self::Api(api), _) => {
                let looked: Looked = api.post(&["operations", task.verb()], &body(task, None, false)).await?;
                Ok(looked.matched)
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
                Ok((step == Step::More).then(|| operation::pause_after(began.elapsed())))
            }
            Self::Api(_) => {
                let operation = self.operation(id).await?;
                let runs = operation.is_some_and(|operation| operation.state == "running");
                Ok(runs.then_some(LOOK))
            }
        }
    }
}

/// What the API is told of a task: its filter, and what the verb needs beside it.
fn body(task: &Task, reason: Option<&str>, act: bool) -> Value {
    let (filter, mut body) = match task {
        Task::Jobs { change, filter } => (json!(filter), json!(change)),
        Task::Sessions { filter } => (json!(filter), json!({})),
        Task::Discarded { .. } => (json!({}), json!({})),
    };
    if let Some(body) = body.as_object_mut() {
        // It stands in the path.
        body.remove("verb");
        body.insert("filter".to_owned(), filter);
        body.insert("act".to_owned(), act.into());
        body.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
    }
    body
}
