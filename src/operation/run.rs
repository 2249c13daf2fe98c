//! One batch of an operation, in the caller's transaction.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{
    Operation, Position, Task,
    again::{self, Locked},
    read, sessions,
};
use crate::{
    db::{DbError, Sql, Tx},
    jobs::registry,
    params,
    queue::{
        bulk::{self, Batch, Order},
        control,
    },
};

/// How an operation stands after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More,
    /// All that is left to do is at jobs that other transactions have.
    Waits,
    /// It has ended.
    Ended,
    /// There is no such operation.
    Unknown,
}

impl Step {
    /// Whether nothing is left to do.
    pub fn is_last(self) -> bool {
        matches!(self, Self::Ended | Self::Unknown)
    }
}

/// Does the next batch of an operation and writes how far it came.
///
/// # Errors
/// When the database refuses it: then nothing of the batch happened.
pub async fn step(tx: &mut Tx, id: Uuid) -> Result<Step, DbError> {
    const LOCK: Sql = Sql::each(
        "-- lock_operation\nSELECT * FROM operations WHERE id = $1",
        "-- lock_operation\nSELECT * FROM operations WHERE id = $1 FOR NO KEY UPDATE",
    );
    let Some(row) = tx.fetch_optional(LOCK, &params![id]).await? else {
        return Ok(Step::Unknown);
    };
    let operation = read(&row)?;
    if operation.state != "running" {
        return Ok(Step::Ended);
    }
    let part = match &operation.task {
        Task::Jobs { change, filter } => {
            let reason = discard_reason(&operation);
            let order = Order {
                operation: id,
                change,
                filter,
                reason: &reason,
            };
            // Ids are made by the clock: the operation's own is the end of what was there when it was called for. Jobs that are
            // named were there, whatever the clocks of those say who made them.
            let end = if filter.ids.is_empty() { id } else { Uuid::max() };
            let mut locked = operation.locked.clone();
            let (batch, waits) = if operation.after() < end {
                let mut batch = bulk::apply(tx, &registry(), &order, operation.after(), end).await?;
                locked.keep(&mut batch);
                (batch, false)
            } else {
                again::look(tx, &operation, &order, &mut locked).await?
            };
            let more = batch.position < end || !locked.is_empty();
            Part {
                locked,
                waits,
                ..Part::of_jobs(batch, more)
            }
        }
        Task::Discarded { operation: of } => match bulk::restore(tx, &registry(), *of, operation.after()).await? {
            Some(batch) => Part::of_jobs(batch, true),
            None => Part::default(),
        },
        Task::Sessions { filter } => sessions::reprocess(tx, &operation, filter).await?,
    };
    write(tx, &operation, &part).await?;
    Ok(match part {
        Part { more: false, .. } => Step::Ended,
        Part { waits: true, .. } => Step::Waits,
        Part { .. } => Step::More,
    })
}

fn discard_reason(operation: &Operation) -> String {
    let Operation { actor, reason, id, .. } = operation;
    let reason = reason.as_deref().unwrap_or("no reason given");
    format!("discarded by {actor}: {reason} (operation {id})")
}

/// What one batch did.
#[derive(Default)]
pub(super) struct Part {
    pub(super) changed: u64,
    pub(super) skipped: BTreeMap<String, u64>,
    pub(super) position: Option<Position>,
    pub(super) locked: Locked,
    pub(super) more: bool,
    /// It was for jobs that other transactions have, each of them.
    pub(super) waits: bool,
}

impl Part {
    fn of_jobs(batch: Batch, more: bool) -> Self {
        Self {
            changed: batch.done,
            skipped: batch.skipped,
            position: Some(Position::Job(batch.position)),
            more,
            ..Self::default()
        }
    }
}

impl Operation {
    pub(super) fn after(&self) -> Uuid {
        match self.position {
            Some(Position::Job(id)) => id,
            _ => Uuid::nil(),
        }
    }
}

async fn write(tx: &mut Tx, operation: &Operation, part: &Part) -> Result<(), DbError> {
    let mut skipped = operation.skipped.clone();
    for (why, count) in &part.skipped {
        *skipped.entry(why.clone()).or_default() += count;
    }
    let json = |value: serde_json::Result<serde_json::Value>| value.map_err(|error| DbError::other(error.to_string()));
    let position = part.position.as_ref().or(operation.position.as_ref());
    let total = operation.done + part.changed;
    let now = tx.now().await?;
    tx.execute(
        "-- write_operation
         UPDATE operations SET done = $2, skipped = $3, position = $4, locked = $5, state = $6, finished_at = $7 WHERE id = $1",
        &params![
            operation.id,
            total,
            json(serde_json::to_value(&skipped))?,
            json(serde_json::to_value(position))?,
            json(serde_json::to_value(&part.locked))?,
            if part.more { "running" } else { "done" },
            (!part.more).then_some(now)
        ],
    )
    .await?;
    if !part.more {
        let detail = format!("changed: {total}; left alone: {}", serde_json::json!(skipped));
        let action = format!("{}_done", operation.task.verb());
        control::audit(tx, &operation.actor, &action, &operation.id.to_string(), Some(&detail)).await?;
    }
    Ok(())
}
