//! What each metric is.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::exposition::Gauge;
use crate::{
    queue::{
        Role,
        inspect::{QueueDepth, WorkerRow, gates::GateLine},
    },
    store::inspect::coverage::Coverage,
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

/// Depth, age and pause of each queue.
pub(super) fn of_queues(queues: &[QueueDepth], now: DateTime<Utc>) -> [Gauge; 3] {
    let mut jobs = Gauge::new(
        "aftercall_jobs",
        "Jobs by queue and state. What ended counts until it is pruned.",
        &["queue", "state"],
    );
    let mut oldest = Gauge::new(
        "aftercall_oldest_waiting_seconds",
        "How long the oldest job that could start has waited; 0 when none waits.",
        &["queue"],
    );
    let mut paused = Gauge::new(
        "aftercall_queue_paused",
        "1 while an operator holds the queue.",
        &["queue"],
    );
    for depth in queues {
        for state in STATES {
            let count = depth.by_state.get(state).copied().unwrap_or_default();
            jobs.set([&depth.queue, state], count as f64);
        }
        let waited = depth.oldest_waiting.map(|since| now - since);
        let waited = waited.and_then(|waited| waited.to_std().ok()).unwrap_or_default();
        oldest.set([&depth.queue], waited.as_secs_f64());
        paused.set([&depth.queue], f64::from(u8::from(depth.paused.is_some())));
    }
    [jobs, oldest, paused]
}

/// How much of each limit is used.
pub(super) fn of_limits(queues: &[QueueDepth]) -> [Gauge; 2] {
    let mut running = Gauge::new(
        "aftercall_limit_running",
        "Jobs that run now under a limit, in the whole fleet.",
        &["key"],
    );
    let mut max = Gauge::new(
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

/// Which upstreams are down.
pub(super) fn of_gates(gates: &[GateLine]) -> Gauge {
    let mut shut = Gauge::new(
        "aftercall_gate_shut",
        "1 while an upstream is not called because it is down or closed by hand; 0 for one that was.",
        &["gate"],
    );
    for gate in gates {
        shut.set([&gate.key], f64::from(u8::from(gate.state != "open")));
    }
    shut
}

/// Who is there.
pub(super) fn of_processes(processes: &[WorkerRow], now: DateTime<Utc>, lease: Duration) -> [Gauge; 2] {
    let alive: Vec<&WorkerRow> = processes.iter().filter(|process| process.lives(now, lease)).collect();
    let mut workers = Gauge::new(
        "aftercall_workers_alive",
        "Processes that serve queues and whose sign of life is younger than a lease.",
        &[],
    );
    let serving = alive.iter().filter(|process| !process.queues.is_empty()).count();
    workers.set([], serving as f64);
    let mut by_role = Gauge::new(
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
    [workers, by_role]
}

/// What became of the sessions.
pub(super) fn of_sessions(sources: &[Coverage]) -> [Gauge; 2] {
    let mut sessions = Gauge::new(
        "aftercall_sessions",
        "Sessions seen: done have a verdict, waiting have a reason; unexplained should be 0.",
        &["source", "state"],
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
    }
    let mut verdicts = Gauge::new(
        "aftercall_verdicts",
        "Sessions by their latest verdict, those that are judged again left out.",
        &["status"],
    );
    for (status, total) in totals {
        verdicts.set([status], total as f64);
    }
    [sessions, verdicts]
}
