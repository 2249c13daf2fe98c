//! Where commands reach the pipeline: the one file of the command line that names jobs and `Env`.

use std::path::{Path, PathBuf};

use chrono::DateTime;

use super::{context::Context, failure::Failure, worker::Wanted};
use crate::{
    bench::{inspect, lane, memory, pickup, pipeline, queue as queue_bench},
    config::{Config, PlaybookName, RecordsConfig, nearest},
    db::{Db, DbError},
    domain::{playbook::Playbook, session::SessionKey},
    env::{self, SourceEntry, Upstreams, load_playbook},
    eval,
    jobs::{self, AnalyzeSession, DiscoverSessions},
    pipeline::{
        Pipeline,
        roles::{self, Served},
    },
    queue::{Job as _, Running},
    readings_file::ReadingsFile,
    trial::{self, Session, Trial},
};

/// Starts all roles in this process.
pub(super) async fn start(config: &Config, db: &Db) -> Result<Pipeline, Failure> {
    Pipeline::start(config, db).await.map_err(not_started)
}

fn not_started(error: anyhow::Error) -> Failure {
    match error.downcast::<DbError>() {
        Ok(error) => error.into(),
        Err(error) => Failure::Usage(format!("{error:#}")),
    }
}

/// Whether playbooks and systems of record fit each other. Calls none of them.
pub(super) fn fit(config: &Config) -> Result<(), String> {
    Upstreams::build(config).map(drop).map_err(|error| format!("{error:#}"))
}

/// Serves queues in this process.
pub(super) async fn start_worker(config: &Config, db: &Db, served: Served) -> Result<Running, Failure> {
    roles::worker(config, db, served).await.map_err(not_started)
}

/// Fires the schedules in this process.
pub(super) async fn start_scheduler(config: &Config, db: &Db) -> Result<Running, Failure> {
    roles::scheduler(config, db).await.map_err(not_started)
}

/// Registers a process that answers questions.
pub(super) async fn start_api(config: &Config, db: &Db) -> Result<Running, Failure> {
    roles::api(config, db).await.map_err(not_started)
}

/// The queues that were asked for, all of them known and none named twice; none asked for: all.
pub(super) fn served(wanted: &[Wanted]) -> Result<Served, Failure> {
    if wanted.is_empty() {
        return Ok(Served::default());
    }
    let known = jobs::registry().names();
    let mut served = Served {
        queues: Some(Vec::new()),
        ..Served::default()
    };
    let queues = served.queues.get_or_insert_default();
    for Wanted { name, at_once } in wanted {
        if !known.contains(&name.as_str()) {
            let meant = nearest(name, known.iter().copied());
            let meant = meant.map_or(".".to_owned(), |meant| format!(": did you mean `{meant}`?"));
            return Err(Failure::Usage(format!(
                "--queues: there is no queue `{name}`{meant} The queues are {}",
                known.join(", ")
            )));
        }
        if queues.contains(name) {
            return Err(Failure::Usage(format!("--queues: `{name}` is named twice")));
        }
        queues.push(name.clone());
        if let Some(at_once) = at_once {
            served.concurrency.insert(name.clone(), *at_once);
        }
    }
    Ok(served)
}

/// Whether such a process reads the sources themselves.
pub(super) fn reads_sources(served: &Served) -> bool {
    let reading = [DiscoverSessions::NAME, AnalyzeSession::NAME];
    served
        .queues
        .as_ref()
        .is_none_or(|queues| queues.iter().any(|queue| reading.contains(&queue.as_str())))
}

/// A playbook, or every fault of it.
pub(super) fn playbook(name: &PlaybookName) -> Result<Playbook, Vec<String>> {
    load_playbook(name).map_err(|error| format!("{error:#}").lines().map(str::to_owned).collect())
}

/// One address serves every system that the playbook names.
pub(super) fn records_at(url: &str, name: &PlaybookName) -> Result<Vec<RecordsConfig>, Failure> {
    let playbook = playbook(name).map_err(|faults| Failure::Usage(faults.join("\n")))?;
    let systems = playbook.systems().into_iter();
    Ok(systems.map(|system| RecordsConfig::http(system, url)).collect())
}

/// What of a playbook does not fit a system of record.
pub(super) fn misfits(playbook: &Playbook, records: &RecordsConfig) -> Vec<String> {
    env::misfits(playbook, records)
}

/// The text of a playbook that ships with the program.
pub(super) fn playbook_text(name: &str) -> Result<&'static str, Failure> {
    let known = Playbook::BUILT_IN.iter().find(|(known, _)| *known == name);
    known.map(|(_, text)| *text).ok_or_else(|| {
        let names: Vec<&str> = Playbook::BUILT_IN.iter().map(|(name, _)| *name).collect();
        Failure::Fault(format!(
            "no playbook `{name}` ships with aftercall; there are: {}",
            names.join(", ")
        ))
    })
}

/// Name of the source that stands for a session on which a playbook is tried.
pub(super) const TRIED: &str = "tried";

