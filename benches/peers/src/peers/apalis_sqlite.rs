//! apalis on a SQLite file.

use std::{
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use ::apalis_sqlite::{Config, SqlitePool, SqliteStorage, queries};
use apalis::prelude::*;
use apalis_core::backend::ext::poll_strategy::{IntervalStrategy, PollSnapshot, PollStrategy};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteOperation, SqlitePoolOptions};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use super::{
    BATCHED, CONNECTIONS, Candidate, HEARTBEAT, Kind, MISSED_HEARTBEATS, Noop, ONE_BY_ONE, Peer, QUEUE, Running,
    rearm::Rearm,
};
use crate::{cases::Case, database::File, ledger::Ledger};

/// As often as aftercall looks whether another process wrote.
const POLL: Duration = Duration::from_millis(100);
/// Done jobs keep the name of their worker, and as it is set up SQLite acknowledges a batch by going through all of them: the
/// time for a job grows with the jobs done before. Once statistics know the worker's name, it goes by the jobs' keys.
const WARM_UP: u64 = 1_000;

/// Who pushes jobs one by one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pusher {
    /// Another pool, as another process would: the worker finds the job at its next poll.
    Outside,
    /// The worker's own pool: SQLite's update hook tells the worker at once. It hears connections of its own process only.
    Hooked,
}

pub(super) fn candidates() -> Vec<Candidate> {
    let candidate = |settings, concurrency, backlog, guarantees| Candidate {
        name: "apalis-sqlite",
        settings,
        guarantees,
        concurrency,
        backlog,
        warm_up: WARM_UP,
        cases: &Case::ALL,
        kind: Kind::ApalisSqlite(Pusher::Outside),
    };
    vec![
        candidate(
            "batch 500, 500 at a time, 100 ms poll, ANALYZE once 1000 jobs are done",
            500,
            20_000,
            BATCHED,
        ),
        candidate(
            "batch 100, 100 at a time, 100 ms poll, ANALYZE once 1000 jobs are done",
            100,
            20_000,
            BATCHED,
        ),
        candidate(
            "batch 1, 1 at a time, 100 ms poll, ANALYZE once 1000 jobs are done",
            1,
            2_000,
            ONE_BY_ONE,
        ),
        Candidate {
            warm_up: 0,
            cases: &[Case::Throughput],
            ..candidate(
                "batch 500, 500 at a time, 100 ms poll, as it is set up",
                500,
                5_000,
                BATCHED,
            )
        },
        Candidate {
            warm_up: 0,
            cases: &[Case::Pickup],
            kind: Kind::ApalisSqlite(Pusher::Hooked),
            ..candidate("batch 1, 1 at a time, update hook", 1, 2_000, ONE_BY_ONE)
        },
    ]
}

pub(super) struct ApalisSqlite {
    file: File,
    workers: SqlitePool,
    pusher: SqlitePool,
    hook: Hook,
    concurrency: usize,
}

pub(super) async fn open(file: &Path, candidate: &Candidate, pusher: Pusher) -> anyhow::Result<ApalisSqlite> {
    let file = File::at(file)?;
    let (hook, inserted) = Hook::new();
    let workers = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .after_connect(move |connection, _| {
            let inserted = inserted.clone();
            Box::pin(async move {
                let mut handle = connection.lock_handle().await?;
                handle.set_update_hook(move |change| {
                    if change.operation == SqliteOperation::Insert && change.table == "Jobs" {
                        // Nobody waits any more when the worker has stopped.
                        let _ = inserted.send(());
                    }
                });
                Ok(())
            })
        })
        .connect_with(file.options())
        .await?;
    // Not `SqliteStorage::setup`: it turns `synchronous` off, on one connection of the pool.
    SqliteStorage::migrations().run(&workers).await?;
    let outside = SqlitePoolOptions::new().max_connections(1).connect_with(file.options());
    Ok(ApalisSqlite {
        pusher: match pusher {
            Pusher::Outside => outside.await?,
            Pusher::Hooked => workers.clone(),
        },
        file,
        workers,
        hook,
        concurrency: usize::try_from(candidate.concurrency)?,
    })
}

async fn handle(job: Noop, ledger: Data<Arc<Ledger>>) {
    ledger.run(job.number).await;
}

impl ApalisSqlite {
    fn storage(&self, pool: &SqlitePool) -> SqliteStorage<Noop> {
        let config = Config::default()
            .queue(QUEUE)
            // Fetching locks a job already. Locking it again as it starts costs a transaction, and does not ask whose it is.
            .lock_tasks(false)
            .batch_size(self.concurrency)
            .heartbeat_interval(HEARTBEAT)
            .missed_heartbeats(MISSED_HEARTBEATS as usize);
        SqliteStorage::new(pool).with_config(config)
    }
}

#[async_trait]
impl Peer for ApalisSqlite {
    async fn push(&self, numbers: Range<u64>) -> anyhow::Result<()> {
        let mut storage = self.storage(&self.pusher);
        storage.push_bulk(super::jobs(numbers)).await?;
        Ok(())
    }

    async fn push_one(&self, number: u64) -> anyhow::Result<()> {
        let job = TaskBuilder::new(serde_json::to_vec(&Noop { number })?).build();
        let mut connection = self.pusher.acquire().await?;
        queries::push_tasks(&mut *connection, QUEUE, &[job]).await?;
        Ok(())
    }

    async fn start(&self, name: &str, ledger: Arc<Ledger>) -> anyhow::Result<Running> {
        let (stop, stopped) = oneshot::channel();
        let storage = self.storage(&self.workers);
        let (hook, concurrency, name) = (self.hook.clone(), self.concurrency, name.to_owned());
        let monitor = Monitor::new()
            .register(move |restarts| {
                let backend = storage
                    .clone()
                    .poll_with_strategy(Rearm(hook.clone()))
                    .poll_with_strategy(Rearm(IntervalStrategy::new(POLL)));
                // A name that is in use makes the worker end at once.
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
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM Jobs WHERE status <> 'Done')";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pusher).await?)
    }

    async fn analyze(&self) -> anyhow::Result<()> {
        sqlx::query("ANALYZE").execute(&self.pusher).await?;
        Ok(())
    }

    async fn remove(self: Box<Self>) -> anyhow::Result<()> {
        self.pusher.close().await;
        self.workers.close().await;
        self.file.remove()
    }
}

/// Fires when one of the pool's own connections inserted a job: what `SqliteStorage::connect_with_callback` does, which leaves
/// no way to say how its connections are opened.
#[derive(Clone)]
struct Hook(Arc<Mutex<UnboundedReceiver<()>>>);

impl Hook {
    fn new() -> (Self, UnboundedSender<()>) {
        let (inserted, heard) = unbounded_channel();
        (Self(Arc::new(Mutex::new(heard))), inserted)
    }
}

impl PollStrategy for Hook {
    fn poll_drive(&mut self, cx: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_recv(cx)
    }
}
