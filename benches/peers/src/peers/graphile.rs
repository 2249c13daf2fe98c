//! graphile_worker on PostgreSQL.

use std::{ops::Range, sync::Arc, time::Duration};

use ::graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, WorkerContext, WorkerOptions, WorkerUtils,
};
use async_trait::async_trait;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::sync::oneshot;

use super::{CONNECTIONS, Candidate, HEARTBEAT, Kind, MISSED_HEARTBEATS, Noop, Peer, Running};
use crate::{
    cases::Case,
    database::{Database, Server},
    ledger::Ledger,
};

/// What it promises when every completion is written by itself.
const DIRECT: &str = "at least once; two workers on slow jobs ran none twice";
const SCHEMA: &str = "graphile_worker";

#[derive(Clone, Copy)]
pub(super) struct Settings {
    concurrency: usize,
    poll: Duration,
    /// Jobs that are fetched at once, and how long completions are gathered.
    local_queue: Option<(usize, Duration)>,
}

pub(super) fn candidates() -> Vec<Candidate> {
    let candidate = |text, backlog, cases, settings: Settings, guarantees| Candidate {
        name: "graphile_worker",
        settings: text,
        guarantees,
        concurrency: settings.concurrency as u64,
        backlog,
        warm_up: 0,
        cases,
        kind: Kind::Graphile(settings),
    };
    let second = Duration::from_secs(1);
    let local = Settings {
        concurrency: 10,
        poll: second,
        local_queue: Some((500, Duration::from_millis(5))),
    };
    let direct = |poll| Settings {
        concurrency: 10,
        poll,
        local_queue: None,
    };
    vec![
        candidate(
            "local queue 500, completions gathered for 5 ms, 10 at a time, NOTIFY and 1 s poll",
            20_000,
            &Case::ALL,
            local,
            "at least once; what ended but is not written yet runs again when the worker dies; two workers on slow jobs ran \
             none twice, but one of them had fetched them all",
        ),
        // Without a local queue one signal starts one job in each slot, and a backlog gives no signal but the poll.
        candidate(
            "no local queue, 10 at a time, NOTIFY and 1 ms poll",
            2_000,
            &[Case::Throughput],
            direct(Duration::from_millis(1)),
            DIRECT,
        ),
        candidate(
            "no local queue, 10 at a time, NOTIFY and 1 s poll",
            2_000,
            &[Case::Pickup, Case::Overlap],
            direct(second),
            DIRECT,
        ),
    ]
}

pub(super) struct Graphile {
    database: Database,
    workers: PgPool,
    outside: PgPool,
    utils: WorkerUtils,
    settings: Settings,
}

pub(super) async fn open(server: &Server, settings: Settings) -> anyhow::Result<Graphile> {
    let database = server.create("peer_graphile_worker").await?;
    let pool = |connections| PgPoolOptions::new().max_connections(connections);
    let workers = pool(CONNECTIONS).connect_with(database.options()).await?;
    let outside = pool(1).connect_with(database.options()).await?;
    let utils = WorkerUtils::new(outside.clone(), SCHEMA);
    utils.migrate().await?;
    Ok(Graphile {
        database,
        workers,
        outside,
        utils,
        settings,
    })
}

#[derive(Debug, Clone)]
struct Heard(Arc<Ledger>);

impl TaskHandler for Noop {
    const IDENTIFIER: &'static str = super::QUEUE;

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let Some(Heard(ledger)) = context.get_ext() else {
            return Err("the worker was built without a ledger");
        };
        ledger.run(self.number).await;
        Ok(())
    }
}

#[async_trait]
impl Peer for Graphile {
    async fn push(&self, numbers: Range<u64>) -> anyhow::Result<()> {
        let spec = JobSpec::default();
        let jobs: Vec<_> = super::jobs(numbers).into_iter().map(|job| (job, &spec)).collect();
        self.utils.add_jobs(&jobs).await?;
        Ok(())
    }

    async fn push_one(&self, number: u64) -> anyhow::Result<()> {
        self.utils.add_job(Noop { number }, JobSpec::default()).await?;
        Ok(())
    }

    async fn start(&self, _: &str, ledger: Arc<Ledger>) -> anyhow::Result<Running> {
        let (stop, stopped) = oneshot::channel();
        let mut options = WorkerOptions::default()
            .pg_pool(self.workers.clone())
            .schema(SCHEMA)
            .concurrency(self.settings.concurrency)
            .poll_interval(self.settings.poll)
            // Off by default: a dead worker's jobs would wait for hours.
            .heartbeat_interval(HEARTBEAT)
            .sweep_interval(HEARTBEAT)
            .sweep_threshold(HEARTBEAT * MISSED_HEARTBEATS)
            .listen_os_shutdown_signals(false)
            .add_extension(Heard(ledger))
            .define_job::<Noop>();
        if let Some((size, delay)) = self.settings.local_queue {
            options = options
                .local_queue(LocalQueueConfig::default().with_size(size))
                .complete_job_batch_delay(delay);
        }
        let worker = options.init().await?;
        let task = tokio::spawn(async move {
            let running = worker.run();
            tokio::pin!(running);
            tokio::select! {
                ended = &mut running => return Ok(ended?),
                _ = stopped => worker.request_shutdown(),
            }
            Ok(running.await?)
        });
        Ok(Running { stop, task })
    }

    async fn is_done(&self) -> anyhow::Result<bool> {
        // What is done is deleted.
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM graphile_worker._private_jobs)";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.outside).await?)
    }

    async fn remove(self: Box<Self>) -> anyhow::Result<()> {
        self.workers.close().await;
        self.outside.close().await;
        self.database.remove().await
    }
}
