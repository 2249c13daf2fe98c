//! `aftercall queues`: depth, age, limits and pauses of every queue.

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    context::Context,
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    when,
};
use crate::queue::inspect::{self, LimitUse, QueueDepth};

const EXAMPLE: &str = "\
Examples:
  $ aftercall queues
  $ aftercall queues --json | jq '.[] | select(.paused)'";

/// Shows every queue: depth by state, oldest age, what runs, limits and pauses
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Queues {}

impl Queues {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let db = context.open_existing().await?;
        let depths = inspect::queue_depths(&db).await?;
        let now = db.now().await?;
        context.out.print(&depths, |out| table(out, &depths, now))
    }
}

fn table(out: &Output, depths: &[QueueDepth], now: DateTime<Utc>) -> String {
    if depths.is_empty() {
        return "no queue has any job yet".to_owned();
    }
    let mut grid = Grid::new([
        "queue",
        "ready",
        "oldest",
        "running",
        "later",
        "retrying",
        "done",
        "cancelled",
        "discarded",
        "limit",
        "",
    ]);
    for depth in depths {
        let count = |state: &str| Cell::count(depth.by_state.get(state).copied().unwrap_or_default());
        let note = match &depth.paused {
            Some(pause) => format!(
                "paused {} ago by {}: {}",
                when::age(now, pause.at),
                pause.by,
                pause.reason
            ),
            None => String::new(),
        };
        grid.row([
            Cell::from(&depth.queue),
            count("available"),
            Cell::from(
                depth
                    .oldest_waiting
                    .map(|oldest| when::age(now, oldest))
                    .unwrap_or_default(),
            ),
            count("running"),
            count("scheduled"),
            count("retryable"),
            count("completed"),
            count("cancelled"),
            count("discarded"),
            Cell::from(limits(&depth.queue, &depth.limits)),
            Cell::toned(note, Tone::Warn),
        ]);
    }
    let mut text = out.table(&grid);
    let mut running = Grid::new(["running", "partition", "attempt", "for", "on"]);
    for job in depths.iter().flat_map(|depth| &depth.running) {
        running.row([
            Cell::from(job.id.to_string()),
            Cell::from(&job.partition),
            Cell::from(job.attempt.to_string()),
            Cell::from(when::age(now, job.started_at)),
            Cell::from(&job.worker),
        ]);
    }
    if !running.is_empty() {
        text.push_str("\n\n");
        text.push_str(&out.table(&running));
    }
    text
}

/// `3/3, 2/3 starts in 5m`; per partition with its name. A lowered limit drains: `3/1`.
fn limits(queue: &str, limits: &[LimitUse]) -> String {
    let shown = limits.iter().map(|limit| {
        let partition = limit
            .key
            .strip_prefix(queue)
            .unwrap_or(&limit.key)
            .trim_start_matches('/');
        let name = if partition.is_empty() {
            String::new()
        } else {
            format!("{partition} ")
        };
        let pinned = if limit.pinned { " (set by hand)" } else { "" };
        let rate = match (limit.rate_max, limit.rate_used, limit.rate_window_us) {
            (Some(max), Some(used), Some(window)) => {
                let window = std::time::Duration::from_micros(window.unsigned_abs());
                format!(", {used}/{max} starts in {}", when::rough(window))
            }
            _ => String::new(),
        };
        format!("{name}{}/{}{rate}{pinned}", limit.running, limit.max_running)
    });
    shown.collect::<Vec<String>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::queue::inspect::{Pause, RunningJob};

    #[test]
    fn a_queue_shows_what_holds_it() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let depth = QueueDepth {
            queue: "diagnose_session".to_owned(),
            by_state: BTreeMap::from([("available".to_owned(), 4), ("running".to_owned(), 3)]),
            oldest_waiting: Some(at(0)),
            running: vec![RunningJob {
                id: uuid::Uuid::nil(),
                partition: "p\u{1b}[2J".to_owned(),
                worker: "host-1".to_owned(),
                started_at: at(60),
                attempt: 2,
            }],
            limits: vec![LimitUse {
                key: "diagnose_session".to_owned(),
                running: 3,
                max_running: 1,
                rate_max: Some(3),
                rate_window_us: Some(300_000_000),
                rate_used: Some(2),
                pinned: true,
            }],
            paused: Some(Pause {
                at: at(30),
                by: "ops".to_owned(),
                reason: "incident 7".to_owned(),
            }),
        };
        let text = table(&Output::plain(), &[depth], at(120));
        for shown in [
            "diagnose_session",
            "2m",
            "3/1, 2/3 starts in 5m (set by hand)",
            "paused 1m30s ago by ops: incident 7",
            "host-1",
            "p\\x1b[2J",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
    }
}
