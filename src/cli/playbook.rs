//! `aftercall playbook`: what a playbook makes of one session, and what ships with the program.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    context::Context,
    escape::{visible, visible_lines},
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    show, wiring,
};
use crate::{
    config::{Overrides, PlaybookName, SourceConfig, url},
    domain::{
        claim::{Claim, ClaimState, Effect},
        lookup::Fact,
        reading::Reading,
        transcript::{Speaker, ToolCall},
    },
    trial::Trial,
};

/// Tries a playbook on a session, or prints one that ships with the program
#[derive(Debug, Args)]
pub(super) struct Playbook {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Test(Box<Test>),
    Show(ShowText),
}

const TEST_EXAMPLE: &str = "\
Examples:
  $ aftercall playbook test mine.toml --session call-7781
  $ aftercall playbook test mine.toml --session call-7781 --bundle sessions.jsonl --records http://127.0.0.1:8090
  $ aftercall playbook test mine.toml --session call-7781 --readings readings.jsonl --json

Shows each stage: turns, tool calls, claims, requests, lookups, comparisons, verdict, and why. Nothing is written and no LLM is
asked: the reading is that of --readings, else the stored one, else the offline classifier's. Without --bundle the session is the
one that the database holds. Systems of record are asked as they are configured.";

/// Shows, for one session and without writing anything, what a playbook makes of it
#[derive(Debug, Args)]
#[command(after_help = TEST_EXAMPLE)]
struct Test {
    /// The playbook: a file, or the name of a built-in
    #[arg(value_name = "FILE|NAME")]
    playbook: String,
    /// The session's id
    #[arg(long, value_name = "ID")]
    session: String,
    /// Its source, where several sources have a session of this id
    #[arg(long, value_name = "NAME", conflicts_with = "bundle")]
    source: Option<String>,
    /// A file that holds the session, in place of the database: observations, one JSON object per line
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Address of the system of record, in place of the configured ones
    #[arg(long, value_name = "URL", value_parser = url::check)]
    records: Option<String>,
    /// Your own readings: JSON Lines of {session_id, intent, confidence, requests, statements}
    #[arg(long, value_name = "FILE")]
    readings: Option<PathBuf>,
}

const SHOW_EXAMPLE: &str = "\
Example:
  $ aftercall playbook show airline > mine.toml";

/// Prints a playbook that ships with the program, to start from
#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLE)]
struct ShowText {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

impl Playbook {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        match self.what {
            What::Test(test) => test.execute(context).await,
            What::Show(show) => {
                let text = wiring::playbook_text(&show.name)?;
                context.out.print(&text, |_| text.to_owned())
            }
        }
    }
}

impl Test {
    async fn execute(self, context: &Context) -> Result<(), Failure> {
        let playbook = PlaybookName::parse(&self.playbook, Path::new(""));
        let mut overrides = Overrides::default();
        if let Some(url) = &self.records {
            overrides.records = wiring::records_at(url, &playbook)?;
        }
        let trial = if let Some(bundle) = &self.bundle {
            if !bundle.is_file() {
                return Err(Failure::Usage(format!(
                    "--bundle: there is no file {}",
                    bundle.display()
                )));
            }
            overrides.source = Some(SourceConfig::bundle(wiring::TRIED, bundle, playbook));
            let config = context.config(overrides)?;
            wiring::try_on_bundle(&config, &self.session, self.readings.as_deref()).await?
        } else {
            let db = context.open_existing().await?;
            let found = crate::store::inspect::session::find(&db, self.source.as_deref(), &self.session).await?;
            let [line] = <[_; 1]>::try_from(found).map_err(|found| show::not_one(&self.session, &found))?;
            // It is read from the database; the source only says which playbook is tried.
            overrides.source = Some(SourceConfig::bundle(wiring::TRIED, "", playbook));
            let config = context.config(overrides)?;
            wiring::try_on_stored(&config, &db, &line.key, self.readings.as_deref()).await?
        };
        context.out.print(&trial, |out| page(out, &trial))
    }
}

