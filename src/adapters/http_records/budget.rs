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
    let named = || {
        ["ratelimit", "x-ratelimit", "x-rate-limit"].iter().find_map(|family| {
            let remaining = number(headers.get(format!("{family}-remaining"))?.to_str().ok()?)?;
            let reset = headers.get(format!("{family}-reset"));
            Some(Left {
                remaining: count(remaining)?,
                reset: reset.and_then(|reset| number(reset.to_str().ok()?)),
            })
        })
    };
    let left = in_one_field(headers).or_else(named)?;
    if left.remaining > 0.0 {
        return None;
    }
    let mut seconds = left.reset?;
    if seconds > EPOCH_MILLISECONDS {
        seconds /= 1000.0;
    }
    if seconds > EPOCH_SECONDS {
        // Measured by the clock that it was made by.
        seconds -= date?.timestamp() as f64;
    }
    Some(Duration::from_secs_f64(seconds.clamp(0.0, LONGEST.as_secs_f64())))
}

/// What is left of a budget, and when there is more: in seconds, or since 1970.
#[derive(Clone, Copy)]
struct Left {
    remaining: f64,
    reset: Option<f64>,
}

fn number(text: &str) -> Option<f64> {
    // Some list the windows behind it: `0, 10;w=60`.
    let text = text.split([',', ';']).next()?.trim();
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Less than nothing is no count: some write -1 where there is no limit.
fn count(number: f64) -> Option<f64> {
    (number >= 0.0).then_some(number)
}

/// The field `RateLimit` of draft-ietf-httpapi-ratelimit-headers: since its eighth version a list of policies
/// (`"day";r=0;t=30`), in the seventh one with members (`limit=9, remaining=0, reset=30`). Of several that are spent, the one
/// that is so for the longest.
fn in_one_field(headers: &HeaderMap) -> Option<Left> {
    let lines = headers
        .get_all("ratelimit")
        .iter()
        .filter_map(|line| line.to_str().ok());
    let text = lines.map(without_names).collect::<Vec<_>>().join(",");
    let parameter = |part: &str, name: &str| {
        let mut pairs = part.split([';', ',']).filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
        number(value)
    };
    let of = |part: &str, remaining: &str, reset: &str| {
        Some(Left {
            remaining: count(parameter(part, remaining)?)?,
            reset: parameter(part, reset),
        })
    };
    let policies: Vec<Left> = text.split(',').filter_map(|policy| of(policy, "r", "t")).collect();
    let spent = policies.iter().filter(|left| left.remaining <= 0.0);
    spent
        .max_by(|one, other| one.reset.unwrap_or(-1.0).total_cmp(&other.reset.unwrap_or(-1.0)))
        .or(policies.first())
        .copied()
        .or_else(|| of(&text, "remaining", "reset"))
}

/// Without what stands in quotes: the names of policies, which may hold anything.
fn without_names(line: &str) -> String {
    line.split('"').step_by(2).collect()
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
    fn the_fields_are_read_in_each_shape_of_the_ietfs_draft() {
        // draft-ietf-httpapi-ratelimit-headers: -03 has three fields, -07 one with three members, -08 and later one of policies.
        assert_eq!(spent(&[("ratelimit", "limit=100, remaining=0, reset=50")]), Some(50));
        assert_eq!(spent(&[("ratelimit", "limit=100, remaining=1, reset=50")]), None);
        // Whoever is spent longest is waited for.
        assert_eq!(
            spent(&[(
                "ratelimit",
                "\"minute\";r=0;t=12, \"day\";r=0;t=3600;pk=:cHsu:, \"x\";r=0"
            )]),
            Some(3600)
        );
        assert_eq!(
            spent(&[("ratelimit", "\"a,b;r=0;t=77\";r=5;t=3")]),
            None,
            "a name is no value"
        );
        assert_eq!(
            spent(&[
                ("ratelimit-policy", "\"day\";q=100;w=60"),
                ("ratelimit", "\"day\";r=0;t=9")
            ]),
            Some(9)
        );
        let mut several = headers(&[("ratelimit", "\"minute\";r=4;t=12")]);
        several.append("ratelimit", "\"day\";r=0;t=90".parse().unwrap());
        assert_eq!(spent_for(&several, None), Some(Duration::from_secs(90)));
        // A field that says nothing of use leaves the word to the next.
        assert_eq!(
            spent(&[
                ("ratelimit", "none"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "8")
            ]),
            Some(8)
        );
    }

    #[test]
    fn a_hostile_limit_is_bounded_or_nothing() {
        let reset = |value: &'static str| spent(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", value)]);
        for value in [
            "1000000000000000000",
            "1e300",
            "253402300799",
            "99999999999999999999999",
        ] {
            assert_eq!(reset(value), Some(LONGEST.as_secs()), "{value}");
        }
        for value in ["-1", "-1e300", "0", "-0"] {
            assert!(reset(value).is_none_or(|pause| pause == 0), "{value}");
        }
        for value in ["NaN", "inf", "-inf", "soon", ""] {
            assert_eq!(reset(value), None, "{value}");
        }
        // Not a number of requests: some write it for "no limit".
        assert_eq!(
            spent(&[("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "600")]),
            None
        );
        assert_eq!(spent(&[("ratelimit", "\"x\";r=-1;t=600")]), None);
        assert_eq!(
            spent(&[("ratelimit", "\"x\";r=0;t=1000000000000000000")]),
            Some(LONGEST.as_secs())
        );
        assert_eq!(spent(&[("ratelimit", "\"x\";r=0;t=-600")]).unwrap_or(0), 0);
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
