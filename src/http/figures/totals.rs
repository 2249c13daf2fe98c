//! What only grows: a fall would look like a restart.

use crate::{
    http::exposition::Metric,
    store::{
        ends::WebhookEvents,
        totals::{Attempts, Latency, LlmCalls, Verdicts},
    },
};

/// Runs, and the leases that ended because a worker died.
pub(in crate::http) fn of_attempts(attempts: &[Attempts]) -> [Metric; 3] {
    let mut runs = Metric::counter(
        "aftercall_job_attempts_total",
        "Runs of jobs that ended, by what became of them.",
        &["queue", "outcome"],
    );
    let mut busy = Metric::counter(
        "aftercall_job_run_seconds_total",
        "How long runs of jobs took that ended, all together.",
        &["queue", "outcome"],
    );
    let mut rescues = Metric::counter(
        "aftercall_lease_rescues_total",
        "Jobs that were taken from a worker that died, was frozen or lost the database.",
        &["queue"],
    );
    for line in attempts {
        runs.set([&line.queue, &line.outcome], line.attempts as f64);
        busy.set([&line.queue, &line.outcome], line.busy_us as f64 / 1e6);
        if line.outcome == "rescued" {
            rescues.set([&line.queue], line.attempts as f64);
        }
    }
    [runs, busy, rescues]
}

/// Verdicts as they were written.
pub(in crate::http) fn of_verdicts(verdicts: &[Verdicts]) -> Metric {
    let mut written = Metric::counter(
        "aftercall_verdicts_written_total",
        "Verdicts by status and intent; a session that is judged again counts again.",
        &["status", "intent"],
    );
    for line in verdicts {
        written.set([&line.status, &line.intent], line.verdicts as f64);
    }
    written
}

/// What the LLMs were asked, and what that cost.
pub(in crate::http) fn of_llm_calls(calls: &[LlmCalls]) -> [Metric; 3] {
    let mut count = Metric::counter(
        "aftercall_llm_calls_total",
        "Paid calls that ended: answered, failed, or lost with their process.",
        &["purpose", "model", "source", "state"],
    );
    let mut tokens = Metric::counter(
        "aftercall_llm_tokens_total",
        "Tokens of paid calls that were answered.",
        &["purpose", "model", "source", "kind"],
    );
    let mut cost = Metric::counter(
        "aftercall_llm_cost_total",
        "What paid calls cost, in the currency of the configured prices; lost ones count as the most that they may have cost.",
        &["purpose", "model", "source", "state"],
    );
    for line in calls {
        let LlmCalls {
            purpose,
            model,
            source,
            state,
            ..
        } = line;
        count.set([purpose, model, source, state], line.calls as f64);
        if state != "failed" {
            cost.set([purpose, model, source, state], line.cost_micros as f64 / 1e6);
        }
        if state == "answered" {
            tokens.set([purpose, model, source, "prompt"], line.prompt_tokens as f64);
            tokens.set([purpose, model, source, "completion"], line.completion_tokens as f64);
        }
    }
    [count, tokens, cost]
}

/// Requests to webhooks.
pub(in crate::http) fn of_webhooks(events: &[WebhookEvents]) -> Metric {
    let mut count = Metric::counter(
        "aftercall_webhook_events_total",
        "Requests to webhooks by what became of them; refused: their signature was not good; stale: it was of another time.",
        &["source", "shape", "outcome"],
    );
    for line in events {
        count.set([&line.source, &line.shape, &line.outcome], line.events as f64);
    }
    count
}

/// Paid calls that are not answered yet.
pub(in crate::http) fn of_calls_under_way(calls: u64) -> Metric {
    let mut under_way = Metric::gauge(
        "aftercall_llm_calls_under_way",
        "Paid calls that are under way, or whose process died and nobody noticed yet.",
        &[],
    );
    under_way.set([], calls as f64);
    under_way
}

/// How long systems of record take to answer.
pub(in crate::http) fn of_lookups(systems: &[Latency]) -> Metric {
    let mut latency = Metric::histogram(
        "aftercall_lookup_latency_seconds",
        "How long systems of record took to answer, as kept in the evidence.",
        &["system"],
    );
    for line in systems {
        let within = line
            .within
            .iter()
            .map(|(bound_ms, lookups)| (*bound_ms as f64 / 1e3, *lookups as f64));
        latency.observe([&line.system], within, (line.lookups as f64, line.sum_ms as f64 / 1e3));
    }
    latency
}
