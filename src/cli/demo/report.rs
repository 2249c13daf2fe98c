//! What the demo ends with: every session, what the outage did, what was judged twice, and whether all of it is as it has to
//! be.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use super::{
    super::{
        escape,
        failure::Failure,
        output::{Cell, Grid, Output, Tone},
    },
    DATABASE, EXPLAINED, FASTER, MAX_WAIT,
    direct::{Course, OutageSeen, lines},
};
use crate::{
    db::Db,
    domain::verdict::{Reason, Status},
    sandbox::demo::DemoSession,
    store::inspect::{session, sessions::SessionLine},
};

/// What the demo ends with.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) sandbox: bool,
    /// Everything came to its end in time.
    ended: bool,
    database: PathBuf,
    pub(super) seconds: f64,
    pub(super) sessions: Vec<Line>,
    /// The LLM's outage as its gate showed it.
    pub(super) outage: Option<OutageSeen>,
    /// The diagnosis of one session, whole.
    diagnosis: Option<Value>,
}

/// One session.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) session: String,
    source: String,
    happened: String,
    intent: String,
    pub(super) status: String,
    reason: String,
    why: String,
    /// Every verdict, oldest first: `skipped withdrawn`.
    pub(super) verdicts: Vec<String>,
    expected: Vec<String>,
    /// Who has to act, where it failed.
    pub(super) diagnosis: Option<String>,
}

impl Report {
    pub(super) async fn read(
        db: &Db,
        dir: &Path,
        sessions: &[DemoSession],
        course: Course,
        took: Duration,
    ) -> Result<Self, Failure> {
        let found = lines(db).await?;
        let mut lines = Vec::new();
        let mut explained = None;
        for session in sessions {
            let line = found.iter().find(|line| line.key.session_id == session.id);
            let (mut diagnosis, mut verdicts) = (None, Vec::new());
            if let Some(line) = line {
                let detail = session::detail(db, line.clone()).await?;
                let judged = detail.generations.iter().rev().filter_map(|one| one.verdict.as_ref());
                verdicts = judged.map(|verdict| words(verdict.status, verdict.reason)).collect();
                if session.status.needs_diagnosis() {
                    diagnosis = detail.diagnosis.as_ref().map(cause);
                }
                if session.id == EXPLAINED {
                    explained = detail.diagnosis;
                }
            }
            lines.push(Line::of(session, line, verdicts, diagnosis));
        }
        Ok(Self {
            sandbox: true,
            ended: course.ended,
            database: dir.join(DATABASE),
            seconds: took.as_secs_f64(),
            sessions: lines,
            outage: course.outage,
            diagnosis: explained,
        })
    }

    pub(super) fn text(&self, out: &Output) -> String {
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
        parts.push(escape::visible_lines(&self.course()));
        parts.push(escape::visible_lines(&self.look_around()));
        parts.join("\n\n")
    }

    /// What happened on the way.
    fn course(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &self.sessions {
            *counts.entry(&line.status).or_default() += 1;
        }
        let counts: Vec<String> = counts
            .iter()
            .map(|(status, count)| format!("{count} {status}"))
            .collect();
        let mut told = vec![format!(
            "SANDBOX  {} sessions of two Langfuse servers in {:.1} s: {}.",
            self.sessions.len(),
            self.seconds,
            counts.join(", ")
        )];
        if let Some(outage) = &self.outage {
            let end = if outage.reopened {
                "It opened by itself when the LLM answered again. No attempt was burnt and no session failed for it."
            } else {
                "It is still shut."
            };
            told.push(format!(
                "  The LLM went down in the middle: its gate {} was shut ({}) for {:.1} s and held up to {} jobs; {} tries found it\n  \
                 down. {end}",
                outage.gate, outage.reason, outage.seconds, outage.held, outage.failures
            ));
        }
        for line in self.sessions.iter().filter(|line| line.verdicts.len() > 1) {
            told.push(format!(
                "  {} was judged {} times, for more of it came after its verdict: {}.",
                line.session,
                line.verdicts.len(),
                line.verdicts.join(", then ")
            ));
        }
        for line in self.sessions.iter().filter(|line| line.expected.is_empty()) {
            told.push(format!("  {} has no verdict: {}.", line.session, line.why));
        }
        told.join("\n")
    }

