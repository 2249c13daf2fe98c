//! `aftercall demo`: the whole pipeline on made-up calls, on this machine alone.
//!
//! Nothing here is staged: the servers are real ones on loopback, the pipeline is the one of `aftercall run`, and what is
//! printed is read from its database. Only the calls are made up, and the waits shorter.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::{
    context::Context,
    escape,
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    progress::Progress,
    wiring,
};
use crate::{
    config::{Config, LlmConfig, PlaybookName, RecordsConfig, SourceConfig},
    db::Db,
    sandbox::{
        demo::{self, DemoSession},
        language_model, records,
    },
    store::inspect::{
        session,
        sessions::{SessionFilter, SessionLine, list},
    },
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall demo
  $ aftercall demo --dir /tmp/my-demo

It starts a system of record and a scripted LLM on loopback, feeds made-up orthodontic calls through the real pipeline
with all waits divided by 60, and prints the verdicts and one diagnosis. Nothing leaves this machine.";

/// Files of the demo, under names that no real installation uses: they are deleted each time.
const DATABASE: &str = "demo.db";
const BUNDLE: &str = "demo-observations.jsonl";
/// Name of its source.
const SOURCE: &str = "demo";
/// All waits are divided by this.
const FASTER: u32 = 60;
/// The session whose diagnosis is printed whole.
const EXPLAINED: &str = "demo-11-error-hidden";
/// Far above what it takes: a demo that hangs is broken, and says so.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// Runs the whole pipeline on made-up calls against sandbox servers, in under half a minute
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Demo {
    /// Where its files and database go; made new each time
    #[arg(long, value_name = "DIR", default_value = "aftercall-data/demo")]
    dir: PathBuf,
    /// Go on with the database of the last demo instead of a new one
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let sessions = demo::sessions().map_err(|error| Failure::Fault(format!("{error:#}")))?;
        if !context.out.is_json() {
            context.out.print(&(), |_| banner(&self.dir, sessions.len()))?;
        }
        let report = self.judge_all(&context.out, &sessions).await?;
        context.out.print(&report, |out| report.text(out))?;
        report.require_expected()
    }

    async fn judge_all(&self, out: &Output, sessions: &[DemoSession]) -> Result<Report, Failure> {
        let started = Instant::now();
        self.write_files(sessions)?;
        let practice = records::start(Arc::new(demo::records(sessions))).await?;
        let model = language_model::start(Arc::new(demo::language_model(sessions))).await?;
        let config = self.config(&practice.url(), &model.url());
        let db = Db::open(&config.database.location()).await?;
        let idle = run(out, &config, &db).await?;
        let report = Report::read(&db, &self.dir, sessions, idle, started.elapsed()).await;
        db.close().await;
        report
    }

    /// The bundle, and no database of an earlier demo.
    fn write_files(&self, sessions: &[DemoSession]) -> Result<(), Failure> {
        let bundle = demo::bundle_jsonl(sessions).map_err(|error| Failure::Fault(format!("{error:#}")))?;
        let in_dir = |error: io::Error| {
            Failure::Storage(format!(
                "{}: {error}; name another folder with --dir",
                self.dir.display()
            ))
        };
        fs::create_dir_all(&self.dir).map_err(in_dir)?;
        if !self.keep {
            for suffix in ["", "-wal", "-shm"] {
                remove(&self.dir.join(format!("{DATABASE}{suffix}"))).map_err(in_dir)?;
            }
        }
        fs::write(self.dir.join(BUNDLE), bundle).map_err(in_dir)
    }

    fn config(&self, practice: &str, model: &str) -> Config {
        let mut config = Config::default();
        config.database.path = self.dir.join(DATABASE);
        let playbook = PlaybookName::BuiltIn(demo::PLAYBOOK.to_owned());
        config
            .sources
            .push(SourceConfig::bundle(SOURCE, self.dir.join(BUNDLE), playbook));
        let mut records = RecordsConfig::http(demo::SYSTEM, practice);
        records.pace /= FASTER;
        config.records.push(records);
        config.llm = Some(LlmConfig::new(format!("{model}/v1"), "scripted-model"));
        config.limits.diagnose_window /= FASTER;
        // The third look, after half an hour, would alone take half a minute.
        config.verification.look_again.truncate(2);
        for wait in &mut config.verification.look_again {
            *wait /= FASTER;
        }
        config.verification.give_up_after /= FASTER;
        config.verification.outage_wait /= FASTER;
        config.verification.outage_wait_most /= FASTER;
        config
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The same run as `aftercall run --until-idle`. True when nothing was left to do.
async fn run(out: &Output, config: &Config, db: &Db) -> Result<bool, Failure> {
    let pipeline = wiring::start(config, db).await?;
    let mut progress = Progress::start(out.is_json());
    let ended = match pipeline.look_now().await {
        Ok(()) => {
            pipeline
                .until_idle(Some(MAX_WAIT), |state| progress.update(state))
                .await
        }
        Err(error) => Err(error),
    };
    progress.finish();
    pipeline.shutdown().await;
    Ok(ended?.is_idle())
}

fn banner(dir: &Path, sessions: usize) -> String {
    escape::visible_lines(&format!(
        "SANDBOX  {sessions} made-up calls to an orthodontic practice. The practice's system and the LLM are scripted servers on\n\
         127.0.0.1; nothing leaves this machine. The pipeline is the real one, with all waits divided by {FASTER}: a missing record\n\
         is looked for again after 1 s and 5 s (the third look, after 30 min, is left out), and 3 diagnoses may start in any 5 s.\n\
         Files go to {}.\n",
        dir.display()
    ))
}

/// What the demo ends with.
#[derive(Debug, Serialize)]
struct Report {
    sandbox: bool,
    /// Nothing was left to do.
    idle: bool,
    database: PathBuf,
    seconds: f64,
    sessions: Vec<Line>,
    /// The diagnosis of one session, whole.
    diagnosis: Option<Value>,
}

/// One session.
#[derive(Debug, Serialize)]
struct Line {
    session: String,
    happened: String,
    intent: String,
    status: String,
    reason: String,
    why: String,
    expected: String,
    /// Who has to act, where it failed.
    diagnosis: Option<String>,
}

impl Report {
    async fn read(db: &Db, dir: &Path, sessions: &[DemoSession], idle: bool, took: Duration) -> Result<Self, Failure> {
        let filter = SessionFilter {
            source: Some(SOURCE.to_owned()),
            limit: 1_000,
            ..SessionFilter::default()
        };
        let found = list(db, &filter).await?;
        let mut lines = Vec::new();
        let mut explained = None;
        for session in sessions {
            let line = found.iter().find(|line| line.key.session_id == session.id);
            let mut diagnosis = None;
            if let (Some(line), true) = (line, session.status.needs_diagnosis()) {
                let detail = session::detail(db, line.clone()).await?;
                diagnosis = detail.diagnosis.as_ref().map(cause);
                if session.id == EXPLAINED {
                    explained = detail.diagnosis;
                }
            }
            lines.push(Line::of(session, line, diagnosis));
        }
        Ok(Self {
            sandbox: true,
            idle,
            database: dir.join(DATABASE),
            seconds: took.as_secs_f64(),
            sessions: lines,
            diagnosis: explained,
        })
    }

    fn text(&self, out: &Output) -> String {
        let mut grid = Grid::new(["session", "what happened", "intent", "verdict", "why", "diagnosis"]);
        for line in &self.sessions {
            grid.row([
                Cell::from(&line.session),
                Cell::from(&line.happened),
                Cell::from(&line.intent),
                Cell::toned(&line.status, Tone::of_status(&line.status)),
                Cell::from(&line.why),
                Cell::from(line.diagnosis.as_deref().unwrap_or_default()),
            ]);
        }
        let mut parts = vec![out.table(&grid)];
        if let Some(report) = self
            .diagnosis
            .as_ref()
            .and_then(|diagnosis| diagnosis["markdown"].as_str())
        {
            let title = out.paint(&format!("The diagnosis of {EXPLAINED}, whole:"), Tone::Dim);
            parts.push(format!("{title}\n\n{}", escape::visible_lines(report.trim_end())));
        }
        let database = quoted(&self.database.display().to_string());
        parts.push(escape::visible_lines(&format!(
            "SANDBOX  {} sessions in {:.1} s. Everything is in {}. Look around:\n\
             \x20 aftercall --db {database} show {EXPLAINED}\n\
             \x20 aftercall --db {database} show demo-13-hostile\n\
             \x20 aftercall --db {database} sessions --status fail\n\
             \x20 aftercall --db {database} queues\n\
             \x20 aftercall --db {database} reprocess --status fail --dry-run\n\
             Your own sessions: `aftercall init` writes a commented aftercall.toml, `aftercall run --help` says the rest.",
            self.sessions.len(),
            self.seconds,
            self.database.display(),
        )));
        parts.join("\n\n")
    }

    /// The demo knows what has to come out: anything else is a fault of this build or machine.
    fn require_expected(&self) -> Result<(), Failure> {
        if !self.idle {
            return Err(Failure::Fault(format!(
                "the demo did not come to its end within {} s: `aftercall --db {} queues` shows what is left",
                MAX_WAIT.as_secs(),
                self.database.display()
            )));
        }
        let wrong: Vec<String> = self
            .sessions
            .iter()
            .filter(|line| line.status != line.expected)
            .map(|line| format!("{}: {} instead of {}", line.session, line.status, line.expected))
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Failure::Fault(format!(
            "{} of the demo's sessions did not end as they have to: {}",
            wrong.len(),
            wrong.join("; ")
        )))
    }
}

impl Line {
    fn of(session: &DemoSession, line: Option<&SessionLine>, diagnosis: Option<String>) -> Self {
        let verdict = line.and_then(|line| line.verdict.as_ref());
        Self {
            session: session.id.clone(),
            happened: session.happened.clone(),
            intent: verdict.map(|verdict| verdict.intent.clone()).unwrap_or_default(),
            status: line.map_or_else(|| "not seen".to_owned(), |line| line.status.clone()),
            reason: verdict.and_then(|verdict| verdict.reason.clone()).unwrap_or_default(),
            why: match verdict {
                Some(verdict) => verdict.summary.clone(),
                None => line.and_then(|line| line.waiting_reason.clone()).unwrap_or_default(),
            },
            expected: session.status.as_str().to_owned(),
            diagnosis,
        }
    }
}

/// `agent: tool_error_ignored (by experts)`.
fn cause(diagnosis: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!(
        "{}: {} (by {})",
        text(&diagnosis["root_cause"]["owner"]),
        text(&diagnosis["root_cause"]["failure"]),
        text(&diagnosis["basis"])
    )
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '/' | '.' | '-' | '_');
    if path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_demo_ends_in_under_half_a_minute_with_every_verdict_as_it_has_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let demo = Demo {
            dir: dir.path().join("demo"),
            keep: false,
        };
        let sessions = demo::sessions().unwrap();
        let report = demo.judge_all(&Output::plain(), &sessions).await.unwrap();
        assert!(report.require_expected().is_ok(), "{:?}", report.require_expected());
        assert!(report.seconds < 30.0, "{} s", report.seconds);
        for line in &report.sessions {
            let failed = matches!(line.status.as_str(), "fail" | "partial");
            assert_eq!(line.diagnosis.is_some(), failed, "{line:?}");
        }
        let hostile = report
            .sessions
            .iter()
            .find(|line| line.session == "demo-13-hostile")
            .unwrap();
        assert_eq!(
            hostile.diagnosis.as_deref(),
            Some("agent: tool_error_ignored (by rules)")
        );
        let text = report.text(&Output::plain());
        for shown in [
            "SANDBOX",
            "queued_never_worked (by experts)",
            "# Diagnosis: tool error ignored",
            "show demo-13-hostile",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(
            !text.chars().any(|letter| letter.is_control() && letter != '\n'),
            "{text:?}"
        );
    }

    #[test]
    fn a_demo_deletes_no_database_but_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["aftercall.db", "aftercall.db-wal", DATABASE, "notes.txt"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let mut demo = Demo {
            dir: dir.path().to_owned(),
            keep: true,
        };
        demo.write_files(&[]).unwrap();
        assert!(dir.path().join(DATABASE).exists());
        demo.keep = false;
        demo.write_files(&[]).unwrap();
        assert!(!dir.path().join(DATABASE).exists());
        for name in ["aftercall.db", "aftercall.db-wal", "notes.txt"] {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }
}
