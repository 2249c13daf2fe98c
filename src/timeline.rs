//! A session's whole way in time: what became of it, and every attempt of a job at it, with what it took, waited and cost.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    db::{Db, DbError},
    queue::inspect::{
        AttemptRow,
        attempts::{self, Attempted},
    },
    store::inspect::{
        session::{self, Event, SessionDetail},
        sessions::SessionLine,
    },
};

/// A session with every attempt at it on its timeline, and the sums.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Timeline {
    /// The session.
    #[serde(flatten)]
    pub detail: SessionDetail,
    /// What all of it took, waited and cost.
    pub totals: Totals,
}

/// Sums over a session. Times are in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Totals {
    /// From the session's last activity to its end, or to now where it has none yet.
    pub since_last_activity_us: i64,
    /// Attempts of jobs at it, as far as they are kept (`retention.finished_jobs`).
    pub attempts: u64,
    /// How long those ran.
    pub ran_us: i64,
    /// How long those waited before.
    pub waited_us: i64,
    /// Questions to systems of record.
    pub lookups: u64,
    /// How long those took.
    pub lookups_us: i64,
    /// Calls of an LLM.
    pub llm_calls: u64,
    /// How long those took.
    pub llm_us: i64,
    /// Calls whose answer was lost with their process.
    pub llm_lost: u64,
    /// Tokens sent and answered.
    pub tokens: u64,
    /// Millionths of the configured currency.
    pub cost_micros: u64,
}

/// Everything known of a session.
///
/// # Errors
/// When the database cannot answer.
pub async fn of(db: &Db, line: SessionLine) -> Result<Timeline, DbError> {
    let mut detail = session::detail(db, line).await?;
    let now = db.now().await?;
    let begin = detail.timeline.iter().find(|event| event.what == "discovered");
    let begin = begin.map_or(detail.line.last_activity_at, |event| event.at);
    // Whose way is over gets no more jobs.
    let done = detail
        .timeline
        .iter()
        .find(|event| event.what == "done")
        .map(|event| event.at);
    let newest = detail.timeline.last().map(|event| event.at);
    let end = done.and(newest).unwrap_or(now);
    let key = &detail.line.key;
    let subject = [("source", key.source.as_str()), ("session_id", key.session_id.as_str())];
    for job in attempts::of_subject(db, subject, begin, end).await? {
        detail.timeline.extend(events(&job, now));
    }
    detail.timeline.sort_by_key(Event::order);
    Ok(Timeline {
        totals: totals(&detail, done.unwrap_or(now)),
        detail,
    })
}

fn events(job: &Attempted, now: DateTime<Utc>) -> Vec<Event> {
    let mut ready = job.created_at;
    let mut events = Vec::new();
    for attempt in &job.attempts {
        events.push(Event {
            at: attempt.started_at,
            what: "ran".into(),
            detail: what_became(job, attempt),
            took_us: attempt
                .duration_us
                .or_else(|| (now - attempt.started_at).num_microseconds()),
            waited_us: (attempt.started_at - ready).num_microseconds().map(|us| us.max(0)),
            worker: Some(attempt.worker.clone()),
        });
        ready = attempt.finished_at.unwrap_or(now);
    }
    events
}

fn what_became(job: &Attempted, attempt: &AttemptRow) -> String {
    let outcome = attempt.outcome.as_deref().unwrap_or("runs");
    let why = attempt.error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} attempt {}, {outcome}{why}", job.queue, attempt.attempt)
}

fn totals(detail: &SessionDetail, end: DateTime<Utc>) -> Totals {
    let of = |what: &str| {
        detail
            .timeline
            .iter()
            .filter(move |event| event.what == what)
            .collect::<Vec<&Event>>()
    };
    let took = |events: &[&Event]| events.iter().filter_map(|event| event.took_us).sum();
    let (ran, lookups, calls) = (of("ran"), of("looked_up"), of("asked_llm"));
    let spent = &detail.llm_calls;
    Totals {
        since_last_activity_us: (end - detail.line.last_activity_at)
            .num_microseconds()
            .unwrap_or(i64::MAX),
        attempts: ran.len() as u64,
        ran_us: took(&ran),
        waited_us: ran.iter().filter_map(|event| event.waited_us).sum(),
        lookups: lookups.len() as u64,
        lookups_us: took(&lookups),
        llm_calls: spent.len() as u64,
        llm_us: took(&calls),
        llm_lost: spent.iter().filter(|call| call.state == "lost").count() as u64,
        tokens: spent
            .iter()
            .map(|call| call.prompt_tokens + call.completion_tokens)
            .sum(),
        cost_micros: spent.iter().map(|call| call.cost_micros).sum(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::test_support::second;

    fn attempt(number: u32, from: i64, to: Option<i64>) -> AttemptRow {
        AttemptRow {
            lease: Uuid::nil(),
            job_id: Uuid::nil(),
            attempt: number,
            worker: "w".to_owned(),
            host: None,
            pid: None,
            slot: None,
            started_at: second(from),
            finished_at: to.map(second),
            outcome: to.map(|_| "retried".to_owned()),
            error: to.map(|_| "status 503".to_owned()),
            duration_us: to.map(|to| (to - from) * 1_000_000),
        }
    }

    #[test]
    fn an_attempt_waited_since_the_one_before_it_and_one_under_way_takes_until_now() {
        let job = Attempted {
            job: Uuid::nil(),
            queue: "verify_session".to_owned(),
            created_at: second(10),
            attempts: vec![attempt(1, 13, Some(15)), attempt(2, 25, None)],
        };
        let events = events(&job, second(29));
        let times: Vec<_> = events.iter().map(|event| (event.waited_us, event.took_us)).collect();
        let seconds = |count: i64| Some(count * 1_000_000);
        assert_eq!(times, [(seconds(3), seconds(2)), (seconds(10), seconds(4))]);
        assert_eq!(events[0].detail, "verify_session attempt 1, retried: status 503");
        assert_eq!(events[1].detail, "verify_session attempt 2, runs");
    }
}