    fn look_around(&self) -> String {
        let database = quoted(&self.database.display().to_string());
        format!(
            "Everything is in {}. Look around:\n\
             \x20 aftercall --db {database} show {EXPLAINED}\n\
             \x20 aftercall --db {database} show demo-13-hostile\n\
             \x20 aftercall --db {database} show demo-23-called-back\n\
             \x20 aftercall --db {database} sessions --status fail\n\
             \x20 aftercall --db {database} gate list\n\
             \x20 aftercall --db {database} queues\n\
             \x20 aftercall --db {database} reprocess --status fail\n\
             Waits were divided by {FASTER}. Your own sessions: `aftercall init` writes a commented aftercall.toml, \
             `aftercall run --help` says the rest.",
            self.database.display(),
        )
    }

    /// The demo knows what has to come out: anything else is a fault of this build or machine.
    pub(super) fn require_expected(&self) -> Result<(), Failure> {
        if !self.ended {
            return Err(Failure::Fault(format!(
                "the demo did not come to its end within {} s: `aftercall --db {} queues` shows what is left",
                MAX_WAIT.as_secs(),
                self.database.display()
            )));
        }
        let wrong: Vec<String> = self
            .sessions
            .iter()
            .filter(|line| line.verdicts != line.expected || line.expected.is_empty() && line.status != "waiting")
            .map(|line| {
                let words = |verdicts: &[String]| match verdicts {
                    [] => "no verdict".to_owned(),
                    verdicts => verdicts.join(", then "),
                };
                format!(
                    "{}: {} instead of {}",
                    line.session,
                    words(&line.verdicts),
                    words(&line.expected)
                )
            })
            .collect();
        if !wrong.is_empty() {
            return Err(Failure::Fault(format!(
                "{} of the demo's sessions did not end as they have to: {}",
                wrong.len(),
                wrong.join("; ")
            )));
        }
        match &self.outage {
            Some(outage) if outage.reopened => Ok(()),
            Some(_) => Err(Failure::Fault(
                "the LLM's gate did not open after its outage".to_owned(),
            )),
            None => Err(Failure::Fault("the LLM's outage closed no gate".to_owned())),
        }
    }
}

impl Line {
    fn of(session: &DemoSession, line: Option<&SessionLine>, verdicts: Vec<String>, diagnosis: Option<String>) -> Self {
        let verdict = line.and_then(|line| line.verdict.as_ref());
        let last = (session.status, session.reason);
        let expected = match (session.going_on, session.later.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => vec![last],
            (false, false) => vec![session.first.unwrap_or(last), last],
        };
        Self {
            session: session.id.clone(),
            source: session.source.name().to_owned(),
            happened: session.happened.clone(),
            intent: verdict.map(|verdict| verdict.intent.clone()).unwrap_or_default(),
            status: line.map_or_else(|| "not seen".to_owned(), |line| line.status.clone()),
            reason: verdict.and_then(|verdict| verdict.reason.clone()).unwrap_or_default(),
            why: match verdict {
                Some(verdict) => verdict.summary.clone(),
                None => line.and_then(|line| line.waiting_reason.clone()).unwrap_or_default(),
            },
            verdicts,
            expected: expected
                .into_iter()
                .map(|(status, reason)| words(status, reason))
                .collect(),
            diagnosis,
        }
    }
}

/// `fail (said_done_not_there)`.
fn words(status: Status, reason: Reason) -> String {
    format!("{} ({})", status.as_str(), reason.as_str())
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
