//! No-op jobs through the queue: all written first, then run by this process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::tables::{self, Rows};
use crate::{
    db::Db,
    queue::{self, Job, JobContext, JobError, Limit, Outcome, Policy, Registry, WorkerSettings},
};

/// How a no-op job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As every job with effects: a transaction of its own, begun, fenced, completed, committed.
    Transaction,
    /// One statement with a commit of its own.
    Alone,
    /// One statement for all that end at the same time.
    Together,
}

macro_rules! noop {
    ($($(#[$doc:meta])* $kind:ident = $name:literal: $limit:expr, |$ctx:ident| $end:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Serialize, Deserialize)]
            pub(super) struct $kind {}

            impl Job for $kind {
                /// How many have begun.
                type Env = AtomicU64;
                const NAME: &'static str = $name;
                const POLICY: Policy = Policy::new().limit($limit);

                fn unique_key(&self) -> Option<String> {
                    None
                }

                async fn run(&self, $ctx: &JobContext, begun: &AtomicU64) -> Result<Outcome, JobError> {
                    begun.fetch_add(1, Ordering::Relaxed);
                    $end
                }
            }
        )+

        /// All of them.
        pub(super) fn registry() -> Arc<Registry<AtomicU64>> {
            Arc::new(Registry::new()$(.register::<$kind>())+)
        }
    };
}

noop! {
    /// Ends in a transaction.
    InTransaction = "bench_transaction": Limit::none(), |ctx| ctx.finish(ctx.begin().await?).await;
    /// Has nothing to write.
    Empty = "bench_empty": Limit::none(), |ctx| ctx.done().await;
    /// The same under a limit that never binds.
    Limited = "bench_limited": Limit::queue(10_000), |ctx| ctx.done().await;
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) jobs: u64,
    /// Jobs at once.
    pub(super) at_once: usize,
    pub(super) end: End,
    pub(super) limited: bool,
}

impl Case {
    fn queue(self) -> &'static str {
        match (self.end, self.limited) {
            (End::Transaction, _) => InTransaction::NAME,
            (End::Alone | End::Together, false) => Empty::NAME,
            (End::Alone | End::Together, true) => Limited::NAME,
        }
    }
}

/// How a process works that serves this queue alone.
pub(super) fn settings(queue: &str, at_once: usize) -> WorkerSettings {
    WorkerSettings {
        queues: Some(vec![queue.to_owned()]),
        concurrency: [(queue.to_owned(), at_once)].into(),
        ..WorkerSettings::default()
    }
}

/// What it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    /// Jobs a second, from the first claim to the last end.
    pub(super) per_second: f64,
    /// Statements that this process sent for each job.
    pub(super) statements: f64,
}

/// Runs them all.
pub(super) async fn run(db: &Db, case: Case) -> anyhow::Result<Speed> {
    let queue = case.queue();
    tables::clear(db).await?;
    tables::fill(db, queue, Rows::Waiting, 0, case.jobs).await?;
    tables::tidy(db).await?;
    let begun = Arc::new(AtomicU64::new(0));
    let settings = WorkerSettings {
        each_end_alone: case.end == End::Alone,
        ..settings(queue, case.at_once)
    };
    let before = db.statements();
    let running = queue::start(db, registry(), Arc::clone(&begun), Vec::new(), settings).await?;
    // The database is not asked: that would be one more to share it with.
    while begun.load(Ordering::Relaxed) < case.jobs || !running.is_idle() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let statements = db.statements() - before;
    running.shutdown().await;
    let seconds = tables::each_ran_once(db, queue, case.jobs).await?;
    Ok(Speed {
        per_second: case.jobs as f64 / seconds,
        statements: statements as f64 / case.jobs as f64,
    })
}