/// What a playbook makes of a session in a file.
pub(super) async fn try_on_bundle(config: &Config, session: &str, readings: Option<&Path>) -> Result<Trial, Failure> {
    let upstreams = Upstreams::build(config).map_err(not_started)?;
    let entry = tried(&upstreams)?;
    // A whole file has no clock.
    let found = trial::read_source(entry, session, DateTime::UNIX_EPOCH)
        .await
        .map_err(failed)?;
    tried_on(&upstreams, found, readings).await
}

/// What a playbook makes of a session that was analysed before.
pub(super) async fn try_on_stored(
    config: &Config,
    db: &Db,
    key: &SessionKey,
    readings: Option<&Path>,
) -> Result<Trial, Failure> {
    let upstreams = Upstreams::build(config).map_err(not_started)?;
    let found = trial::read_stored(db, key).await?.ok_or_else(|| {
        Failure::Fault(format!(
            "{key}: its content is not stored (not analysed yet, or pruned): give it with --bundle"
        ))
    })?;
    tried_on(&upstreams, found, readings).await
}

async fn tried_on(upstreams: &Upstreams, mut session: Session, readings: Option<&Path>) -> Result<Trial, Failure> {
    if let Some(path) = readings {
        trial::take_reading(&mut session, &ReadingsFile::load(path).map_err(failed)?);
    }
    Ok(trial::run(&tried(upstreams)?.playbook, &upstreams.systems, session).await)
}

fn tried(upstreams: &Upstreams) -> Result<&SourceEntry, Failure> {
    let entry = upstreams.sources.get(TRIED);
    entry.ok_or_else(|| Failure::Fault(format!("the source `{TRIED}` was not made")))
}

/// Scores the verdicts on labelled sessions.
pub(super) async fn eval_verify(
    playbook: &PlaybookName,
    plan: impl FnOnce(Playbook) -> eval::Plan,
) -> Result<eval::Report, Failure> {
    let playbook = load_playbook(playbook).map_err(|error| Failure::Usage(format!("{error:#}")))?;
    eval::verify(plan(playbook)).await.map_err(failed)
}

/// The pipeline's bench.
pub(super) async fn bench_pipeline(context: &Context, sessions: u64, noop_jobs: u64) -> Result<(), Failure> {
    let report = in_a_directory(async |directory| pipeline::run(directory, sessions, noop_jobs).await).await?;
    context.out.print(&report, |_| report.lines().join("\n"))
}

/// How long jobs wait to be started.
pub(super) async fn bench_pickup(context: &Context, jobs: u64) -> Result<(), Failure> {
    let report = in_a_directory(async |directory| pickup::run(directory, jobs).await).await?;
    context.out.print(&report, |_| report.lines().join("\n"))
}

/// Its second process.
pub(super) async fn bench_pickup_worker(file: &Path, queues: &[String]) -> Result<(), Failure> {
    pickup::work(file, queues).await.map_err(failed)
}

/// The queue on both databases.
pub(super) async fn bench_queue(context: &Context, plan: &queue_bench::Plan) -> Result<(), Failure> {
    let report = in_a_directory(async |directory| queue_bench::run(directory, plan).await).await?;
    context.out.print(&report, |_| report.lines().join("\n"))
}

/// What is asked of very many jobs, and done to them.
pub(super) async fn bench_inspect(context: &Context, plan: &inspect::Plan) -> Result<(), Failure> {
    let report = in_a_directory(async |directory| inspect::run(directory, plan).await).await?;
    context.out.print(&report, |_| report.lines().join("\n"))
}

/// How well a lane's pace is kept.
pub(super) async fn bench_lane(context: &Context, sessions: u64) -> Result<(), Failure> {
    let report = in_a_directory(async |directory| lane::run(directory, sessions).await).await?;
    context.out.print(&report, |_| report.lines().join("\n"))
}

/// The most memory that large sessions take.
pub(super) async fn bench_memory(context: &Context, megabytes: Option<u64>) -> Result<(), Failure> {
    let bytes = megabytes.map(|megabytes| megabytes * 1_000_000);
    let report = in_a_directory(async |directory| memory::run(directory, bytes).await).await?;
    context.out.print(&report, |_| report.lines().join("\n"))
}

/// One case's own process.
pub(super) async fn bench_memory_of(
    context: &Context,
    bundle: PathBuf,
    records: Option<String>,
    model: Option<String>,
) -> Result<(), Failure> {
    let database = context.config_to_look()?.database.path;
    let task = memory::Task {
        bundle,
        database,
        records,
        model,
    };
    memory::work(task).await.map_err(failed)
}

/// Runs a bench in a directory of its own, gone afterwards.
async fn in_a_directory<T>(bench: impl AsyncFnOnce(&Path) -> anyhow::Result<T>) -> Result<T, Failure> {
    let directory = std::env::temp_dir().join(format!("aftercall-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let done = bench(&directory).await;
    std::fs::remove_dir_all(&directory)?;
    done.map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: anyhow::Error) -> Failure {
    Failure::Fault(format!("{error:#}"))
}