fn page(out: &Output, trial: &Trial) -> String {
    let mut page = format!(
        "{}  judged by {} {}\n",
        visible(&trial.session_id),
        visible(&trial.playbook.name),
        trial.playbook.version
    );
    page.push_str(&show::title(out, "1. turns"));
    for turn in &trial.turns {
        let who = match turn.speaker {
            Speaker::Caller => "caller",
            Speaker::Agent => "agent",
        };
        let _ = writeln!(
            page,
            "{:>4} {who:<6} {}",
            turn.index,
            show::short(&Value::from(turn.text.as_str()))
        );
    }
    let mut stage = |name: &str, grid: Grid, none: &str| {
        page.push_str(&show::title(out, name));
        if grid.is_empty() {
            page.push_str(none);
        } else {
            page.push_str(&out.table(&grid));
        }
        page.push('\n');
    };
    stage(
        "2. tool calls",
        calls(&trial.calls),
        "none: does `match` of a [[tool]] fit the observations' names?",
    );
    stage("3. claims", claims(&trial.claims), "none: no [[claim]] fits a call");
    stage("4. requests", requests(&trial.reading), "none was read");
    stage("5. lookups", lookups(trial), "none was needed, or none could be asked");
    let _ = writeln!(
        page,
        "{}intent {} ({:.0} %), read by {}",
        show::title(out, "reading"),
        visible(&trial.reading.intent),
        trial.reading.confidence * 100.0,
        visible(&show::reader(&trial.reader))
    );
    for statement in &trial.reading.statements {
        let says = serde_json::to_value(statement.says).unwrap_or_default();
        let _ = writeln!(
            page,
            "the agent says {}: {}",
            show::short(&says),
            show::short(&Value::from(statement.quote.as_str()))
        );
    }
    let verdict = &trial.verdict;
    page.push_str(&show::title(out, "6. comparisons"));
    page.push_str(&out.table(&show::findings(&verdict.findings)));
    page.push('\n');
    page.push_str(&show::title(out, "7. verdict"));
    let status = verdict.status.as_str();
    let _ = writeln!(
        page,
        "{}, because of {}, severity {}: {}",
        out.paint(status, Tone::of_status(status)),
        verdict.reason.as_str(),
        verdict.severity.as_str(),
        visible_lines(&verdict.summary)
    );
    page
}

fn calls(calls: &[ToolCall]) -> Grid {
    let mut grid = Grid::new(["#", "turn", "tool", "action", "input", "output", "error"]);
    for call in calls {
        grid.row([
            Cell::from(call.order.to_string()),
            Cell::from(call.turn.to_string()),
            Cell::from(&call.tool),
            Cell::from(call.action.clone().unwrap_or_default()),
            Cell::from(show::short(&call.input)),
            Cell::from(show::short(&call.output)),
            Cell::from(call.error.clone().unwrap_or_default()),
        ]);
    }
    grid
}

fn claims(claims: &[Claim]) -> Grid {
    let mut grid = Grid::new(["call", "rule", "what", "state", "fields"]);
    for claim in claims {
        let effect = match claim.effect {
            Effect::Read => "read",
            Effect::Write(operation) => operation.as_str(),
        };
        let mut what = format!("{effect} {}", claim.record);
        for part in [&claim.id, &claim.subject].into_iter().flatten() {
            let _ = write!(what, " {part}");
        }
        let state = match &claim.state {
            ClaimState::Done => "done".to_owned(),
            ClaimState::Promised => "promised".to_owned(),
            ClaimState::Failed { error } => format!("failed: {error}"),
        };
        grid.row([
            Cell::from(claim.order.to_string()),
            Cell::from(&claim.rule),
            Cell::from(what),
            Cell::from(state),
            Cell::from(show::short(&serde_json::to_value(&claim.fields).unwrap_or_default())),
        ]);
    }
    grid
}

fn requests(reading: &Reading) -> Grid {
    let mut grid = Grid::new(["what", "fields", "words", "withdrawn"]);
    for request in &reading.requests {
        let mut what = format!("{} {}", request.operation.as_str(), request.record);
        for part in [&request.id, &request.subject].into_iter().flatten() {
            let _ = write!(what, " {part}");
        }
        grid.row([
            Cell::from(what),
            Cell::from(show::short(&serde_json::to_value(&request.fields).unwrap_or_default())),
            Cell::from(show::short(&Value::from(request.quote.as_str()))),
            Cell::from(if request.withdrawn.is_some() { "yes" } else { "" }),
        ]);
    }
    grid
}

fn lookups(trial: &Trial) -> Grid {
    let mut grid = Grid::new(["system", "record", "asked", "answer"]);
    for asked in &trial.lookups {
        let mut record = asked.lookup.record.clone();
        if let Some(id) = &asked.lookup.id {
            let _ = write!(record, " {id}");
        }
        let answer = match &asked.fact {
            Fact::Found { record } => show::short(record),
            Fact::Absent => "not there".to_owned(),
            Fact::Unknown { reason } => format!("no answer: {reason}"),
        };
        grid.row([
            Cell::from(&asked.lookup.system),
            Cell::from(record),
            Cell::from(asked.request.clone().unwrap_or_default()),
            Cell::from(answer),
        ]);
    }
    grid
}
