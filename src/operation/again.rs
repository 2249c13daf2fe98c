//! Jobs whose rows other transactions had when an operation came by: it looks at them again once it has seen all others.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Operation;
use crate::{
    db::{DbError, Tx},
    jobs::registry,
    queue::{
        bulk::{self, Batch, Order},
        select::JobFilter,
    },
};

/// Jobs that are kept for a second look. Those beyond are counted as `busy`.
const MOST: usize = 20_000;
/// Jobs of one look.
const AT_ONCE: usize = 500;
/// When all looks were in vain for so long, what is left counts as `busy`: a worker has a row for milliseconds.
const PATIENCE: TimeDelta = TimeDelta::seconds(30);

/// What is looked at again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Locked {
    jobs: VecDeque<Uuid>,
    in_vain_since: Option<DateTime<Utc>>,
}

impl Locked {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Keeps what a batch came by.
    pub(super) fn keep(&mut self, batch: &mut Batch) {
        let room = MOST.saturating_sub(self.jobs.len());
        let beyond = batch.locked.len().saturating_sub(room);
        self.jobs.extend(batch.locked.drain(..).take(room));
        batch.leave_busy(beyond);
    }
}

/// Looks at the next of them again. Answers also whether that was in vain.
///
/// # Errors
/// When the database refuses it: then nothing of the batch happened.
pub(super) async fn look(
    tx: &mut Tx,
    operation: &Operation,
    order: &Order<'_>,
    locked: &mut Locked,
) -> Result<(Batch, bool), DbError> {
    let some: Vec<Uuid> = locked.jobs.drain(..locked.jobs.len().min(AT_ONCE)).collect();
    if some.is_empty() {
        // Without ids a filter is for all.
        let nothing = Batch {
            position: operation.after(),
            ..Batch::default()
        };
        return Ok((nothing, false));
    }
    let filter = JobFilter {
        ids: some.clone(),
        ..order.filter.clone()
    };
    let order = Order {
        filter: &filter,
        ..*order
    };
    let mut batch = bulk::apply(tx, &registry(), &order, Uuid::nil(), Uuid::max()).await?;
    let not_reached = some.iter().filter(|id| **id > batch.position);
    let in_vain = batch.locked.len() == some.len();
    locked.jobs.extend(not_reached);
    locked.keep(&mut batch);
    let now = tx.now().await?;
    let since = locked.in_vain_since.filter(|_| in_vain).unwrap_or(now);
    locked.in_vain_since = in_vain.then_some(since);
    if since + PATIENCE <= now {
        batch.leave_busy(locked.jobs.len());
        locked.jobs.clear();
    }
    // The walk stays at its end.
    batch.position = operation.after();
    Ok((batch, in_vain))
}
