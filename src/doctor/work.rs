//! The work in the database: what is shut, paused, unserved or not scanned.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};

use super::Finding;
use crate::{
    config::{Config, duration},
    db::{Db, DbError},
    ports::UpstreamReason,
    queue::{
        Role,
        inspect::{
            self, Pause, WorkerRow,
            gates::{self, GateLine},
            service,
        },
    },
    store::sources,
};

pub(super) async fn look(config: &Config, db: &Db) -> Vec<Finding> {
    match read(config, db).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::fail("work", error.to_string(), "see the check `database`")],
    }
}

async fn read(config: &Config, db: &Db) -> Result<Vec<Finding>, DbError> {
    let now = db.now().await?;
    let mut findings = Vec::new();
    let shut: Vec<GateLine> = gates::all(db)
        .await?
        .into_iter()
        .filter(|gate| gate.state != "open")
        .collect();
    if shut.is_empty() {
        findings.push(Finding::ok("gates", "all are open"));
    }
    findings.extend(shut.iter().map(|gate| shut_gate(gate, now)));
    let held = service::paused(db).await?;
    if held.is_empty() {
        findings.push(Finding::ok("queues", "none is paused"));
    }
    findings.extend(held.iter().map(|(queue, pause)| paused(queue, pause, now)));
    // Those of paused queues wait for a person, not for a process.
    let mut ready = service::ready(db).await?;
    ready.retain(|queue, _| !held.contains_key(queue));
    findings.extend(workers(&inspect::workers(db).await?, &ready, config.queue.lease, now));
    for source in config.sources.iter().filter(|source| source.enabled) {
        let cycle = sources::last_cycle(db, &source.name).await?;
        findings.push(scanned(&source.name, cycle.as_ref(), now));
    }
    Ok(findings)
}

fn shut_gate(gate: &GateLine, now: DateTime<Utc>) -> Finding {
    let check = format!("gate {}", gate.key);
    let reason = gate.reason.as_deref().unwrap_or("no reason");
    let next = match gate.probe_at {
        Some(at) if at > now => format!("tried again in {}", age(at, now)),
        Some(_) => "tried again now".to_owned(),
        None => "not tried by itself".to_owned(),
    };
    let detail = gate.detail.as_deref().unwrap_or_default();
    let found = format!(
        "{} ({reason}): {detail}; number of jobs held: {}; {next}",
        gate.state,
        gate.held_jobs()
    );
    let key = &gate.key;
    match UpstreamReason::parse(reason) {
        Some(
            UpstreamReason::AuthInvalid
            | UpstreamReason::BillingExhausted
            | UpstreamReason::ModelUnavailable
            | UpstreamReason::Budget,
        ) => Finding::fail(
            check,
            found,
            format!("mend it, then `aftercall gate open {key}` tries it at once"),
        ),
        None if reason == crate::env::NOT_CONFIGURED => Finding::fail(
            check,
            found,
            "add its section to the configuration again and restart, or cancel its jobs",
        ),
        _ if gate.probe_at.is_none() => Finding::warn(check, found, format!("`aftercall gate open {key}`")),
        _ => Finding::warn(check, found, "it opens by itself when the upstream answers"),
    }
}

fn paused(queue: &str, pause: &Pause, now: DateTime<Utc>) -> Finding {
    Finding::warn(
        format!("queue {queue}"),
        format!("paused {} ago by {}: {}", age(now, pause.at), pause.by, pause.reason),
        format!("`aftercall resume {queue}`"),
    )
}

fn workers(workers: &[WorkerRow], ready: &BTreeMap<String, u64>, lease: Duration, now: DateTime<Utc>) -> Vec<Finding> {
    let live: Vec<&WorkerRow> = workers.iter().filter(|worker| worker.lives(now, lease)).collect();
    let waiting: u64 = ready.values().sum();
    let Some(beat) = live.iter().map(|worker| worker.last_seen_at).max() else {
        let last = workers.iter().map(|worker| worker.last_seen_at).max();
        let last = last.map_or_else(
            || "none ever ran".to_owned(),
            |at| format!("the last was seen {} ago", age(now, at)),
        );
        return vec![Finding::warn(
            "workers",
            format!("none lives, {last}; number of jobs that could run: {waiting}"),
            "start one: `aftercall run`",
        )];
    };
    let mut findings = vec![Finding::ok(
        "workers",
        format!(
            "number that live: {} ({}), last heartbeat {} ago",
            live.len(),
            roles(&live),
            age(now, beat)
        ),
    )];
    if !live
        .iter()
        .any(|worker| Role::of(worker.role.as_deref()).is_some_and(Role::fires_crons))
    {
        findings.push(Finding::warn(
            "scheduler",
            "no process fires the schedules: nothing is scanned, and no alert evaluated",
            "start one: `aftercall scheduler`",
        ));
    }
    for (queue, count) in ready {
        if !live.iter().any(|worker| worker.queues.contains(queue)) {
            findings.push(Finding::fail(
                format!("queue {queue}"),
                format!("no process serves it; number of jobs that wait: {count}"),
                "start a process of the version that made these jobs, or cancel them: `aftercall jobs cancel`",
            ));
        }
    }
    findings
}

/// `1 scheduler, 2 worker`.
fn roles(live: &[&WorkerRow]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for worker in live {
        *counts
            .entry(worker.role.as_deref().unwrap_or(Role::Run.as_str()))
            .or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(role, count)| format!("{count} {role}")).collect();
    counts.join(", ")
}

fn scanned(source: &str, cycle: Option<&sources::LastCycle>, now: DateTime<Utc>) -> Finding {
    let check = format!("scan of {source}");
    let Some(cycle) = cycle else {
        return Finding::ok(check, "not scanned yet");
    };
    let began = age(now, cycle.started_at);
    if let Some(error) = &cycle.error {
        return Finding::warn(
            check,
            format!("the last one began {began} ago and could not finish: {error}"),
            format!("see the checks of source:{source}; it goes on by itself when they hold"),
        );
    }
    if cycle.faults > 0 {
        return Finding::warn(
            check,
            format!(
                "the last one began {began} ago; number of things that could not be read: {}",
                cycle.faults
            ),
            "the log of `aftercall run` and the table `source_faults` name them",
        );
    }
    let state = match cycle.finished_at {
        Some(_) => "finished",
        None => "is under way",
    };
    Finding::ok(
        check,
        format!(
            "the last one began {began} ago and {state}; number of sessions seen: {}",
            cycle.seen
        ),
    )
}

/// From the earlier to the later instant, in whole seconds.
fn age(later: DateTime<Utc>, earlier: DateTime<Utc>) -> String {
    let length = (later - earlier).to_std().unwrap_or_default();
    duration::format(Duration::from_secs(length.as_secs()))
}
