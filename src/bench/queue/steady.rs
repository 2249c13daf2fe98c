//! Jobs one by one at a steady rate, to a worker that has nothing else to do: how long each waits, from just before it is
//! pushed to its first line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::{noop, tables};
use crate::{
    db::{Db, DbError},
    queue::{self, Job, JobContext, JobError, Limit, Outcome, Policy, Registry},
};

/// A job that was not started for so long is lost.
const LOST: Duration = Duration::from_secs(30);
/// Jobs that are not measured: they fill caches and open connections.
const FIRST: u64 = 10;

/// How many and how fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) jobs: u64,
    pub(super) per_second: u32,
    /// How long a worker is given to come up and to listen.
    pub(super) settle: Duration,
}

/// Says when it began.
#[derive(Debug, Serialize, Deserialize)]
struct Ping {
    number: u64,
}

impl Job for Ping {
    type Env = UnboundedSender<(u64, Instant)>;
    const NAME: &'static str = "bench_ping";
    const POLICY: Policy = Policy::new().limit(Limit::none());

    fn unique_key(&self) -> Option<String> {
        None
    }

    async fn run(&self, ctx: &JobContext, began: &Self::Env) -> Result<Outcome, JobError> {
        // Nobody listens any more when the bench was given up.
        let _ = began.send((self.number, Instant::now()));
        ctx.done().await
    }
}

/// The waits in milliseconds, in the order of the pushes, of jobs pushed `from` there: the worker's own process, or connections
/// that it knows nothing of.
pub(super) async fn run(worker: &Db, from: &Db, rate: Rate) -> anyhow::Result<Vec<f64>> {
    tables::clear(worker).await?;
    tables::tidy(worker).await?;
    let (began, mut heard) = unbounded_channel();
    let registry = Arc::new(Registry::new().register::<Ping>());
    let settings = noop::settings(Ping::NAME, 64);
    let running = queue::start(worker, registry, Arc::new(began), Vec::new(), settings).await?;
    tokio::time::sleep(rate.settle).await;
    for number in 0..FIRST {
        push(from, number).await?;
    }
    tokio::time::sleep(rate.settle).await;

    let mut tasks: JoinSet<Result<(u64, Instant), DbError>> = JoinSet::new();
    let mut due = tokio::time::Instant::now();
    for number in FIRST..FIRST + rate.jobs {
        tokio::time::sleep_until(due).await;
        let from = from.clone();
        // Beside each other: a slow commit does not make the next ones late.
        tasks.spawn(async move {
            let pushed = Instant::now();
            push(&from, number).await?;
            Ok((number, pushed))
        });
        due += gap(number, rate.per_second);
    }
    let mut pushed = tasks.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    pushed.sort_unstable();
    let all = usize::try_from(FIRST + rate.jobs)?;
    let mut starts: Vec<Option<Instant>> = vec![None; all];
    for _ in 0..all {
        let said = tokio::time::timeout(LOST, heard.recv()).await.ok().flatten();
        let (number, at) = said.context("a job was not started")?;
        let start = starts
            .get_mut(usize::try_from(number)?)
            .context("a job that nobody pushed")?;
        ensure!(start.replace(at).is_none(), "job {number} was run twice");
    }
    running.shutdown().await;
    tables::each_ran_once(worker, Ping::NAME, FIRST + rate.jobs).await?;
    let starts = starts.into_iter().skip(usize::try_from(FIRST)?);
    let waits = pushed.into_iter().zip(starts).map(|((_, pushed), start)| {
        let start = start.context("a job was not started")?;
        Ok(start.saturating_duration_since(pushed).as_secs_f64() * 1e3)
    });
    waits.collect()
}

async fn push(db: &Db, number: u64) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    queue::enqueue(&mut tx, &Ping { number }).await?;
    tx.commit().await
}

/// The rate on average, never in step with what polls: half of the time between two, to one and a half times that.
fn gap(number: u64, per_second: u32) -> Duration {
    let tenths = 5 + u32::try_from(number * 37 % 11).unwrap_or_default();
    Duration::from_secs(1) / per_second * tenths / 10
}
