//! Very many jobs that were given up are run again by an operation, in the background, while another queue works.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::{Plan, fill::FAILED};
use crate::{
    bench::{
        distribution::Distribution,
        queue::{Database, steady::Pings},
    },
    config::Config,
    db::Db,
    jobs::ApplyOperation,
    operation::{self, Operation, Task},
    pipeline::roles::{self, Served},
    queue::{Job as _, bulk::Change, inspect::JobFilter},
};

/// Goal for the pick-up beside it, by what it is without.
const BESIDE: f64 = 2.0;
/// Jobs of the other queue a second, and at once before the operation is looked at again.
const PER_SECOND: u32 = 100;
const EACH: u64 = 25;
/// An operation that takes longer hangs.
const HANGS: Duration = Duration::from_mins(30);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Retried {
    /// Where.
    pub database: Database,
    /// Jobs that were run again.
    pub jobs: u64,
    /// Of these a second.
    pub per_second: f64,
    /// Milliseconds from push to start of another queue's jobs, before.
    pub idle_ms: Distribution,
    /// The same while it went on.
    pub beside_ms: Distribution,
}

impl Retried {
    /// How many times as long 95 % of the others' jobs waited at most.
    pub fn ratio(&self) -> f64 {
        self.beside_ms.p95 / self.idle_ms.p95
    }

    /// Whether that is within its goal.
    pub fn is_met(&self) -> bool {
        self.ratio() <= BESIDE
    }

    pub(super) fn goal() -> f64 {
        BESIDE
    }
}

/// Runs again what was given up. `db` serves the other queue, `other` the operation.
pub(super) async fn run(db: &Db, other: &Db, database: Database, plan: &Plan) -> anyhow::Result<Retried> {
    let served = Served {
        queues: Some(vec![ApplyOperation::NAME.to_owned()]),
        ..Served::default()
    };
    let worker = roles::worker(&Config::default(), other, served).await?;
    let mut pings = Pings::start(db, db, plan.settle).await?;
    let idle = pings.measure(db, plan.pickups, PER_SECOND).await?;

    let task = Task::Jobs {
        change: Change::Retry,
        filter: JobFilter {
            queue: Some(FAILED.to_owned()),
            state: Some("discarded".to_owned()),
            ..JobFilter::default()
        },
    };
    let mut tx = db.begin().await?;
    let id = operation::begin(&mut tx, &task, "the bench", None, plan.retry).await?;
    tx.commit().await?;
    let began = Instant::now();
    let mut beside = Vec::new();
    let done: Operation = loop {
        ensure!(began.elapsed() < HANGS, "the operation {id} does not end");
        let waits = pings.measure(db, EACH, PER_SECOND).await?;
        let now = operation::load(db, id).await?.context("the operation is gone")?;
        beside.extend(waits);
        if now.finished_at.is_some() {
            break now;
        }
    };
    pings.shutdown().await;
    worker.shutdown().await;
    ensure!(
        done.done == plan.retry && done.skipped.is_empty(),
        "of {} jobs {} were run again, and left alone: {:?}",
        plan.retry,
        done.done,
        done.skipped
    );
    let took = done.finished_at.context("it has ended")? - done.created_at;
    Ok(Retried {
        database,
        jobs: done.done,
        per_second: done.done as f64 / took.as_seconds_f64(),
        idle_ms: Distribution::of(idle),
        beside_ms: Distribution::of(beside),
    })
}
