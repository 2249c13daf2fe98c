//! What `run --until-idle` says at its end: every session accounted for, and the failures.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    sessions, when,
};
use crate::{
    db::Db,
    pipeline::State,
    queue::inspect::Pending,
    store::inspect::{
        coverage::{self, Coverage, Unreadable},
        sessions::{self as listed, SessionFilter, SessionLine},
    },
};

/// Failures and unreadable places shown at most; `aftercall sessions` has them all.
const SHOWN: u32 = 20;

/// The state of everything.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Nothing is left to do.
    pub(super) idle: bool,
    coverage: Vec<Coverage>,
    pending: Pending,
    failures: Vec<SessionLine>,
    unreadable: Vec<Unreadable>,
    #[serde(skip)]
    now: DateTime<Utc>,
}

impl Summary {
    pub(super) async fn read(db: &Db) -> Result<Self, Failure> {
        let state = State::read(db).await?;
        let failing = SessionFilter {
            statuses: ["fail", "partial", "error"].map(str::to_owned).to_vec(),
            limit: SHOWN,
            ..SessionFilter::default()
        };
        Ok(Self {
            idle: state.is_idle(),
            coverage: coverage::by_source(db).await?,
            pending: state.pending,
            failures: listed::list(db, &failing).await?,
            unreadable: coverage::unreadable(db, SHOWN).await?,
            now: db.now().await?,
        })
    }

    /// Places that cannot be read, and no session beside them: it was the wrong file.
    pub(super) fn is_all_unreadable(&self) -> bool {
        self.coverage.iter().all(|source| source.seen == 0) && !self.unreadable.is_empty()
    }

    /// For people.
    pub(super) fn text(&self, out: &Output) -> String {
        let mut parts = Vec::new();
        if !self.failures.is_empty() {
            parts.push(sessions::rows(out, &self.failures, self.now));
        }
        parts.push(table(out, &self.coverage));
        for source in &self.coverage {
            for (reason, sessions) in &source.waiting_for {
                let line = format!("{sessions} session(s) of {} wait: {reason}", source.source);
                parts.push(super::escape::visible(&line));
            }
        }
        if self.idle && self.coverage.iter().all(|source| source.seen == 0) {
            parts.push("no session was found in what was scanned".to_owned());
        }
        if !self.unreadable.is_empty() {
            let mut grid = Grid::new(["could not be read", "source", "reason"]);
            for place in &self.unreadable {
                grid.row([
                    Cell::from(&place.position),
                    Cell::from(&place.source),
                    Cell::toned(&place.reason, Tone::Warn),
                ]);
            }
            parts.push(out.table(&grid));
        }
        if !self.idle {
            parts.push(left(out, &self.pending, self.now));
        }
        let example = self.failures.first();
        if let Some(line) = example {
            parts.push(super::escape::visible(&format!(
                "Next: aftercall show '{}'",
                line.key.session_id
            )));
        }
        parts.join("\n\n")
    }
}

/// The numbers of each source, as `coverage` prints them, too.
pub(super) fn table(out: &Output, coverage: &[Coverage]) -> String {
    let mut grid = Grid::new([
        "source",
        "seen",
        "pass",
        "partial",
        "fail",
        "skipped",
        "error",
        "waiting",
        "unexplained",
        "unreadable",
    ]);
    for source in coverage {
        grid.row([
            Cell::from(&source.source),
            Cell::count(source.seen),
            Cell::count(source.pass),
            Cell::count(source.partial),
            Cell::count(source.fail),
            Cell::count(source.skipped),
            Cell::count(source.error),
            Cell::count(source.waiting),
            Cell::count(source.unexplained),
            Cell::count(source.unreadable),
        ]);
    }
    if grid.is_empty() {
        "no sessions were found".to_owned()
    } else {
        out.table(&grid)
    }
}

/// What is left, and why.
pub(super) fn left(out: &Output, pending: &Pending, now: DateTime<Utc>) -> String {
    let mut grid = Grid::new(["left", "queue", "when", "why"]);
    if pending.running + pending.due_now > 0 {
        grid.row([
            Cell::count(pending.running + pending.due_now),
            Cell::from(""),
            Cell::from("now"),
            Cell::from("running, or ready as soon as a limit or a pause allows"),
        ]);
    }
    for later in &pending.later {
        grid.row([
            Cell::count(later.count),
            Cell::from(&later.queue),
            Cell::from(when::until(now, later.earliest)),
            Cell::from(later.reason.clone().unwrap_or_default()),
        ]);
    }
    if grid.is_empty() {
        "sessions wait to settle".to_owned()
    } else {
        out.table(&grid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::inspect::Later;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn the_summary_accounts_for_every_session_and_says_what_is_left_and_why() {
        let summary = Summary {
            idle: false,
            coverage: vec![Coverage {
                source: "calls".to_owned(),
                seen: 12,
                pass: 9,
                waiting: 3,
                ..Coverage::default()
            }],
            pending: Pending {
                running: 1,
                due_now: 1,
                later: vec![Later {
                    queue: "verify_session".to_owned(),
                    count: 2,
                    earliest: at(160),
                    reason: Some("look again".to_owned()),
                }],
            },
            failures: Vec::new(),
            unreadable: vec![Unreadable {
                source: "calls".to_owned(),
                position: "line 7".to_owned(),
                reason: "not \u{1b}[2JJSON".to_owned(),
                seen_at: at(100),
            }],
            now: at(100),
        };
        let text = summary.text(&Output::plain());
        for shown in [
            "calls",
            "12",
            "9",
            "3",
            "verify_session",
            "in 1m",
            "look again",
            "line 7",
            "not \\x1b[2JJSON",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
