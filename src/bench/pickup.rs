//! `aftercall bench pickup`: how long a job waits from the moment when its row is written until it runs, within one process
//! and across two on one file, idle and while both processes write as fast as they can; and what idling costs.

use std::{
    io::Read as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{
    child::{Spawned, say},
    distribution::Distribution,
};
use crate::{
    db::{Db, Location},
    queue::{self, Job, JobContext, JobError, Limit, Outcome, Policy, Registry, Running, WorkerSettings},
};

/// How often a process on a file looks for what others wrote.
const POLL: Duration = Duration::from_millis(100);
/// Goal in milliseconds for 95 % of the jobs that the same process starts, and of those that another one does.
const GOALS: (f64, f64) = (20.0, 300.0);
/// Goal for statements a second of a process that has nothing to do.
const IDLE_GOAL: f64 = 2.0;
/// A job that was not started for so long is lost.
const LOST: Duration = Duration::from_secs(30);
/// How long idling is watched: some heartbeats.
const IDLE: Duration = Duration::from_secs(15);

/// One way of waiting.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// Started by another process than the one that enqueued.
    pub across: bool,
    /// While both processes write as fast as they can.
    pub under_load: bool,
    /// Milliseconds from the row to the run.
    pub wait_ms: Distribution,
    /// Jobs a second that both processes did beside.
    pub load_per_second: f64,
    /// The longest time between two heartbeats that got through, in milliseconds, by process.
    pub longest_silence_ms: Vec<f64>,
    /// Runs that were taken from a living process.
    pub taken_away: u64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Within, across; idle, under load.
    pub cases: Vec<Case>,
    /// How often a process looks whether another one wrote, in milliseconds.
    pub poll_ms: f64,
    /// Milliseconds between two heartbeats, and how long a lease holds.
    pub heartbeat_ms: (f64, f64),
    /// Statements a second of a process that has nothing to do, while another one idles beside it.
    pub idle_statements_per_second: f64,
    /// Share of one core that this takes, in percent.
    pub idle_cpu_percent: f64,
    /// Microseconds of one look whether another process wrote.
    pub look_us: f64,
}

impl Report {
    /// The figures beside their goals.
    pub fn lines(&self) -> Vec<String> {
        let mark = |met: bool| if met { "met" } else { "MISSED" };
        let mut lines = vec![format!(
            "{:<26}{:>8}{:>9}{:>9}{:>9}{:>9}   beside, jobs/s",
            "from row to run, ms", "jobs", "p50", "p95", "p99", "max"
        )];
        for case in &self.cases {
            let goal = if case.across { GOALS.1 } else { GOALS.0 };
            let wait = case.wait_ms;
            lines.push(format!(
                "{:<26}{:>8}{:>9.1}{:>9.1}{:>9.1}{:>9.1}   {:<6.0} p95 goal ≤ {goal:.0}: {}",
                format!(
                    "{}, {}",
                    if case.across { "two processes" } else { "one process" },
                    if case.under_load { "busy" } else { "idle" }
                ),
                wait.count,
                wait.p50,
                wait.p95,
                wait.p99,
                wait.max,
                case.load_per_second,
                mark(wait.p95 <= goal)
            ));
        }
        let silence = self
            .cases
            .iter()
            .flat_map(|case| &case.longest_silence_ms)
            .fold(0.0, |most: f64, silence| most.max(*silence));
        let taken: u64 = self.cases.iter().map(|case| case.taken_away).sum();
        let (heartbeat, lease) = self.heartbeat_ms;
        lines.push(format!(
            "longest between heartbeats {silence:.0} ms, every {heartbeat:.0} ms wanted; a lease is lost at {:.0}: {}; runs taken from a living process: {taken}",
            lease * 0.75,
            mark(silence < lease / 2.0 && taken == 0)
        ));
        lines.push(format!(
            "idle, two processes: {:.2} statements/s each, goal ≤ {IDLE_GOAL:.0}: {}; {:.1} looks/s at {:.0} µs; {:.2} % of a core",
            self.idle_statements_per_second,
            mark(self.idle_statements_per_second <= IDLE_GOAL),
            1000.0 / self.poll_ms,
            self.look_us,
            self.idle_cpu_percent
        ));
        lines
    }
}

