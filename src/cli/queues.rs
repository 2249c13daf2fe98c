//! `aftercall queues`: depth, age, limits, pauses and pace of every queue, and the upstreams that hold jobs.
//!
//! It costs the database nothing that shows: depths and paces are counters, and what stands beside them is found by an index.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    context::Context,
    failure::Failure,
    gate,
    output::{Cell, Grid, Output, Tone},
    when,
};
use crate::{
    operate::queues::QueueLine,
    queue::inspect::{
        QueueDepth,
        gates::GateLine,
        pace::{Pace, Trend},
    },
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall queues
  $ aftercall queues --api https://aftercall.example --token-file ~/.aftercall-token   # of a fleet elsewhere
  $ aftercall queues --json | jq '.[] | select(.paused)'
  $ aftercall queues --json | jq '.[] | select(.pace.trend == \"growing\") | {queue, pace}'";

/// Shows every queue: depth by state, oldest age, what runs, limits, pauses, and the pace of the last 15 minutes
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Queues {}

impl Queues {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let desk = context.desk().await?;
        let shown = desk.queues().await?;
        let mut gates = desk.gates().await?;
        gates.retain(|gate| gate.state != "open");
        let now = desk.now().await?;
        context.out.print(&shown, |out| table(out, &shown, &gates, now))
    }
}

