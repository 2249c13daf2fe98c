//! `aftercall coverage`: whether every session of every source is accounted for, and what the latest scans found.

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    context::Context,
    escape,
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    summary, when,
};
use crate::{
    operate::coverage::{CoverageLine, Facts},
    store::inspect::coverage::Coverage as Counted,
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall coverage
  $ aftercall coverage --cycles 20
  $ aftercall coverage --json";

/// Shows whether every session is accounted for: seen = verdicts + waiting + skipped + errors
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Coverage {
    /// So many of the latest discovery cycles of each source
    #[arg(long, default_value_t = 5, value_name = "N")]
    cycles: u32,
}

impl Coverage {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let db = context.open_existing().await?;
        let config = context.config_to_look()?;
        let lines = Facts::read(&db, self.cycles).await?.lines(&config);
        let now = db.now().await?;
        context.out.print(&lines, |out| text(out, &lines, now))
    }
}

fn text(out: &Output, lines: &[CoverageLine], now: DateTime<Utc>) -> String {
    let counted: Vec<Counted> = lines.iter().map(|line| line.counted.clone()).collect();
    let mut parts = vec![summary::table(out, &counted)];
    let notes: Vec<String> = lines.iter().flat_map(notes).collect();
    if !notes.is_empty() {
        parts.push(escape::visible_lines(&notes.join("\n")));
    }
    if lines.iter().any(|line| !line.cycles.is_empty()) {
        parts.push(cycles_table(out, lines, now));
    }
    parts.join("\n\n")
}

/// What the numbers do not say, and what to do about it.
fn notes(line: &CoverageLine) -> Vec<String> {
    let name = &line.counted.source;
    let mut notes = Vec::new();
    match line.scanned {
        "off" => notes.push(format!("{name} is switched off (enabled = false): nobody scans it")),
        "not_configured" => notes.push(format!(
            "{name} is not in the configuration: nobody scans it, and what is left of it waits for its [[source]]"
        )),
        _ => {}
    }
    for (reason, sessions) in &line.counted.waiting_for {
        notes.push(format!("{name}: {sessions} session(s) wait: {reason}"));
    }
    if line.loose_traces > 0 && line.group_without_session {
        notes.push(format!(
            "{name}: {} trace(s) without a session id are made into sessions once they rest",
            line.loose_traces
        ));
    } else if line.loose_traces > 0 {
        notes.push(format!(
            "{name}: {} trace(s) without a session id belong to no session and are not judged: set group_without_session = true on [[source]] {name}, or session ids in the application",
            line.loose_traces
        ));
    }
    if line.changed_and_not_judged_again > 0 {
        notes.push(format!(
            "{name}: {} session(s) went on after their verdict and are not judged again (reanalyze = \"never\"): `aftercall reprocess` judges them",
            line.changed_and_not_judged_again
        ));
    }
    if line.counted.unexplained > 0 {
        notes.push(format!(
            "{name}: {} session(s) have neither a verdict nor a reason to wait, which is a fault of aftercall: please report it",
            line.counted.unexplained
        ));
    }
    notes
}

fn cycles_table(out: &Output, lines: &[CoverageLine], now: DateTime<Utc>) -> String {
    let mut grid = Grid::new([
        "source", "scanned", "took", "seen", "new", "settled", "reopened", "waiting", "faults", "checked", "passed",
        "failed", "skipped", "errors", "error",
    ]);
    for line in lines {
        for cycle in &line.cycles {
            let took = match cycle.finished_at {
                Some(end) => when::age(end, cycle.started_at),
                None => format!("{} so far", when::age(now, cycle.started_at)),
            };
            grid.row([
                Cell::from(&line.counted.source),
                Cell::from(when::instant(cycle.started_at)),
                Cell::from(took),
                Cell::count(cycle.counts.seen),
                Cell::count(cycle.counts.new),
                Cell::count(cycle.counts.settled),
                Cell::count(cycle.counts.reopened),
                Cell::count(cycle.counts.waiting),
                Cell::count(cycle.counts.faults),
                Cell::count(cycle.checked),
                Cell::count(cycle.passed),
                Cell::count(cycle.failed),
                Cell::count(cycle.skipped),
                Cell::count(cycle.errors),
                Cell::toned(cycle.error.clone().unwrap_or_default(), Tone::Warn),
            ]);
        }
    }
    out.table(&grid)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{self, Config, Overrides};
    use crate::store::{inspect::cycles::CycleLine, sources::CycleCounts};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn config() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("aftercall.toml");
        let source = |name: &str, more: &str| {
            format!("[[source]]\nname = '{name}'\nkind = 'bundle'\npath = 'b.jsonl'\nplaybook = 'airline'\n{more}\n")
        };
        let text = source("calls", "reanalyze = 'never'") + &source("chats", "enabled = false");
        std::fs::write(
            &file,
            text + "[[records]]\nname = 'airline'\nkind = 'http'\nbase_url = 'http://127.0.0.1:9'\n",
        )
        .unwrap();
        let config = config::load(Some(&file), &|_| None, Overrides::default()).unwrap();
        (folder, config)
    }

    #[test]
    fn what_the_numbers_do_not_say_is_said_with_what_to_do_about_it() {
        let (_folder, config) = config();
        let cycle = CycleLine {
            started_at: at(100),
            finished_at: None,
            counts: CycleCounts {
                slices: 2,
                seen: 12,
                new: 11,
                settled: 10,
                reopened: 0,
                waiting: 1,
                faults: 0,
            },
            checked: 9,
            passed: 8,
            failed: 1,
            skipped: 0,
            errors: 0,
            error: Some("no \u{1b}[2Jconnection".to_owned()),
        };
        let facts = Facts {
            counted: vec![Counted {
                source: "calls".to_owned(),
                seen: 12,
                pass: 12,
                ..Counted::default()
            }],
            loose: BTreeMap::from([("calls".to_owned(), 7), ("gone".to_owned(), 1)]),
            changed: BTreeMap::from([("calls".to_owned(), 3)]),
            cycles: BTreeMap::from([("calls".to_owned(), vec![cycle])]),
        };
        let lines = facts.lines(&config);
        let scanned: Vec<_> = lines
            .iter()
            .map(|line| (line.counted.source.as_str(), line.scanned))
            .collect();
        assert_eq!(scanned, [("calls", "on"), ("chats", "off"), ("gone", "not_configured")]);
        let text = text(&Output::plain(), &lines, at(160));
        for shown in [
            "calls: 7 trace(s) without a session id",
            "set group_without_session = true on [[source]] calls, or session ids in the application",
            "calls: 3 session(s) went on after their verdict",
            "chats is switched off (enabled = false)",
            "gone is not in the configuration",
            "1m so far",
            "no \\x1b[2Jconnection",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
