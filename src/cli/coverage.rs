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
    operate::coverage::{CoverageLine, Scanned},
    store::inspect::{
        coverage::Coverage as Counted,
        remainders::{Accounted, Kind, Remainder},
    },
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall coverage
  $ aftercall coverage --by day --days 3
  $ aftercall coverage --cycles 20
  $ aftercall coverage --json | jq '.[] | select(.unexplained > 0)'

A day is one in UTC, and a session is of the day of its first activity.";

/// Shows whether every session is accounted for: seen = verdicts + waiting + skipped + errors
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Coverage {
    /// So many of the latest discovery cycles of each source
    #[arg(long, default_value_t = 5, value_name = "N")]
    cycles: u32,
    /// By source and day, instead of by source
    #[arg(long, value_name = "WHAT", value_parser = ["day"])]
    by: Option<String>,
    /// So many days, today among them
    #[arg(long, value_name = "N", default_value_t = 7, requires = "by", value_parser = clap::value_parser!(u32).range(1..=3_660))]
    days: u32,
}

impl Coverage {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let desk = context.desk().await?;
        if self.by.is_some() {
            let days = desk.coverage_by_day(self.days).await?;
            return context.out.print(&days, |out| days_text(out, &days));
        }
        let lines = desk.coverage(self.cycles).await?;
        let now = desk.now().await?;
        context.out.print(&lines, |out| text(out, &lines, now))
    }
}

fn text(out: &Output, lines: &[CoverageLine], now: DateTime<Utc>) -> String {
    let counted: Vec<Counted> = lines.iter().map(|line| line.counted.clone()).collect();
    let mut parts = vec![summary::table(out, &counted)];
    let mut left = Grid::new(["source", "what", "sessions", "why", "one of them", "what to do"]);
    for line in lines {
        for remainder in &line.remainders {
            let mut row = vec![Cell::from(&line.counted.source)];
            row.extend(cells(remainder));
            left.row(row);
        }
    }
    if !left.is_empty() {
        parts.push(out.table(&left));
    }
    let notes: Vec<String> = lines.iter().flat_map(notes).collect();
    if !notes.is_empty() {
        parts.push(escape::visible_lines(&notes.join("\n")));
    }
    if lines.iter().any(|line| !line.cycles.is_empty()) {
        parts.push(cycles_table(out, lines, now));
    }
    parts.join("\n\n")
}

fn cells(remainder: &Remainder) -> [Cell; 5] {
    let tone = match remainder.kind {
        Kind::Unexplained | Kind::Error => Tone::Bad,
        Kind::Waiting => Tone::Warn,
        Kind::Skipped => Tone::Dim,
    };
    [
        Cell::toned(remainder.kind.as_str(), tone),
        Cell::count(remainder.sessions),
        Cell::from(&remainder.reason),
        Cell::from(&remainder.example),
        Cell::from(&remainder.act),
    ]
}

/// By source and day.
fn days_text(out: &Output, days: &[Accounted]) -> String {
    if days.is_empty() {
        return "no session began on these days (UTC)".to_owned();
    }
    let mut grid = Grid::new([
        "source",
        "day (UTC)",
        "seen",
        "pass",
        "partial",
        "fail",
        "skipped",
        "error",
        "waiting",
        "unexplained",
    ]);
    let mut left = Grid::new([
        "source",
        "day (UTC)",
        "what",
        "sessions",
        "why",
        "one of them",
        "what to do",
    ]);
    for accounted in days {
        let day = accounted.day.map(|day| day.to_string()).unwrap_or_default();
        let name = [Cell::from(&accounted.source), Cell::from(day)];
        let counts = [
            accounted.seen,
            accounted.pass,
            accounted.partial,
            accounted.fail,
            accounted.skipped,
            accounted.error,
            accounted.waiting,
            accounted.unexplained,
        ];
        grid.row(
            name.iter()
                .cloned()
                .chain(counts.map(Cell::count))
                .collect::<Vec<Cell>>(),
        );
        for remainder in &accounted.remainders {
            left.row(name.iter().cloned().chain(cells(remainder)).collect::<Vec<Cell>>());
        }
    }
    let mut text = out.table(&grid);
    if !left.is_empty() {
        text.push_str("\n\n");
        text.push_str(&out.table(&left));
    }
    text
}

