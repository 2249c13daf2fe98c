//! `aftercall bench pipeline`: tiny sessions through the whole flow, beside no-op jobs through the queue and the same
//! statements by hand.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    by_hand, peak,
    sessions::{reservation, session_id, write_bundle},
};
use crate::{
    config::{Config, PlaybookName, RecordsConfig, SourceConfig},
    db::{Db, Location},
    pipeline::Pipeline,
    queue::{self, Job, JobContext, JobError, Limit, Outcome, Policy, Registry, WorkerSettings, inspect},
    sandbox::records::{self, Records},
    store,
};

/// Goal: no-op jobs against the statements by hand.
const QUEUE_GOAL: f64 = 0.35;
/// Goal: sessions a second, and what we aim for.
const SESSIONS_GOAL: (f64, f64) = (150.0, 300.0);
/// Goal: peak memory in MB.
const MEMORY_GOAL: f64 = 150.0;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Sessions through the flow.
    pub sessions: u64,
    /// Sessions a second, from the first look at the file to the last verdict.
    pub sessions_per_second: f64,
    /// Jobs that this took.
    pub pipeline_jobs: u64,
    /// No-op jobs through the queue.
    pub noop_jobs: u64,
    /// No-op jobs a second through the queue.
    pub noop_per_second: f64,
    /// Microseconds of queue for one no-op job.
    pub queue_cost_us: f64,
    /// The same statements by hand, one commit per job: jobs a second.
    pub by_hand_per_second: f64,
    /// No-op jobs against by hand.
    pub ratio: f64,
    /// Peak memory in MB, where the system says it.
    pub peak_memory_mb: Option<f64>,
}

impl Report {
    /// The figures beside their goals.
    pub fn lines(&self) -> Vec<String> {
        let mark = |met: bool| if met { "met" } else { "MISSED" };
        let (goal, aim) = SESSIONS_GOAL;
        let mut lines = vec![
            format!(
                "sessions                 {:>10}   through {} jobs",
                self.sessions, self.pipeline_jobs
            ),
            format!(
                "sessions/s               {:>10.0}   goal ≥ {goal:.0}, aim {aim:.0}: {}",
                self.sessions_per_second,
                mark(self.sessions_per_second >= goal)
            ),
            format!(
                "no-op jobs/s             {:>10.0}   {} jobs, {:.0} µs of queue each",
                self.noop_per_second, self.noop_jobs, self.queue_cost_us
            ),
            format!(
                "by hand, 1 commit/job    {:>10.0}   the limit, same statements, same run",
                self.by_hand_per_second
            ),
            format!(
                "queue / limit            {:>9.0}%   goal ≥ {:.0}%: {}",
                self.ratio * 100.0,
                QUEUE_GOAL * 100.0,
                mark(self.ratio >= QUEUE_GOAL)
            ),
        ];
        if let Some(peak) = self.peak_memory_mb {
            lines.push(format!(
                "peak memory MB           {peak:>10.0}   goal ≤ {MEMORY_GOAL:.0}: {}",
                mark(peak <= MEMORY_GOAL)
            ));
        }
        lines
    }
}

/// Runs it in a directory of its own, which the caller removes.
///
/// # Errors
/// When the database or the sandbox's server cannot be started, or not every session passed.
pub async fn run(directory: &Path, sessions: u64, noop_jobs: u64) -> anyhow::Result<Report> {
    let (elapsed, pipeline_jobs) = run_sessions(directory, sessions).await?;
    let peak_memory_mb = peak::peak_mb(); // of the flow: before the other two phases can raise it
    let noop = run_noop(directory, noop_jobs).await?;
    let by_hand = by_hand::run(directory, noop_jobs, 1, true).await?;
    let per_second = |count: u64, time: Duration| count as f64 / time.as_secs_f64();
    let noop_per_second = per_second(noop_jobs, noop);
    let by_hand_per_second = per_second(noop_jobs, by_hand);
    Ok(Report {
        sessions,
        sessions_per_second: per_second(sessions, elapsed),
        pipeline_jobs,
        noop_jobs,
        noop_per_second,
        queue_cost_us: noop.as_secs_f64() * 1e6 / noop_jobs as f64,
        by_hand_per_second,
        ratio: noop_per_second / by_hand_per_second,
        peak_memory_mb,
    })
}

async fn run_sessions(directory: &Path, sessions: u64) -> anyhow::Result<(Duration, u64)> {
    let bundle = directory.join("sessions.jsonl");
    write_bundle(&bundle, sessions)?;
    let records = (0..sessions).fold(Records::new(), |records, n| {
        let id = reservation(n);
        let record = json!({ "reservation_id": id, "status": "cancelled" });
        records.with(&session_id(n), "reservations", &id, record)
    });
    let server = records::start(Arc::new(records)).await?;
    let mut config = Config::default();
    config.database.path = directory.join("pipeline.db");
    config.sources = vec![SourceConfig::bundle(
        "bench",
        &bundle,
        PlaybookName::BuiltIn("airline".to_owned()),
    )];
    config.records = vec![RecordsConfig {
        pace: Duration::ZERO,
        ..RecordsConfig::http("airline", server.url())
    }];
    let db = Db::open(&Location::sqlite(&config.database.path)).await?;

    let started = Instant::now();
    let pipeline = Pipeline::start(&config, &db).await?;
    pipeline.look_now().await?;
    let state = pipeline.until_idle(Some(Duration::from_mins(30)), |_| {}).await?;
    let elapsed = started.elapsed();
    pipeline.shutdown().await;
    server.stop().await;

    ensure!(state.is_idle(), "the sessions did not end within 30 minutes: {state:?}");
    let passed = store::sessions::count_with_status(&db, "pass").await?;
    ensure!(
        passed == sessions,
        "{passed} of {sessions} sessions passed: the bench would compare apples with pears"
    );
    let jobs = queue::select::count(&db, &inspect::JobFilter::default()).await?;
    db.close().await;
    Ok((elapsed, jobs))
}

/// Does nothing, durably.
#[derive(Debug, Serialize, Deserialize)]
struct Noop {
    number: u64,
}

impl Job for Noop {
    type Env = ();
    const NAME: &'static str = "bench_noop";
    const POLICY: Policy = Policy::new().limit(Limit::queue(64));

    fn unique_key(&self) -> Option<String> {
        Some(self.number.to_string())
    }

    async fn run(&self, ctx: &JobContext, (): &()) -> Result<Outcome, JobError> {
        let tx = ctx.begin().await?;
        ctx.finish(tx).await
    }
}

async fn run_noop(directory: &Path, jobs: u64) -> anyhow::Result<Duration> {
    let db = Db::open(&Location::sqlite(directory.join("noop.db"))).await?;
    let mut tx = db.begin().await?;
    for number in 0..jobs {
        queue::enqueue(&mut tx, &Noop { number }).await?;
    }
    tx.commit().await?;
    let registry = Arc::new(Registry::new().register::<Noop>());
    let started = Instant::now();
    let running = queue::start(&db, registry, Arc::new(()), Vec::new(), WorkerSettings::default()).await?;
    while !inspect::pending_work(&db).await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let elapsed = started.elapsed();
    running.shutdown().await;
    db.close().await;
    Ok(elapsed)
}
