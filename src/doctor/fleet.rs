//! The processes: which of them died, are of an older version, or have a clock of their own mind.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Finding, clock, work::age};
use crate::queue::inspect::WorkerRow;

const CHECK: &str = "workers";
/// One that fell silent longer ago is history.
const LATELY: TimeDelta = TimeDelta::days(1);
/// Processes named in one finding.
const NAMED_MOST: usize = 5;

/// All of that, of the processes that live and those that died lately.
pub(super) fn look(workers: &[WorkerRow], lease: Duration, now: DateTime<Utc>) -> Vec<Finding> {
    let live: Vec<&WorkerRow> = workers.iter().filter(|worker| worker.lives(now, lease)).collect();
    let died: Vec<&WorkerRow> = workers
        .iter()
        .filter(|worker| worker.stopped_at.is_none() && !worker.lives(now, lease) && now - worker.last_seen_at < LATELY)
        .collect();
    [died_lately(&died, now), outdated(&live), skewed(&live)]
        .into_iter()
        .flatten()
        .collect()
}

fn died_lately(died: &[&WorkerRow], now: DateTime<Utc>) -> Option<Finding> {
    if died.is_empty() {
        return None;
    }
    let names = named(died, |worker| format!("{} ago", age(now, worker.last_seen_at)));
    Some(Finding::warn(
        CHECK,
        format!(
            "number that fell silent in the last day without saying goodbye: {}: {names}",
            died.len()
        ),
        "their jobs run elsewhere; find out why they died (memory? kill -9?), or stop them by SIGTERM",
    ))
}

fn outdated(live: &[&WorkerRow]) -> Option<Finding> {
    let newest = live.iter().max_by_key(|worker| number(&worker.version))?;
    let old: Vec<&WorkerRow> = live
        .iter()
        .copied()
        .filter(|worker| worker.version != newest.version)
        .collect();
    if old.is_empty() {
        return None;
    }
    let names = named(&old, |worker| worker.version.clone());
    Some(Finding::warn(
        CHECK,
        format!(
            "number that live and are not of the newest version {}: {}: {names}",
            newest.version,
            old.len()
        ),
        "replace them, one after another: two versions side by side are meant for a deployment",
    ))
}

fn skewed(live: &[&WorkerRow]) -> Option<Finding> {
    let apart = |worker: &WorkerRow| clock::apart(worker.clock_at?, worker.last_seen_at);
    let wrong: Vec<&WorkerRow> = live.iter().copied().filter(|worker| apart(worker).is_some()).collect();
    if wrong.is_empty() {
        let told = live.iter().filter(|worker| worker.clock_at.is_some()).count();
        return (told > 0).then(|| Finding::ok("clocks", format!("number that agree with the database's: {told}")));
    }
    let names = named(&wrong, |worker| apart(worker).unwrap_or_default() + " the database's");
    Some(Finding::warn(
        "clocks",
        format!(
            "number of processes whose machine's clock is wrong: {}: {names}",
            wrong.len()
        ),
        "set those machines' clocks by NTP: leases and waits go by the database's, logs and certificates do not",
    ))
}

/// `host (pid 7, worker): what`, and how many more.
fn named(workers: &[&WorkerRow], what: impl Fn(&WorkerRow) -> String) -> String {
    let mut names: Vec<String> = workers
        .iter()
        .take(NAMED_MOST)
        .map(|worker| {
            let role = worker.role.as_deref().unwrap_or("run");
            format!("{} (pid {}, {role}): {}", worker.host, worker.pid, what(worker))
        })
        .collect();
    if workers.len() > NAMED_MOST {
        names.push(format!("and {} more", workers.len() - NAMED_MOST));
    }
    names.join(", ")
}

/// A version as a number; what is none comes first.
fn number(version: &str) -> Vec<u64> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    core.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(100_000 + seconds, 0).unwrap()
    }

    fn worker(pid: u32, version: &str, seen: i64, clock: Option<i64>) -> WorkerRow {
        WorkerRow {
            id: pid.to_string(),
            host: "h".to_owned(),
            pid,
            version: version.to_owned(),
            role: Some("worker".to_owned()),
            queues: Vec::new(),
            started_at: at(-1_000),
            last_seen_at: at(seen),
            clock_at: clock.map(at),
            stopped_at: None,
        }
    }

    fn looked(workers: &[WorkerRow]) -> Vec<(String, Level, String)> {
        look(workers, Duration::from_secs(12), at(0))
            .into_iter()
            .map(|finding| (finding.check, finding.level, finding.found))
            .collect()
    }

    #[test]
    fn who_died_is_old_or_lives_in_another_time_is_named() {
        let mut stopped = worker(4, "0.1.0", -60, None);
        stopped.stopped_at = Some(at(-60));
        let workers = [
            worker(1, "0.10.0", -1, Some(-1)),
            worker(2, "0.9.3", -2, Some(58)),
            worker(3, "0.10.0", -300, Some(-300)),
            stopped,
            worker(5, "0.10.0", -90_000, None),
        ];
        let found = looked(&workers);
        let says = |text: &str| {
            let lines: Vec<_> = found.iter().filter(|(_, _, said)| said.contains(text)).collect();
            assert_eq!(lines.len(), 1, "{text} in {found:?}");
            (lines[0].0.as_str(), lines[0].1)
        };
        assert_eq!(
            says("in the last day without saying goodbye: 1: h (pid 3, worker): 5m ago"),
            (CHECK, Level::Warn)
        );
        assert_eq!(
            says("newest version 0.10.0: 1: h (pid 2, worker): 0.9.3"),
            (CHECK, Level::Warn)
        );
        assert_eq!(
            says("clock is wrong: 1: h (pid 2, worker): 1m ahead of the database's"),
            ("clocks", Level::Warn)
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn a_fleet_that_is_well_is_told_in_a_line() {
        let workers = [worker(1, "0.1.0", -1, Some(-2)), worker(2, "0.1.0", -2, None)];
        let found = looked(&workers);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].1, Level::Ok);
        assert!(found[0].2.ends_with(": 1"), "{found:?}");
        assert_eq!(looked(&[]), []);
    }
}