/// What the numbers do not say, and what to do about it.
fn notes(line: &CoverageLine) -> Vec<String> {
    let name = &line.counted.source;
    let mut notes = Vec::new();
    match line.scanned {
        Scanned::Off => notes.push(format!("{name} is switched off (enabled = false): nobody scans it")),
        Scanned::NotConfigured => notes.push(format!(
            "{name} is not in the configuration: nobody scans it, and what is left of it waits for its [[source]]"
        )),
        Scanned::On => {}
    }
    if let Some(place) = line.unreadable_places.first() {
        notes.push(format!(
            "{name}: {} place(s) could not be read, the latest at {}: {}; mend it, and scan again: `aftercall enqueue discover {name}`",
            line.counted.unreadable, place.position, place.reason
        ));
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
        let named = line.unexplained_sessions.iter();
        let named: Vec<String> = named
            .map(|session| format!("{} ({})", session.session_id, session.state))
            .collect();
        notes.push(format!(
            "{name}: {} session(s) have neither a verdict nor a reason to wait, which is a fault of aftercall: please report it: {}",
            line.counted.unexplained,
            named.join(", ")
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
    use crate::operate::coverage::Facts;
    use crate::store::inspect::{coverage::Unreadable, remainders::Unexplained};
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
                pass: 9,
                waiting: 2,
                unexplained: 1,
                unreadable: 3,
                ..Counted::default()
            }],
            remainders: vec![accounted()],
            unexplained: vec![Unexplained {
                source: "calls".to_owned(),
                session_id: "lost\u{1b}[2J".to_owned(),
                state: "settled".to_owned(),
            }],
            unreadable: vec![Unreadable {
                source: "calls".to_owned(),
                position: "line 7".to_owned(),
                reason: "not JSON".to_owned(),
                seen_at: at(90),
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
        assert_eq!(
            scanned,
            [
                ("calls", Scanned::On),
                ("chats", Scanned::Off),
                ("gone", Scanned::NotConfigured)
            ]
        );
        let text = text(&Output::plain(), &lines, at(160));
        for shown in [
            "calls: 7 trace(s) without a session id",
            "set group_without_session = true on [[source]] calls, or session ids in the application",
            "calls: 3 session(s) went on after their verdict",
            "chats is switched off (enabled = false)",
            "gone is not in the configuration",
            "1m so far",
            "no \\x1b[2Jconnection",
            "looked 1 of 4 times",
            "calls: 3 place(s) could not be read, the latest at line 7: not JSON",
            "aftercall why w1 --source calls",
            "please report it: lost\\x1b[2J (settled)",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    fn accounted() -> Accounted {
        Accounted {
            source: "calls".to_owned(),
            day: chrono::NaiveDate::from_ymd_opt(2026, 3, 14),
            seen: 11,
            pass: 9,
            waiting: 2,
            remainders: vec![Remainder {
                kind: Kind::Waiting,
                reason: "not found yet: looked 1 of 4 times".to_owned(),
                sessions: 2,
                example: "w1".to_owned(),
                act: "aftercall why w1 --source calls".to_owned(),
            }],
            ..Accounted::default()
        }
    }

    #[test]
    fn a_day_shows_its_sums_and_what_is_left_of_it_and_why() {
        let text = days_text(&Output::plain(), &[accounted()]);
        for shown in ["2026-03-14", "11", "looked 1 of 4 times", "w1", "aftercall why w1"] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(days_text(&Output::plain(), &[]).contains("no session began"));
    }
}