/// Runs it in a directory of its own, which the caller removes. `jobs` are measured in each case.
///
/// # Errors
/// When a database cannot be written, the second process cannot be started, or a job was not run.
pub async fn run(directory: &Path, jobs: u64) -> anyhow::Result<Report> {
    let mut cases = Vec::new();
    for under_load in [false, true] {
        for across in [false, true] {
            let file = directory.join(format!("pickup-{under_load}-{across}.db"));
            cases.push(measure(&file, jobs, across, under_load).await?);
        }
    }
    let settings = WorkerSettings::default();
    let idle = idle(&directory.join("idle.db")).await?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(Report {
        cases,
        poll_ms: ms(POLL),
        heartbeat_ms: (ms(settings.heartbeat), ms(settings.lease)),
        idle_statements_per_second: idle.statements as f64 / idle.seconds,
        idle_cpu_percent: idle.cpu_seconds / idle.seconds * 100.0,
        look_us: look_us(&directory.join("idle.db")).await?,
    })
}

/// What the second process says of itself when it ends.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Summary {
    longest_silence_ms: f64,
    statements: u64,
    cpu_seconds: f64,
    seconds: f64,
}

async fn measure(file: &Path, jobs: u64, across: bool, under_load: bool) -> anyhow::Result<Case> {
    let db = Db::open(&Location::sqlite(file)).await?;
    let (heard, mut waits) = unbounded_channel();
    // The process that measures serves the load alone where another one is to start the jobs.
    let queues = if across {
        vec![Busy::NAME]
    } else {
        vec![Ping::NAME, Busy::NAME]
    };
    let here = start(&db, heard, queues).await?;
    let second = [Ping::NAME, Busy::NAME];
    let mut other = Spawned::start(
        file.parent().unwrap_or(file),
        child_arguments(file, if across { &second } else { &second[1..] }),
    )?;
    ensure!(
        other.line().await.as_deref() == Some(READY),
        "the second process did not start"
    );
    if under_load {
        let mut tx = db.begin().await?;
        for chain in 0..CHAINS {
            queue::enqueue(&mut tx, &Busy { chain, number: 0 }).await?;
        }
        tx.commit().await?;
    }
    let started = Instant::now();
    let before = count(&db, BUSY_DONE).await?;
    let mut measured = Vec::new();
    for number in 0..jobs {
        // Never in step with what polls.
        tokio::time::sleep(Duration::from_millis(15 + number * 37 % 101)).await;
        ping(&db, number).await?;
        let wait = tokio::time::timeout(LOST, async {
            if across {
                other.line().await.and_then(|line| line.parse().ok())
            } else {
                waits.recv().await
            }
        });
        let wait: u64 = wait.await.ok().flatten().context("a job was not started")?;
        measured.push(wait as f64 / 1e3);
    }
    let seconds = started.elapsed().as_secs_f64();
    let done = count(&db, BUSY_DONE).await? - before;
    let lines = other.end().await?;
    let said: Summary = serde_json::from_str(lines.last().context("the second process said nothing")?)?;
    let silence = here.longest_silence();
    here.shutdown().await;
    let taken_away = count(&db, TAKEN_AWAY).await?;
    let runs = count(&db, PINGS).await?;
    ensure!(runs == jobs, "{jobs} jobs were run {runs} times");
    db.close().await;
    Ok(Case {
        across,
        under_load,
        wait_ms: Distribution::of(measured),
        load_per_second: done as f64 / seconds,
        longest_silence_ms: vec![silence.as_secs_f64() * 1e3, said.longest_silence_ms],
        taken_away,
    })
}

/// Two processes with nothing to do: what the second says of itself.
async fn idle(file: &Path) -> anyhow::Result<Summary> {
    let db = Db::open(&Location::sqlite(file)).await?;
    let (heard, _waits) = unbounded_channel();
    let here = start(&db, heard, vec![Ping::NAME, Busy::NAME]).await?;
    let mut other = Spawned::start(
        file.parent().unwrap_or(file),
        child_arguments(file, &[Ping::NAME, Busy::NAME]),
    )?;
    ensure!(
        other.line().await.as_deref() == Some(READY),
        "the second process did not start"
    );
    tokio::time::sleep(IDLE).await;
    let lines = other.end().await?;
    here.shutdown().await;
    db.close().await;
    Ok(serde_json::from_str(
        lines.last().context("the second process said nothing")?,
    )?)
}

async fn look_us(file: &Path) -> anyhow::Result<f64> {
    const LOOKS: u32 = 2_000;
    let db = Db::open(&Location::sqlite(file)).await?;
    let started = Instant::now();
    for _ in 0..LOOKS {
        db.change_counter().await?;
    }
    let each = started.elapsed() / LOOKS;
    db.close().await;
    Ok(each.as_secs_f64() * 1e6)
}

fn child_arguments(file: &Path, queues: &[&str]) -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<std::ffi::OsString> = vec!["bench".into(), "pickup".into(), "--worker".into(), file.into()];
    arguments.extend(queues.iter().map(|queue| format!("--queue={queue}").into()));
    arguments
}