fn table(out: &Output, queues: &[QueueLine], gates: &[GateLine], now: DateTime<Utc>) -> String {
    if queues.is_empty() {
        return "no queue has any job yet".to_owned();
    }
    let mut grid = Grid::new([
        "queue",
        "ready",
        "oldest",
        "held",
        "later",
        "retry",
        "done",
        "cancelled",
        "discarded",
        "running",
    ])
    .first_unbroken();
    let mut paused = Grid::new(["paused", "for", "by", "why"]).first_unbroken();
    for QueueLine { depth, .. } in queues {
        let count = |state: &str| Cell::count(depth.by_state.get(state).copied().unwrap_or_default());
        let held: u64 = depth.held.values().sum();
        let scheduled = depth.by_state.get("scheduled").copied().unwrap_or_default();
        if let Some(pause) = &depth.paused {
            paused.row([
                Cell::from(&depth.queue),
                Cell::toned(when::age(now, pause.at), Tone::Warn),
                Cell::from(&pause.by),
                Cell::from(&pause.reason),
            ]);
        }
        grid.row([
            Cell::from(&depth.queue),
            count("available"),
            Cell::from(
                depth
                    .oldest_waiting
                    .map(|oldest| when::age(now, oldest))
                    .unwrap_or_default(),
            ),
            Cell::count(held),
            Cell::count(scheduled.saturating_sub(held)),
            count("retryable"),
            count("completed"),
            count("cancelled"),
            count("discarded"),
            Cell::from(running(depth)),
        ]);
    }
    let mut text = out.table(&grid);
    for more in [paused, paces(queues)] {
        if !more.is_empty() {
            text.push_str("\n\n");
            text.push_str(&out.table(&more));
        }
    }
    if !gates.is_empty() {
        text.push_str("\n\n");
        text.push_str(&gate::table(out, gates, now));
    }
    let mut running = Grid::new(["running", "partition", "attempt", "for", "on"]);
    for job in queues.iter().flat_map(|queue| &queue.depth.running) {
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
    let mut waiting = Grid::new(["later", "queue", "next", "why"]);
    for group in queues.iter().flat_map(|queue| &queue.later) {
        waiting.row([
            Cell::count(group.count),
            Cell::from(&group.queue),
            Cell::from(when::until(now, group.earliest)),
            Cell::toned(group.reason.clone().unwrap_or_default(), Tone::Warn),
        ]);
    }
    if !waiting.is_empty() {
        text.push_str("\n\n");
        text.push_str(&out.table(&waiting));
    }
    text
}

/// How fast jobs came and went in the last minutes, how long they had waited, and where that goes.
fn paces(queues: &[QueueLine]) -> Grid {
    let mut grid = Grid::new([
        "last 15 min",
        "in/min",
        "out/min",
        "starts",
        "waited p50",
        "p95",
        "trend",
    ])
    .first_unbroken();
    for QueueLine { depth, .. } in queues {
        let Pace {
            came,
            went,
            started,
            in_per_minute,
            out_per_minute,
            wait_p50_us,
            wait_p95_us,
            before,
            now,
            trend,
            seconds: _,
        } = depth.pace;
        if came == 0 && went == 0 && started == 0 {
            continue;
        }
        let tone = match trend {
            Trend::Growing => Tone::Warn,
            Trend::Shrinking | Trend::Steady => Tone::Plain,
        };
        grid.row([
            Cell::from(&depth.queue),
            Cell::number(rate(in_per_minute)),
            Cell::number(rate(out_per_minute)),
            Cell::count(started),
            Cell::number(wait_p50_us.map(waited).unwrap_or_default()),
            Cell::number(wait_p95_us.map(waited).unwrap_or_default()),
            Cell::toned(format!("{}, {before} → {now}", trend.as_str()), tone),
        ]);
    }
    grid
}

/// `12`, `3.4`, `0.07`: three digits are enough.
fn rate(per_minute: f64) -> String {
    match per_minute {
        0.0 => "·".to_owned(),
        ..0.995 => format!("{per_minute:.2}"),
        ..99.5 => format!("{per_minute:.1}"),
        _ => format!("{per_minute:.0}"),
    }
}

/// `≤ 3ms`: where a bucket ends, rounded up to milliseconds or seconds.
fn waited(up_to_us: i64) -> String {
    let up_to = up_to_us.unsigned_abs();
    let step = if up_to < 1_000_000 { 1_000 } else { 1_000_000 };
    let up_to = up_to.div_ceil(step).saturating_mul(step);
    format!("≤ {}", when::rough(Duration::from_micros(up_to)))
}

/// How many run, of how many that may: `3/3, 2/3 starts in 5m`; per partition with its name. A lowered limit drains: `3/1`.
fn running(depth: &QueueDepth) -> String {
    let QueueDepth { queue, limits, .. } = depth;
    if limits.is_empty() {
        return depth.running.len().to_string();
    }
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
                let window = Duration::from_micros(window.unsigned_abs());
                format!(", {used}/{max} starts in {}", when::rough(window))
            }
            _ => String::new(),
        };
        let max = limit.max_running.map_or("no limit".to_owned(), |max| max.to_string());
        format!("{name}{}/{max}{rate}{pinned}", limit.running)
    });
    shown.collect::<Vec<String>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::queue::inspect::{Later, LimitUse, Pause, QueueDepth, RunningJob};

    #[test]
    fn a_queue_shows_what_holds_it() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let depth = QueueDepth {
            queue: "diagnose_session".to_owned(),
            by_state: BTreeMap::from([
                ("available".to_owned(), 4),
                ("running".to_owned(), 3),
                ("scheduled".to_owned(), 26),
            ]),
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
                max_running: Some(1),
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
            held: BTreeMap::from([("llm:default".to_owned(), 26)]),
            pace: Pace {
                seconds: 880.0,
                came: 50,
                went: 17,
                started: 18,
                in_per_minute: 3.41,
                out_per_minute: 1.16,
                wait_p50_us: Some(9_313),
                wait_p95_us: Some(44_408_920),
                before: 0,
                now: 33,
                trend: Trend::Growing,
            },
        };
        let gate = GateLine {
            key: "llm:default".to_owned(),
            state: "closed".to_owned(),
            reason: Some("billing_exhausted".to_owned()),
            detail: Some("status 402\u{1b}[2J".to_owned()),
            failures: 7,
            closed_at: Some(at(0)),
            probe_at: Some(at(150)),
            probe_job: None,
            opened_at: None,
            held: BTreeMap::from([("diagnose_session".to_owned(), 26)]),
        };
        let later = vec![Later {
            queue: "diagnose_session".to_owned(),
            count: 26,
            earliest: at(180),
            reason: Some("llm:default is not available".to_owned()),
        }];
        let text = table(&Output::plain(), &[QueueLine { depth, later }], &[gate], at(120));
        for shown in [
            "diagnose_session",
            "2m",
            "3/1, 2/3 starts in 5m (set by hand)",
            "1m30s",
            "ops",
            "incident 7",
            "host-1",
            "p\\x1b[2J",
            "26",
            "in 1m",
            "llm:default is not available",
            "billing_exhausted",
            "status 402\\x1b[2J",
            "in 30s",
            "3.4",
            "≤ 10ms",
            "≤ 45s",
            "growing, 0 → 33",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
    }
}
