//! What jobs and their attempts may not have done.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
};

use uuid::Uuid;

use super::{
    Attempt, History, Job, at,
    overlap::{Crowd, Span, crowds},
};

const LIVE: [&str; 4] = ["available", "scheduled", "running", "retryable"];

fn span(attempt: &Attempt) -> Span<'_, Attempt> {
    Span {
        from: attempt.started_at_us,
        to: attempt.finished_at_us.unwrap_or(i64::MAX),
        what: attempt,
    }
}

/// Attempts in groups.
fn grouped<'a, K: Ord>(history: &'a History, key: impl Fn(&'a Attempt) -> Option<K>) -> BTreeMap<K, Vec<&'a Attempt>> {
    let mut groups: BTreeMap<K, Vec<&Attempt>> = BTreeMap::new();
    for attempt in &history.attempts {
        if let Some(key) = key(attempt) {
            groups.entry(key).or_default().push(attempt);
        }
    }
    groups
}

fn spans<'a>(attempts: &[&'a Attempt]) -> Vec<Span<'a, Attempt>> {
    attempts.iter().copied().map(span).collect()
}

fn names<T: Display>(crowd: &Crowd<'_, T>) -> String {
    let mut names: Vec<String> = crowd.some.iter().map(ToString::to_string).collect();
    if crowd.count > names.len() {
        names.push(format!("{} others", crowd.count - names.len()));
    }
    names.join(", ")
}

/// More of a limit key than its limit.
pub(super) fn too_many_at_once(history: &History, clock: i64) -> Vec<String> {
    let limits: HashMap<&str, _> = history.limits.iter().map(|limit| (limit.key.as_str(), limit)).collect();
    let mut broken = Vec::new();
    for (key, attempts) in grouped(history, |attempt| Some(attempt.limit_key.as_str())) {
        let Some(limit) = limits.get(key) else {
            broken.push(format!(
                "limit key {key}: {} ran and no row says how many may",
                attempts[0]
            ));
            continue;
        };
        let Some(most) = limit.max_running else { continue };
        for crowd in crowds(&mut spans(&attempts), most.try_into().unwrap(), clock) {
            broken.push(format!(
                "limit key {key}: {} ran at once at {}, {most} may: {}",
                crowd.count,
                at(crowd.at),
                names(&crowd)
            ));
        }
    }
    broken
}

/// Two in one slot.
pub(super) fn slots_held_twice(history: &History, clock: i64) -> Vec<String> {
    let mut broken = Vec::new();
    let by_slot = grouped(history, |attempt| Some((attempt.limit_key.as_str(), attempt.slot?)));
    for ((key, slot), attempts) in by_slot {
        for crowd in crowds(&mut spans(&attempts), 1, clock) {
            broken.push(format!(
                "limit key {key}: slot {slot} was held twice at {}: {}",
                at(crowd.at),
                names(&crowd)
            ));
        }
    }
    broken
}

/// Two attempts of one job at the same time.
pub(super) fn ran_twice_at_once(history: &History, clock: i64) -> Vec<String> {
    let mut broken = Vec::new();
    for (job, attempts) in grouped(history, |attempt| Some(attempt.job_id)) {
        for crowd in crowds(&mut spans(&attempts), 1, clock) {
            broken.push(format!(
                "job {job}: ran twice at once at {}: {}",
                at(crowd.at),
                names(&crowd)
            ));
        }
    }
    broken
}

/// Two live jobs with one unique key. An enqueue reads the clock, and then waits for a twin that is just ending: only of a job that
/// never ran is it taken for the moment from which it lived, of all others their first start.
pub(super) fn live_twice(history: &History, clock: i64) -> Vec<String> {
    let mut first_starts: HashMap<Uuid, i64> = HashMap::new();
    for attempt in &history.attempts {
        let first = first_starts.entry(attempt.job_id).or_insert(attempt.started_at_us);
        *first = attempt.started_at_us.min(*first);
    }
    let mut by_key: BTreeMap<(&str, &str), Vec<Span<'_, Job>>> = BTreeMap::new();
    for job in &history.jobs {
        if let Some(unique_key) = &job.unique_key {
            by_key.entry((&job.queue, unique_key)).or_default().push(Span {
                from: first_starts.get(&job.id).copied().unwrap_or(job.created_at_us),
                to: job.finished_at_us.unwrap_or(i64::MAX),
                what: job,
            });
        }
    }
    let mut broken = Vec::new();
    for ((queue, key), mut spans) in by_key {
        for crowd in crowds(&mut spans, 1, clock) {
            broken.push(format!(
                "queue {queue}, unique key {key}: {} jobs were live at once at {}: {}",
                crowd.count,
                at(crowd.at),
                names(&crowd)
            ));
        }
    }
    broken
}

/// Attempts and jobs that ended in an impossible way.
pub(super) fn without_an_end(history: &History, clock: i64) -> Vec<String> {
    let states: HashMap<Uuid, &str> = history.jobs.iter().map(|job| (job.id, job.state.as_str())).collect();
    let mut broken = Vec::new();
    for attempt in &history.attempts {
        match (attempt.finished_at_us, &attempt.outcome) {
            (Some(_), None) => broken.push(format!("{attempt} ended without an outcome")),
            (None, Some(_)) => broken.push(format!("{attempt} has an outcome and no end")),
            (Some(finished), Some(_)) if finished + clock.max(1) <= attempt.started_at_us => {
                broken.push(format!("{attempt} ended before it began"));
            }
            (None, None) => match states.get(&attempt.job_id) {
                Some(&"running") | None => {}
                Some(state) => broken.push(format!("{attempt} has not ended, and its job is {state}")),
            },
            (Some(_), Some(_)) => {}
        }
    }
    for job in &history.jobs {
        match (LIVE.contains(&job.state.as_str()), job.finished_at_us) {
            (true, Some(_)) => broken.push(format!("{job} is live and has an end")),
            (false, None) => broken.push(format!("{job} is over and has no end")),
            (true, None) | (false, Some(_)) => {}
        }
    }
    broken
}

/// Jobs that were completed twice, or are completed without having been, or the other way round.
pub(super) fn not_completed_once(history: &History) -> Vec<String> {
    let completed = grouped(history, |attempt| {
        (attempt.outcome.as_deref() == Some("completed")).then_some(attempt.job_id)
    });
    let mut broken = Vec::new();
    for (job, attempts) in &completed {
        if attempts.len() > 1 {
            let names: Vec<String> = attempts.iter().map(ToString::to_string).collect();
            broken.push(format!(
                "job {job}: completed {} times: {}",
                names.len(),
                names.join(", ")
            ));
        }
    }
    for job in &history.jobs {
        match (job.state == "completed", completed.get(&job.id)) {
            (true, None) => broken.push(format!("{job} is completed, and no attempt completed it")),
            (false, Some(attempts)) => broken.push(format!("{job} is not completed, and {} completed it", attempts[0])),
            (true, Some(_)) | (false, None) => {}
        }
    }
    broken
}