/// The second process: works until its input is closed. Prints how long each job waited, in microseconds, and at the end
/// what it has to say of itself.
///
/// # Errors
/// When the database cannot be opened.
pub async fn work(file: &Path, queues: &[String]) -> anyhow::Result<()> {
    let db = Db::open(&Location::sqlite(file)).await?;
    let (heard, mut waits) = unbounded_channel();
    let queues = [Ping::NAME, Busy::NAME]
        .into_iter()
        .filter(|known| queues.iter().any(|queue| queue == known))
        .collect();
    let running = start(&db, heard, queues).await?;
    let (statements, cpu_seconds, started) = (db.statements(), cpu_seconds(), Instant::now());
    say(READY);
    let mut end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    loop {
        tokio::select! {
            wait = waits.recv() => match wait {
                Some(wait) => say(&wait.to_string()),
                None => break,
            },
            _ = &mut end => break,
        }
    }
    let summary = Summary {
        longest_silence_ms: running.longest_silence().as_secs_f64() * 1e3,
        statements: db.statements() - statements,
        cpu_seconds: self::cpu_seconds() - cpu_seconds,
        seconds: started.elapsed().as_secs_f64(),
    };
    running.shutdown().await;
    db.close().await;
    say(&serde_json::to_string(&summary)?);
    Ok(())
}

const READY: &str = "ready";

/// What this process has computed so far, on all its threads.
fn cpu_seconds() -> f64 {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9
}

/// Microseconds on a clock that all processes of this machine share.
fn shared_clock_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000 + nanos.unwrap_or_default() / 1_000
}

async fn start(db: &Db, heard: UnboundedSender<u64>, queues: Vec<&'static str>) -> anyhow::Result<Running> {
    let registry = Arc::new(Registry::new().register::<Ping>().register::<Busy>());
    let settings = WorkerSettings {
        queues: Some(queues.into_iter().map(str::to_owned).collect()),
        ..WorkerSettings::default()
    };
    Ok(queue::start(db, registry, Arc::new(heard), Vec::new(), settings).await?)
}

async fn ping(db: &Db, number: u64) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    let written_at_us = shared_clock_us();
    queue::enqueue(&mut tx, &Ping { number, written_at_us }).await?;
    tx.commit().await?;
    Ok(())
}

const PINGS: &str = "-- pings_run\nSELECT COUNT(*) AS n FROM job_attempts WHERE queue = 'bench_ping'";
const BUSY_DONE: &str =
    "-- busy_done\nSELECT COUNT(*) AS n FROM jobs WHERE queue = 'bench_busy' AND state = 'completed'";
const TAKEN_AWAY: &str = "-- taken_away\nSELECT COUNT(*) AS n FROM job_attempts WHERE outcome = 'rescued'";

async fn count(db: &Db, sql: &'static str) -> anyhow::Result<u64> {
    let row = db.fetch_optional(sql, &[]).await?.context("a count gave no row")?;
    Ok(row.get("n")?)
}

/// Says how long it waited.
#[derive(Debug, Serialize, Deserialize)]
struct Ping {
    number: u64,
    written_at_us: u64,
}

impl Job for Ping {
    type Env = UnboundedSender<u64>;
    const NAME: &'static str = "bench_ping";
    const POLICY: Policy = Policy::new().limit(Limit::queue(64));

    fn unique_key(&self) -> Option<String> {
        None
    }

    async fn run(&self, ctx: &JobContext, heard: &UnboundedSender<u64>) -> Result<Outcome, JobError> {
        // Nobody listens any more when the bench was given up.
        let _ = heard.send(shared_clock_us().saturating_sub(self.written_at_us));
        ctx.finish(ctx.begin().await?).await
    }
}

/// Jobs of the load that call for their own successors.
const CHAINS: u64 = 8;

/// Calls for the next one: both processes write as fast as they can for as long as they are up.
#[derive(Debug, Serialize, Deserialize)]
struct Busy {
    chain: u64,
    number: u64,
}

impl Job for Busy {
    type Env = UnboundedSender<u64>;
    const NAME: &'static str = "bench_busy";
    const POLICY: Policy = Policy::new().limit(Limit::queue(64));

    fn unique_key(&self) -> Option<String> {
        None
    }

    async fn run(&self, ctx: &JobContext, _: &UnboundedSender<u64>) -> Result<Outcome, JobError> {
        let mut tx = ctx.begin().await?;
        let next = Self {
            chain: self.chain,
            number: self.number + 1,
        };
        queue::enqueue(&mut tx, &next).await?;
        ctx.finish(tx).await
    }
}
