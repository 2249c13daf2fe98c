//! What each metric is.

mod freshness;
mod space;
mod totals;

pub(super) use self::{
    freshness::{of_last_verdict, of_schedules, of_sources},
    space::of_space,
    totals::{of_attempts, of_calls_under_way, of_llm_calls, of_lookups, of_verdicts, of_webhooks},
};

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::exposition::Metric;
use crate::{
    queue::{
        Role,
        inspect::{QueueDepth, WorkerRow, gates::GateLine},
    },
    store::{inspect::coverage::Coverage, totals::OTHER},
};

/// Every state that a job can be in: one that nothing is in is zero, and does not vanish.
const STATES: [&str; 7] = [
    "available",
    "scheduled",
    "retryable",
    "running",
    "completed",
    "cancelled",
    "discarded",
];

/// A process that has been silent for longer is history.
const SILENT_MOST: TimeDelta = TimeDelta::days(1);

/// Depth, age and pause of each queue.
pub(super) fn of_queues(queues: &[QueueDepth], now: DateTime<Utc>) -> [Metric; 3] {
    let mut jobs = Metric::gauge(
        "aftercall_jobs",
        "Jobs by queue and state. What ended counts until it is pruned.",
        &["queue", "state"],
    );
    let mut oldest = Metric::gauge(
        "aftercall_oldest_waiting_seconds",
        "How long the oldest job that could start has waited; 0 when none waits.",
        &["queue"],
    );
    let mut paused = Metric::gauge(
        "aftercall_queue_paused",
        "1 while an operator holds the queue.",
        &["queue"],
    );
    for depth in queues {
        for state in STATES {
            let count = depth.by_state.get(state).copied().unwrap_or_default();
            jobs.set([&depth.queue, state], count as f64);
        }
        oldest.set([&depth.queue], age(depth.oldest_waiting, now));
        paused.set([&depth.queue], f64::from(u8::from(depth.paused.is_some())));
    }
    [jobs, oldest, paused]
}

/// How much of each limit is used.
pub(super) fn of_limits(queues: &[QueueDepth]) -> [Metric; 2] {
    let mut running = Metric::gauge(
        "aftercall_limit_running",
        "Jobs that run now under a limit, in the whole fleet.",
        &["key"],
    );
    let mut max = Metric::gauge(
        "aftercall_limit_max",
        "Jobs that may run at once under a limit, in the whole fleet; +Inf for as many as there are.",
        &["key"],
    );
    for limit in queues.iter().flat_map(|depth| &depth.limits) {
        running.set([&limit.key], limit.running as f64);
        max.set([&limit.key], limit.max_running.map_or(f64::INFINITY, f64::from));
    }
    [running, max]
}

/// Every state that a gate can be in.
const GATE_STATES: [&str; 3] = ["open", "half_open", "closed"];

/// Which upstreams are down.
pub(super) fn of_gates(gates: &[GateLine], now: DateTime<Utc>) -> [Metric; 4] {
    let mut shut = Metric::gauge(
        "aftercall_gate_shut",
        "1 while an upstream is not called because it is down or closed by hand; 0 for one that was.",
        &["gate"],
    );
    let mut states = Metric::gauge(
        "aftercall_gate_state",
        "1 for the state that a gate is in, 0 for the others.",
        &["gate", "state"],
    );
    let mut closed = Metric::gauge(
        "aftercall_gate_closed_seconds",
        "Since when a gate is shut, and why; no sample while it is open.",
        &["gate", "reason"],
    );
    let mut held = Metric::gauge("aftercall_gate_held_jobs", "Jobs that a gate holds.", &["gate"]);
    for gate in gates {
        let is_shut = gate.state != "open";
        shut.set([&gate.key], f64::from(u8::from(is_shut)));
        for state in GATE_STATES {
            states.set([&gate.key, state], f64::from(u8::from(gate.state == state)));
        }
        held.set([&gate.key], gate.held_jobs() as f64);
        if is_shut {
            let reason = coded(gate.reason.as_deref().unwrap_or_default());
            closed.set([&gate.key, reason], age(gate.closed_at, now));
        }
    }
    [shut, states, closed, held]
}

