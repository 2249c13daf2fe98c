//! Jobs one by one at a steady rate, to a worker that has nothing else to do: how long each waits, from just before it is
//! pushed to its first line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::{noop, tables};
use crate::{
    db::{Db, DbError},
    queue::{self, Job, JobContext, JobError, Limit, Outcome, Policy, Registry, Running},
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
    let mut pings = Pings::start(worker, from, rate.settle).await?;
    let waits = pings.measure(from, rate.jobs, rate.per_second).await?;
    pings.shutdown().await;
    tables::each_ran_once(worker, Ping::NAME, FIRST + rate.jobs).await?;
    Ok(waits)
}

/// A worker that serves the pings alone, warm.
pub(in crate::bench) struct Pings {
    running: Running,
    heard: UnboundedReceiver<(u64, Instant)>,
    /// Pushed so far.
    pushed: u64,
}

impl Pings {
    pub(in crate::bench) async fn start(worker: &Db, from: &Db, settle: Duration) -> anyhow::Result<Self> {
        let (began, heard) = unbounded_channel();
        let registry = Arc::new(Registry::new().register::<Ping>());
        let settings = noop::settings(Ping::NAME, 64);
        let running = queue::start(worker, registry, Arc::new(began), Vec::new(), settings).await?;
        tokio::time::sleep(settle).await;
        let mut pings = Self {
            running,
            heard,
            pushed: 0,
        };
        for number in 0..FIRST {
            push(from, number).await?;
        }
        pings.pushed = FIRST;
        pings.starts(0).await?;
        tokio::time::sleep(settle).await;
        Ok(pings)
    }

    /// The waits of so many more.
    pub(in crate::bench) async fn measure(
        &mut self,
        from: &Db,
        jobs: u64,
        per_second: u32,
    ) -> anyhow::Result<Vec<f64>> {
        let first = self.pushed;
        let mut tasks: JoinSet<Result<(u64, Instant), DbError>> = JoinSet::new();
        let mut due = tokio::time::Instant::now();
        for number in first..first + jobs {
            tokio::time::sleep_until(due).await;
            let from = from.clone();
            // Beside each other: a slow commit does not make the next ones late.
            tasks.spawn(async move {
                let pushed = Instant::now();
                push(&from, number).await?;
                Ok((number, pushed))
            });
            due += gap(number, per_second);
        }
        let mut pushed = tasks.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        pushed.sort_unstable();
        self.pushed += jobs;
        let starts = self.starts(first).await?;
        let waits = pushed
            .into_iter()
            .zip(starts)
            .map(|((_, pushed), start)| start.saturating_duration_since(pushed).as_secs_f64() * 1e3);
        Ok(waits.collect())
    }

    /// When each of those from `first` on began.
    async fn starts(&mut self, first: u64) -> anyhow::Result<Vec<Instant>> {
        let mut starts: Vec<Option<Instant>> = vec![None; usize::try_from(self.pushed - first)?];
        for _ in first..self.pushed {
            let said = tokio::time::timeout(LOST, self.heard.recv()).await.ok().flatten();
            let (number, at) = said.context("a job was not started")?;
            let place = number.checked_sub(first).context("a job was run twice")?;
            let start = starts
                .get_mut(usize::try_from(place)?)
                .context("a job that nobody pushed")?;
            ensure!(start.replace(at).is_none(), "job {number} was run twice");
        }
        let starts: Option<Vec<Instant>> = starts.into_iter().collect();
        starts.context("a job was not started")
    }

    pub(in crate::bench) async fn shutdown(self) {
        self.running.shutdown().await;
    }
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
