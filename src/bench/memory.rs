//! `aftercall bench memory`: the most memory that a process ever takes, one process per case: sessions as large as they come,
//! and a scan of many observations. And whether heartbeats come in time meanwhile.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    child::{Spawned, say},
    large::{self, Shape},
    peak,
    sessions::write_bundle,
};
use crate::{
    config::{Config, LlmConfig, PlaybookName, RecordsConfig, SourceConfig},
    db::{Db, Location},
    pipeline::Pipeline,
    sandbox::{
        language_model::{self, Reply, ScriptedModel},
        records::{self, Records},
    },
};

/// Goal: the most memory in MB.
const GOAL: f64 = 250.0;
/// What a large session is.
const LARGE: u64 = 50_000_000;

/// What one process went through.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// In words.
    pub name: String,
    /// Bytes of the file that it read.
    pub bundle_mb: f64,
    /// The most memory it took.
    pub peak_mb: f64,
    /// How long it took.
    pub seconds: f64,
    /// The longest time between two heartbeats that got through.
    pub longest_silence_ms: f64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// One process each.
    pub cases: Vec<Case>,
    /// Milliseconds between two heartbeats.
    pub heartbeat_ms: f64,
}

impl Report {
    /// The figures beside their goals.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{:<44}{:>9}{:>9}{:>9}   goal ≤ {GOAL:.0} MB; longest between heartbeats, every {:.0} ms wanted",
            "one process each", "file MB", "peak MB", "seconds", self.heartbeat_ms
        )];
        for case in &self.cases {
            lines.push(format!(
                "{:<44}{:>9.0}{:>9.0}{:>9.1}   {}; {:.0} ms",
                case.name,
                case.bundle_mb,
                case.peak_mb,
                case.seconds,
                if case.peak_mb <= GOAL { "met" } else { "MISSED" },
                case.longest_silence_ms
            ));
        }
        lines
    }
}

/// Runs it in a directory of its own, which the caller removes. `bytes` is what a large session has.
///
/// # Errors
/// When a process or a server cannot be started, or a session got no verdict.
pub async fn run(directory: &Path, bytes: Option<u64>) -> anyhow::Result<Report> {
    let bytes = bytes.unwrap_or(LARGE);
    let mut cases = Vec::new();
    for (sessions, shape, model) in [
        (1, Shape::Texts, false),
        (1, Shape::Texts, true),
        (1, Shape::Steps, false),
        (1, Shape::Numbers, false),
        (1, Shape::History, true),
        (4, Shape::Texts, true),
        (4, Shape::Numbers, false),
    ] {
        let bundle = directory.join("large.jsonl");
        large::write(&bundle, sessions, bytes, shape)?;
        let reader = if model { "an LLM reads" } else { "offline" };
        let name = format!("{sessions} of {} MB, {}, {reader}", bytes / 1_000_000, shape.words());
        cases.push(measure(directory, name, sessions, model).await?);
    }
    let observations = bytes / 500;
    write_bundle(&directory.join("large.jsonl"), observations / 2)?;
    cases.push(scan(directory, format!("a scan of {observations} observations")).await?);
    Ok(Report {
        cases,
        heartbeat_ms: Config::default().queue.heartbeat.as_secs_f64() * 1e3,
    })
}

