//! What a system says of its rate limit: once its budget is spent, the next request waits for the new one, or the gate is
//! told when that comes.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use crate::adapters::client::Reply;

/// A system that names a longer time is asked again after this one.
const LONGEST: Duration = Duration::from_hours(24);
/// A reset that is larger counts from 1970, not from now: 31 years would be a long pause.
const EPOCH_SECONDS: f64 = 1e9;
const EPOCH_MILLISECONDS: f64 = 1e12;

/// When the system's budget is there again.
#[derive(Debug, Default)]
pub(super) struct Budget {
    again_at: Mutex<Option<Instant>>,
}

impl Budget {
    /// Reads an answer's headers.
    pub(super) fn note(&self, reply: &Reply, now: Instant) {
        if let Some(pause) = spent_for(&reply.headers, reply.date) {
            let mut again_at = self.again_at.lock().unwrap_or_else(PoisonError::into_inner);
            *again_at = Some(now + pause);
        }
    }

    /// How long the next request has to wait.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let again_at = *self.again_at.lock().unwrap_or_else(PoisonError::into_inner);
        again_at
            .map(|at| at.saturating_duration_since(now))
            .filter(|wait| !wait.is_zero())
    }
}

/// How long the budget stays spent; `None` while some of it is left, or where nothing is said of its end.
pub(super) fn spent_for(headers: &HeaderMap, date: Option<DateTime<Utc>>) -> Option<Duration> {
    let (remaining, reset) = ["ratelimit", "x-ratelimit", "x-rate-limit"]
        .iter()
        .find_map(|family| {
            let remaining = number(headers, &format!("{family}-remaining"))?;
            Some((remaining, number(headers, &format!("{family}-reset"))))
        })
        .or_else(|| structured(headers))?;
    if remaining > 0.0 {
        return None;
    }
    let mut seconds = reset?;
    if seconds > EPOCH_MILLISECONDS {
        seconds /= 1000.0;
    }
    if seconds > EPOCH_SECONDS {
        // Measured by the clock that it was made by.
        seconds -= date?.timestamp() as f64;
    }
    Some(Duration::from_secs_f64(seconds.clamp(0.0, LONGEST.as_secs_f64())))
}

fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    let text = headers.get(name)?.to_str().ok()?;
    // Some list the windows behind it: `0, 10;w=60`.
    let text = text.split([',', ';']).next()?.trim();
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The newer shape, one field for both: `RateLimit: "default";r=0;t=30`. Of several limits, the first that is spent.
fn structured(headers: &HeaderMap) -> Option<(f64, Option<f64>)> {
    let text = headers.get("ratelimit")?.to_str().ok()?;
    text.split(',').find_map(|limit| {
        let parameter = |name: &str| {
            let found = limit.split(';').find_map(|part| part.trim().strip_prefix(name))?;
            found.parse::<f64>().ok().filter(|number| number.is_finite())
        };
        let remaining = parameter("r=")?;
        (remaining <= 0.0).then(|| (remaining, parameter("t=")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    fn spent(pairs: &[(&'static str, &str)]) -> Option<u64> {
        let date = DateTime::parse_from_rfc2822("Thu, 20 Aug 2026 10:00:30 GMT").unwrap();
        spent_for(&headers(pairs), Some(date.to_utc())).map(|pause| pause.as_secs())
    }

    #[test]
    fn a_spent_budget_names_its_end_in_any_of_the_shapes_in_use() {
        assert_eq!(
            spent(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "30")]),
            Some(30)
        );
        assert_eq!(
            spent(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1787220060")]),
            Some(30)
        );
        assert_eq!(
            spent(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1787220060000")]),
            Some(30)
        );
        assert_eq!(
            spent(&[("x-rate-limit-remaining", "0, 10;w=60"), ("x-rate-limit-reset", "7")]),
            Some(7)
        );
        assert_eq!(
            spent(&[("ratelimit", "\"day\";r=9;t=90, \"minute\";r=0;t=12")]),
            Some(12)
        );
        assert_eq!(
            spent(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "99999999")]),
            Some(LONGEST.as_secs())
        );
    }

    #[test]
    fn a_budget_that_is_not_spent_or_says_nothing_of_its_end_holds_nobody_up() {
        assert_eq!(spent(&[]), None);
        assert_eq!(spent(&[("ratelimit-remaining", "1"), ("ratelimit-reset", "30")]), None);
        assert_eq!(spent(&[("ratelimit-remaining", "0")]), None);
        assert_eq!(
            spent(&[("ratelimit-remaining", "none"), ("ratelimit-reset", "30")]),
            None
        );
        assert_eq!(spent(&[("ratelimit", "\"minute\";r=3;t=12")]), None);
        assert_eq!(
            spent(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1600000000")]),
            Some(0),
            "it is over"
        );
    }

    #[test]
    fn the_next_request_waits_for_what_is_left_of_the_pause() {
        let budget = Budget::default();
        let now = Instant::now();
        assert_eq!(budget.wait(now), None);
        let reply = Reply {
            status: 200,
            retry_after: None,
            date: None,
            media_type: String::new(),
            headers: headers(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "30")]),
            body: Vec::new(),
        };
        budget.note(&reply, now);
        let second = Duration::from_secs(1);
        assert_eq!(budget.wait(now + 10 * second), Some(20 * second));
        assert_eq!(budget.wait(now + 30 * second), None);
    }
}
