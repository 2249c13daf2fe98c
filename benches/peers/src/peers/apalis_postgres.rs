//! apalis on PostgreSQL.

use std::{ops::Range, sync::Arc, time::Duration};

use ::apalis_postgres::{Config, PgPool, PostgresStorage, Pubsub, queries};
use apalis::prelude::*;
use apalis_core::backend::ext::poll_strategy::{IntervalStrategy, StreamStrategy};
use async_trait::async_trait;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::oneshot;

use super::{
    BATCHED, CONNECTIONS, Candidate, HEARTBEAT, Kind, MISSED_HEARTBEATS, Noop, ONE_BY_ONE, Peer, QUEUE, Running,
    rearm::Rearm,
};
use crate::{
    cases::Case,
    database::{Database, Server},
    ledger::Ledger,
};

/// Finds what no notification announces: retries, and jobs whose time has come.
const POLL: Duration = Duration::from_secs(1);

pub(super) fn candidates() -> Vec<Candidate> {
    let candidate = |settings, concurrency, backlog, guarantees| Candidate {
        name: "apalis-postgres",
        settings,
        guarantees,
        concurrency,
        backlog,
        warm_up: 0,
        cases: &Case::ALL,
        kind: Kind::ApalisPostgres,
    };
    vec![
        candidate("batch 500, 500 at a time, NOTIFY and 1 s poll", 500, 20_000, BATCHED),
        candidate("batch 100, 100 at a time, NOTIFY and 1 s poll", 100, 20_000, BATCHED),
        candidate("batch 1, 1 at a time, NOTIFY and 1 s poll", 1, 2_000, ONE_BY_ONE),
    ]
}

pub(super) struct ApalisPostgres {
    database: Database,
    workers: PgPool,
    outside: PgPool,
    concurrency: usize,
}

pub(super) async fn open(server: &Server, candidate: &Candidate) -> anyhow::Result<ApalisPostgres> {
    let database = server.create("peer_apalis_postgres").await?;
    let pool = |connections| PgPoolOptions::new().max_connections(connections);
    let workers = pool(CONNECTIONS).connect_with(database.options()).await?;
    PostgresStorage::setup(&workers).await?;
    let outside = pool(1).connect_with(database.options()).await?;
    Ok(ApalisPostgres {
        database,
        workers,
        outside,
        concurrency: usize::try_from(candidate.concurrency)?,
    })
}

async fn handle(job: Noop, ledger: Data<Arc<Ledger>>) {
    ledger.run(job.number).await;
}

impl ApalisPostgres {
    fn storage(&self, pool: &PgPool) -> PostgresStorage<Noop> {
        let config = Config::default()
            .queue(QUEUE)
            // Fetching locks a job already. Locking it again as it starts costs a transaction, and does not ask whose it is.
            .lock_tasks(false)
            .batch_size(self.concurrency)
            .heartbeat_interval(HEARTBEAT)
            .missed_heartbeats(MISSED_HEARTBEATS as usize);
        PostgresStorage::new(pool).with_config(config)
    }
}

#[async_trait]
impl Peer for ApalisPostgres {
    async fn push(&self, numbers: Range<u64>) -> anyhow::Result<()> {
        let mut storage = self.storage(&self.outside);
        storage.push_bulk(super::jobs(numbers)).await?;
        Ok(())
    }

    async fn push_one(&self, number: u64) -> anyhow::Result<()> {
        let job = TaskBuilder::new(serde_json::to_vec(&Noop { number })?).build();
        let mut connection = self.outside.acquire().await?;
        queries::push_tasks(&mut *connection, QUEUE, vec![job]).await?;
        Ok(())
    }

    async fn start(&self, name: &str, ledger: Arc<Ledger>) -> anyhow::Result<Running> {
        let (stop, stopped) = oneshot::channel();
        let storage = self.storage(&self.workers);
        let (pool, concurrency, name) = (self.workers.clone(), self.concurrency, name.to_owned());
        let monitor = Monitor::new()
            .register(move |restarts| {
                let notified = StreamStrategy::new(Pubsub::new(pool.clone(), QUEUE.to_owned()));
                let backend = storage
                    .clone()
                    .poll_with_strategy(Rearm(notified))
                    .poll_with_strategy(Rearm(IntervalStrategy::new(POLL)));
                // A name that was used before would leave the jobs of the worker before it locked for ever.
                WorkerBuilder::new(format!("{name}-{restarts}").as_str())
                    .backend(backend)
                    .data(Arc::clone(&ledger))
                    .catch_panic()
                    .concurrency(concurrency)
                    .parallelize(tokio::spawn)
                    .build(handle)
            })
            .should_restart(|worker, error| super::say_restart(worker.name(), error));
        let task = tokio::spawn(async move {
            let stopped = async {
                // Dropped or told: it ends.
                let _ = stopped.await;
                Ok(())
            };
            Ok(monitor.run_with_signal(stopped).await?)
        });
        Ok(Running { stop, task })
    }

    async fn is_done(&self) -> anyhow::Result<bool> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM apalis.jobs WHERE status <> 'Done')";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.outside).await?)
    }

    async fn remove(self: Box<Self>) -> anyhow::Result<()> {
        self.workers.close().await;
        self.outside.close().await;
        self.database.remove().await
    }
}