/// What a child is to do.
#[derive(Debug, Clone)]
pub struct Task {
    /// The sessions.
    pub bundle: PathBuf,
    /// Its database.
    pub database: PathBuf,
    /// Where the systems of record are; `None`: only a scan.
    pub records: Option<String>,
    /// Where the LLM is.
    pub model: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Summary {
    peak_mb: f64,
    longest_silence_ms: f64,
    seconds: f64,
    done: u64,
}

async fn measure(directory: &Path, name: String, sessions: u64, with_model: bool) -> anyhow::Result<Case> {
    let server = records::start(Arc::new(Records::new())).await?;
    let model = ScriptedModel::new(|asked| {
        let reading = json!({
            "intent": "cancellation", "confidence": 0.9, "summary": "Wants to cancel.", "details": [], "requests": [],
            "statements": [],
        });
        match asked.schema.as_deref() {
            Some("reading") => Reply::json(reading),
            _ => Reply::Refusal("I only read.".to_owned()),
        }
    });
    let model = language_model::start(Arc::new(model)).await?;
    let mut arguments: Vec<OsString> = vec!["--records".into(), server.url().into()];
    if with_model {
        arguments.push("--model".into());
        arguments.push(format!("{}/v1", model.url()).into());
    }
    let (case, done) = child(directory, name, arguments).await?;
    ensure!(done == sessions, "{done} of {sessions} sessions got a verdict");
    server.stop().await;
    model.stop().await;
    Ok(case)
}

async fn scan(directory: &Path, name: String) -> anyhow::Result<Case> {
    Ok(child(directory, name, Vec::new()).await?.0)
}

async fn child(directory: &Path, name: String, more: Vec<OsString>) -> anyhow::Result<(Case, u64)> {
    let bundle = directory.join("large.jsonl");
    let database = directory.join("large.db");
    let mut arguments: Vec<OsString> = vec!["bench".into(), "memory".into(), "--of".into(), bundle.clone().into()];
    arguments.extend(["--db".into(), database.clone().into()]);
    arguments.extend(more);
    let lines = Spawned::start(directory, arguments)?
        .end()
        .await
        .with_context(|| name.clone())?;
    let said: Summary = serde_json::from_str(lines.last().context("the process said nothing")?)?;
    for ending in ["", "-wal", "-shm", "-turn"] {
        let mut file = database.clone().into_os_string();
        file.push(ending);
        // Some of them are gone already.
        let _ = fs::remove_file(file);
    }
    let case = Case {
        name,
        bundle_mb: fs::metadata(&bundle)?.len() as f64 / 1e6,
        peak_mb: said.peak_mb,
        seconds: said.seconds,
        longest_silence_ms: said.longest_silence_ms,
    };
    Ok((case, said.done))
}

/// A case's own process: does it, and prints what it took.
///
/// # Errors
/// When the pipeline cannot be started, or work is left after half an hour.
pub async fn work(task: Task) -> anyhow::Result<()> {
    let mut config = Config::default();
    config.database.path.clone_from(&task.database);
    let playbook = PlaybookName::BuiltIn("airline".to_owned());
    config.sources = vec![SourceConfig::bundle("bench", &task.bundle, playbook)];
    config.records = vec![RecordsConfig::http(
        "airline",
        task.records.as_deref().unwrap_or("http://127.0.0.1:9"),
    )];
    config.llm = task.model.map(|url| LlmConfig::new(url, "scripted"));
    config.verification.look_again = Vec::new();
    let db = Db::open(&Location::sqlite(&task.database)).await?;
    if task.records.is_none() {
        let mut tx = db.begin().await?;
        // Only the scan is measured.
        crate::queue::control::pause(&mut tx, "analyze_session", "bench", "only a scan").await?;
        tx.commit().await?;
    }
    let started = Instant::now();
    let pipeline = Pipeline::start(&config, &db).await?;
    pipeline.look_now().await?;
    let patience = Duration::from_mins(30);
    let paused = task.records.is_none();
    let state = if paused {
        loop {
            let discovering = db
                .fetch_optional(DISCOVERING, &[])
                .await?
                .context("a count gave no row")?;
            if discovering.get::<u64>("n")? == 0 || started.elapsed() > patience {
                break None;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    } else {
        Some(pipeline.until_idle(Some(patience), |_| {}).await?)
    };
    ensure!(
        state.as_ref().is_none_or(crate::pipeline::State::is_idle),
        "work is left after half an hour: {state:?}"
    );
    let summary = Summary {
        seconds: started.elapsed().as_secs_f64(),
        peak_mb: peak::peak_mb().context("this system does not say how much memory a process takes")?,
        longest_silence_ms: pipeline.longest_silence().as_secs_f64() * 1e3,
        done: state.map_or(0, |state| state.done),
    };
    pipeline.shutdown().await;
    db.close().await;
    say(&serde_json::to_string(&summary)?);
    Ok(())
}

const DISCOVERING: &str = "-- discovering
    SELECT COUNT(*) AS n FROM jobs WHERE queue = 'discover_sessions' AND state IN ('available', 'scheduled', 'running', 'retryable')";