/// A reason as a label. Codes are words of the program; whatever else stands there must not become a series each.
fn coded(reason: &str) -> &str {
    let is_code = reason.len() <= 32 && reason.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_code && !reason.is_empty() { reason } else { OTHER }
}

/// Seconds since then; 0 for never.
fn age(since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> f64 {
    let age = since.and_then(|since| (now - since).to_std().ok());
    age.unwrap_or_default().as_secs_f64()
}

/// Who is there.
pub(super) fn of_processes(processes: &[WorkerRow], now: DateTime<Utc>, lease: Duration) -> [Metric; 3] {
    let alive: Vec<&WorkerRow> = processes.iter().filter(|process| process.lives(now, lease)).collect();
    let mut workers = Metric::gauge(
        "aftercall_workers_alive",
        "Processes that serve queues and whose sign of life is younger than a lease.",
        &[],
    );
    let serving = alive.iter().filter(|process| !process.queues.is_empty()).count();
    workers.set([], serving as f64);
    let mut by_role = Metric::gauge(
        "aftercall_processes_alive",
        "Processes by role whose sign of life is younger than a lease.",
        &["role"],
    );
    for role in Role::ALL {
        let of_role = alive
            .iter()
            .filter(|process| Role::of(process.role.as_deref()) == Some(role));
        by_role.set([role.as_str()], of_role.count() as f64);
    }
    let mut silent = Metric::gauge(
        "aftercall_processes_silent",
        "Processes that fell silent for longer than a lease within the last day, and never said goodbye.",
        &[],
    );
    let gone = processes.iter().filter(|process| {
        process.stopped_at.is_none() && !process.lives(now, lease) && now - process.last_seen_at < SILENT_MOST
    });
    silent.set([], gone.count() as f64);
    [workers, by_role, silent]
}

/// What became of the sessions.
pub(super) fn of_sessions(sources: &[Coverage]) -> [Metric; 3] {
    let mut sessions = Metric::gauge(
        "aftercall_sessions",
        "Sessions seen: done have a verdict, waiting have a reason; unexplained should be 0.",
        &["source", "state"],
    );
    let mut gap = Metric::gauge(
        "aftercall_coverage_gap",
        "What has no verdict: sessions that wait (with a reason), sessions that are unexplained (should be 0), and places of the \
         source that are unreadable.",
        &["source", "kind"],
    );
    let mut totals = [
        ("pass", 0_u64),
        ("partial", 0),
        ("fail", 0),
        ("skipped", 0),
        ("error", 0),
    ];
    for source in sources {
        let counts = [source.pass, source.partial, source.fail, source.skipped, source.error];
        for (total, count) in totals.iter_mut().zip(counts) {
            total.1 += count;
        }
        for (state, count) in [
            ("done", counts.iter().sum()),
            ("waiting", source.waiting),
            ("unexplained", source.unexplained),
        ] {
            sessions.set([&source.source, state], count as f64);
        }
        for (kind, count) in [
            ("waiting", source.waiting),
            ("unexplained", source.unexplained),
            ("unreadable", source.unreadable),
        ] {
            gap.set([&source.source, kind], count as f64);
        }
    }
    let mut verdicts = Metric::gauge(
        "aftercall_verdicts",
        "Sessions by their latest verdict, those that are judged again left out.",
        &["status"],
    );
    for (status, total) in totals {
        verdicts.set([status], total as f64);
    }
    [sessions, gap, verdicts]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_label_only_where_it_is_a_word_of_the_program() {
        assert_eq!(coded("billing_exhausted"), "billing_exhausted");
        for other in [
            "",
            "Session s-1 said no",
            "a\"b",
            "a_word_that_is_far_too_long_to_be_one_of_ours",
        ] {
            assert_eq!(coded(other), OTHER, "{other:?}");
        }
    }

    #[test]
    fn an_age_is_never_below_zero() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        let now = at(100).unwrap();
        assert_eq!((age(at(40), now), age(at(101), now), age(None, now)), (60.0, 0.0, 0.0));
    }
}
