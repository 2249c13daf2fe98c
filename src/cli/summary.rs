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
    queue::inspect::{self, Pending},
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
        let pending = inspect::pending_work(db).await?;
        let coverage = coverage::by_source(db).await?;
        let failing = SessionFilter {
            statuses: ["fail", "partial", "error"].map(str::to_owned).to_vec(),
            limit: SHOWN,
            ..SessionFilter::default()
        };
        Ok(Self {
            idle: is_idle(&pending, &coverage),
            coverage,
            pending,
            failures: listed::list(db, &failing).await?,
            unreadable: coverage::unreadable(db, SHOWN).await?,
            now: db.now().await?,
        })
    }

    /// For people.
    pub(super) fn text(&self, out: &Output) -> String {
        let mut parts = Vec::new();
        if !self.failures.is_empty() {
            parts.push(sessions::rows(out, &self.failures, self.now));
        }
        parts.push(table(out, &self.coverage));
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

/// Nothing runs, waits for its turn or its time, and every session has its verdict.
pub(super) fn is_idle(pending: &Pending, coverage: &[Coverage]) -> bool {
    pending.is_empty()
        && coverage
            .iter()
            .all(|source| source.waiting == 0 && source.unexplained == 0)
}

fn table(out: &Output, coverage: &[Coverage]) -> String {
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
            Cell::from("running, or ready as soon as a limit allows"),
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

    fn source(waiting: u64) -> Coverage {
        Coverage {
            source: "calls".to_owned(),
            seen: 12,
            pass: 12 - waiting,
            waiting,
            ..Coverage::default()
        }
    }

    #[test]
    fn it_is_idle_only_when_every_session_has_its_verdict_and_no_work_is_due_later() {
        let nothing = Pending::default();
        let later = Pending {
            later: vec![inspect::Later {
                queue: "verify_session".to_owned(),
                count: 2,
                earliest: DateTime::from_timestamp(160, 0).unwrap(),
                reason: Some("look again".to_owned()),
            }],
            ..Pending::default()
        };
        assert!(is_idle(&nothing, &[source(0)]));
        assert!(!is_idle(&nothing, &[source(1)]));
        assert!(!is_idle(&later, &[source(0)]));
        let text = left(&Output::plain(), &later, DateTime::from_timestamp(100, 0).unwrap());
        assert!(
            text.contains("verify_session") && text.contains("in 1m") && text.contains("look again"),
            "{text}"
        );
    }
}
