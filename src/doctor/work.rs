//! The work in the database: what is shut, paused, unserved or not scanned.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Finding, fleet};
use crate::{
    config::{Config, duration},
    db::{Db, DbError},
    ports::UpstreamReason,
    queue::{
        self, Role,
        inspect::{
            self, Pause, WorkerRow,
            gates::{self, GateLine},
            service,
        },
    },
    store::{
        inspect::freshness::{self, Ingestion},
        sources,
    },
};

/// Scans may be so far behind, however often they begin.
const PATIENCE: TimeDelta = TimeDelta::minutes(15);

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
    let processes = inspect::workers(db).await?;
    findings.extend(workers(&processes, &ready, config.queue.lease, now));
    findings.extend(fleet::look(&processes, config.queue.lease, now));
    let ingestion = freshness::ingestion(db).await?;
    let patience = patience(&config.schedule.discover_sessions, now);
    for source in config.sources.iter().filter(|source| source.enabled) {
        let cycle = sources::last_cycle(db, &source.name).await?;
        findings.push(scanned(&source.name, cycle.as_ref(), now));
        let read = ingestion.iter().find(|read| read.source == source.name);
        findings.extend(read.map(|read| delayed(read, patience, now)));
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

/// How far behind scans may be: three times the time between two, and a quarter of an hour at least.
fn patience(schedule: &str, now: DateTime<Utc>) -> TimeDelta {
    let between = queue::parse_schedule(schedule).ok().and_then(|schedule| {
        let mut ticks = schedule.after(&now);
        let first = ticks.next()?;
        Some(ticks.next()? - first)
    });
    between.map_or(PATIENCE, |between| (between * 3).max(PATIENCE))
}

/// Whether what happens in a source is seen in time.
fn delayed(read: &Ingestion, patience: TimeDelta, now: DateTime<Utc>) -> Finding {
    let check = format!("ingestion of {}", read.source);
    let found = format!("what happened until {} ago has been seen", age(now, read.seen_until));
    if now - read.seen_until <= patience {
        return Finding::ok(check, found);
    }
    let advice = if now - read.scanned_at > patience {
        "no scan has begun since: is there a scheduler and a worker, is discover_sessions paused? `aftercall queues` says so"
    } else {
        "its scans do not come to their end: see the checks of its scan and of its gate"
    };
    Finding::warn(check, found, advice)
}

/// From the earlier to the later instant, in whole seconds.
pub(super) fn age(later: DateTime<Utc>, earlier: DateTime<Utc>) -> String {
    let length = (later - earlier).to_std().unwrap_or_default();
    duration::format(Duration::from_secs(length.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn scans_may_be_three_of_their_ticks_behind_and_a_quarter_of_an_hour_at_least() {
        let now = DateTime::UNIX_EPOCH;
        for (schedule, minutes) in [
            ("* * * * *", 15),
            ("*/5 * * * *", 15),
            ("0 * * * *", 180),
            ("no schedule", 15),
        ] {
            assert_eq!(patience(schedule, now), TimeDelta::minutes(minutes), "{schedule}");
        }
        let read = |seen: i64, scanned: i64| Ingestion {
            source: "calls".to_owned(),
            seen_until: now - TimeDelta::minutes(seen),
            scanned_at: now - TimeDelta::minutes(scanned),
        };
        let patience = TimeDelta::minutes(15);
        assert_eq!(delayed(&read(15, 15), patience, now).level, Level::Ok);
        let stuck = delayed(&read(16, 2), patience, now);
        assert_eq!(stuck.level, Level::Warn);
        assert!(stuck.advice.unwrap().contains("do not come to their end"));
        let nobody = delayed(&read(16, 16), patience, now);
        assert!(nobody.advice.unwrap().contains("scheduler"));
    }
}
