//! How many may start in any window, and what counts as a start.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Attempt, History, Limit, RateStart, at};

/// The limits that have a rate: how many starts in how many microseconds.
fn rates(history: &History) -> impl Iterator<Item = (&Limit, u32, i64)> {
    history
        .limits
        .iter()
        .filter_map(|limit| Some((limit, limit.rate_max?, limit.rate_window_us?)))
}

/// By limit key, in order.
fn starts(history: &History) -> BTreeMap<&str, Vec<&RateStart>> {
    let mut starts: BTreeMap<&str, Vec<&RateStart>> = BTreeMap::new();
    for start in &history.rate_starts {
        starts.entry(&start.limit_key).or_default().push(start);
    }
    for starts in starts.values_mut() {
        starts.sort_by_key(|start| start.started_at_us);
    }
    starts
}

/// By limit key and job, in order.
fn attempts(history: &History) -> BTreeMap<&str, BTreeMap<Uuid, Vec<&Attempt>>> {
    let mut attempts: BTreeMap<&str, BTreeMap<Uuid, Vec<&Attempt>>> = BTreeMap::new();
    for attempt in &history.attempts {
        let of_key = attempts.entry(&attempt.limit_key).or_default();
        of_key.entry(attempt.job_id).or_default().push(attempt);
    }
    for attempts in attempts.values_mut().flat_map(BTreeMap::values_mut) {
        attempts.sort_by_key(|attempt| attempt.started_at_us);
    }
    attempts
}

/// More starts within a window, wherever it begins. Exact: a start is let through by the very times that are kept.
pub(super) fn too_many_in_a_window(history: &History) -> Vec<String> {
    let mut broken = Vec::new();
    let by_key = starts(history);
    for (limit, most, window) in rates(history) {
        let Some(starts) = by_key.get(limit.key.as_str()) else {
            continue;
        };
        let one_more = usize::try_from(most).unwrap() + 1;
        for together in starts.windows(one_more) {
            let (first, last) = (together[0], together[one_more - 1]);
            if last.started_at_us - first.started_at_us < window {
                broken.push(format!(
                    "limit key {}: {one_more} starts from {} (job {}) to {} (job {}), {most} may start in {window} µs",
                    limit.key,
                    at(first.started_at_us),
                    first.job_id,
                    at(last.started_at_us),
                    last.job_id
                ));
            }
        }
    }
    broken
}

/// Whether an attempt after one that ended so is a start of its own: the job is to call the outside world again.
fn is_a_new_start(before: Option<&Attempt>) -> bool {
    before.is_none_or(|before| before.outcome.as_deref() == Some("retried"))
}

/// Starts that were not counted, and starts that were counted although they are none: after a snooze, a rescue or a
/// hand-back a job goes on with the start that it has.
pub(super) fn wrongly_charged(history: &History) -> Vec<String> {
    let mut broken = Vec::new();
    let (starts, mut attempts) = (starts(history), attempts(history));
    for (limit, ..) in rates(history) {
        let key = limit.key.as_str();
        let mut counted: BTreeMap<Uuid, Vec<i64>> = BTreeMap::new();
        for start in starts.get(key).into_iter().flatten() {
            counted.entry(start.job_id).or_default().push(start.started_at_us);
        }
        for (job, attempts) in attempts.remove(key).unwrap_or_default() {
            let mut times = counted.remove(&job).unwrap_or_default();
            let mut before = None;
            for attempt in attempts {
                // A charge is written with the attempt, at the same moment.
                let charge = times.iter().position(|at| *at == attempt.started_at_us);
                match (is_a_new_start(before), charge) {
                    (true, None) => broken.push(format!("limit key {key}: the start of {attempt} was not counted")),
                    (false, Some(_)) => broken.push(format!(
                        "limit key {key}: {attempt} went on with a start that was counted, and was counted again"
                    )),
                    (true, Some(_)) | (false, None) => {}
                }
                if let Some(charge) = charge {
                    times.remove(charge);
                }
                before = Some(attempt);
            }
            for time in times {
                broken.push(format!(
                    "limit key {key}: a start of job {job} was counted at {}, and it did not start then",
                    at(time)
                ));
            }
        }
    }
    broken
}
