//! No-op jobs through the queue: written at once, run by this process.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    db::{Db, Sql},
    params,
    queue::{self, Job, JobContext, JobError, Limit, Outcome, Policy, Registry, WorkerSettings},
};

/// How a no-op job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// As every job with effects: a transaction of its own, begun, fenced, completed, committed.
    Transaction,
    /// One statement with a commit of its own.
    Alone,
    /// One statement for all that end at the same time.
    Together,
}

macro_rules! noop {
    ($($(#[$doc:meta])* $kind:ident = $name:literal: $limit:expr, $run:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Serialize, Deserialize)]
            struct $kind {}

            impl Job for $kind {
                type Env = ();
                const NAME: &'static str = $name;
                const POLICY: Policy = Policy::new().limit($limit);

                fn unique_key(&self) -> Option<String> {
                    None
                }

                async fn run(&self, ctx: &JobContext, (): &()) -> Result<Outcome, JobError> {
                    let run: fn(&JobContext) -> futures::future::BoxFuture<'_, Result<Outcome, JobError>> = $run;
                    run(ctx).await
                }
            }
        )+

        fn registry() -> Registry<()> {
            Registry::new()$(.register::<$kind>())+
        }
    };
}

noop! {
    /// Ends in a transaction.
    InTransaction = "bench_transaction": Limit::none(), |ctx| Box::pin(async { ctx.finish(ctx.begin().await?).await });
    /// Has nothing to write.
    Empty = "bench_empty": Limit::none(), |ctx| Box::pin(ctx.done());
    /// The same under a limit that never binds.
    Limited = "bench_limited": Limit::queue(100_000), |ctx| Box::pin(ctx.done());
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

/// Runs them; answers jobs a second, from the first claim to the last commit, by the database's clock.
pub(super) async fn run(db: &Db, case: Case) -> anyhow::Result<f64> {
    let queue = case.queue();
    fill(db, queue, case.jobs).await?;
    let settings = WorkerSettings {
        queues: Some(vec![queue.to_owned()]),
        concurrency: [(queue.to_owned(), case.at_once)].into(),
        each_end_alone: case.end == End::Alone,
        ..WorkerSettings::default()
    };
    let running = queue::start(db, Arc::new(registry()), Arc::new(()), Vec::new(), settings).await?;
    let left = "-- noop_left\nSELECT 1 AS yes FROM jobs WHERE limit_key = $1 AND state = 'available' LIMIT 1";
    while db.fetch_optional(left, &params![queue]).await?.is_some() || !running.is_idle() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.shutdown().await;
    let row = db
        .fetch_optional(
            Sql::each(
                "-- noop_time
                 SELECT count(*) AS n, (max(finished_at) - min(started_at)) / 1e6 AS seconds FROM job_attempts WHERE queue = $1",
                "-- noop_time
                 SELECT count(*) AS n, extract(epoch FROM max(finished_at) - min(started_at))::float8 AS seconds
                 FROM job_attempts WHERE queue = $1",
            ),
            &params![queue],
        )
        .await?
        .context("the history gave no row")?;
    let runs: u64 = row.get("n")?;
    ensure!(runs == case.jobs, "{} jobs of {queue} were run {runs} times", case.jobs);
    clear(db).await?;
    Ok(case.jobs as f64 / row.get::<f64>("seconds")?)
}

/// Many jobs in one statement.
async fn fill(db: &Db, queue: &'static str, jobs: u64) -> anyhow::Result<()> {
    const FILL: Sql = Sql::each(
        "-- fill
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $2)
         INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at)
         SELECT format('00000000-0000-7000-8000-%012d', n), $1, $1, '{}', 'available', $3, 8, $3 FROM numbers",
        "-- fill
         INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at)
         SELECT aftercall_uuid(), $1::text, $1::text, '{}', 'available', $3::timestamptz, 8, $3::timestamptz
         FROM generate_series(1, $2)",
    );
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    tx.execute(FILL, &params![queue, jobs, now]).await?;
    tx.commit().await?;
    tidy(db).await
}

/// Every case begins with the tables as new.
async fn clear(db: &Db) -> anyhow::Result<()> {
    const CLEAR: Sql = Sql::each("DELETE FROM jobs", "TRUNCATE jobs, job_attempts");
    const CLEAR_HISTORY: Sql = Sql::each("DELETE FROM job_attempts", "SELECT 1");
    let mut tx = db.begin().await?;
    tx.execute(CLEAR, &[]).await?;
    tx.fetch_all(CLEAR_HISTORY, &[]).await?;
    tx.commit().await?;
    Ok(())
}

/// What the server does by itself sooner or later, now and not in the middle of a measurement.
pub(super) async fn tidy(db: &Db) -> anyhow::Result<()> {
    const TIDY: Sql = Sql::each("-- tidy\nSELECT 1", "-- tidy\nANALYZE jobs");
    if db.is_server() {
        db.write_alone(TIDY, &[]).await?;
    }
    Ok(())
}
