//! How often one token may ask: a bucket of requests that refills steadily.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

/// How much and how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// Requests at once.
    pub(super) burst: u32,
    /// Requests a second after that.
    pub(super) per_second: u32,
}

/// For each token: a dashboard that polls, and a script that pages through everything.
pub(super) const REQUESTS: Rate = Rate {
    burst: 100,
    per_second: 50,
};
/// For the webhooks of each source, signed ones alone: an event for each call, and all of a day's at once after an outage.
pub(super) const WEBHOOKS: Rate = Rate {
    burst: 300,
    per_second: 50,
};
/// Secrets that were not seen before, of all who ask: each takes 20 ms of a core.
pub(super) const STRANGERS: Rate = Rate {
    burst: 20,
    per_second: 5,
};
/// Buckets that are full are forgotten when there are more than this.
const MOST: usize = 1_000;

/// Buckets by who asks.
#[derive(Debug)]
pub(super) struct Buckets {
    rate: Rate,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// What became of one more request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Whether it may go on.
    pub(super) may: bool,
    limit: u32,
    /// Requests that may follow at once.
    remaining: u32,
    /// Seconds until as many as at first may follow; when it may not go on, until the next may.
    pub(super) reset: u32,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Mutex::default(),
        }
    }

    /// One more request of this one.
    pub(super) fn take(&self, who: &str) -> Taken {
        self.take_at(who, Instant::now())
    }

    fn take_at(&self, who: &str, now: Instant) -> Taken {
        let (burst, rate) = (f64::from(self.rate.burst), f64::from(self.rate.per_second));
        let full_after = Duration::from_secs_f64(burst / rate);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST {
            buckets.retain(|_, bucket| now - bucket.at < full_after);
        }
        let bucket = buckets.entry(who.to_owned()).or_insert(Bucket { left: burst, at: now });
        bucket.left = (bucket.left + (now - bucket.at).as_secs_f64() * rate).min(burst);
        bucket.at = now;
        let may = bucket.left >= 1.0;
        let wait = if may {
            bucket.left -= 1.0;
            (burst - bucket.left) / rate
        } else {
            (1.0 - bucket.left) / rate
        };
        Taken {
            may,
            limit: self.rate.burst,
            remaining: whole(bucket.left.floor()),
            reset: whole(wait.ceil()),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the burst"
)]
fn whole(number: f64) -> u32 {
    number.max(0.0) as u32
}

impl Taken {
    /// What the answer says of it.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        headers.insert("ratelimit-limit", HeaderValue::from(self.limit));
        headers.insert("ratelimit-remaining", HeaderValue::from(self.remaining));
        headers.insert("ratelimit-reset", HeaderValue::from(self.reset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate_to_each_on_its_own() {
        let buckets = Buckets::new(Rate {
            burst: 3,
            per_second: 2,
        });
        let start = Instant::now();
        for remaining in [2, 1, 0] {
            let taken = buckets.take_at("a", start);
            assert_eq!((taken.may, taken.remaining), (true, remaining));
        }
        let refused = buckets.take_at("a", start);
        assert_eq!((refused.may, refused.reset), (false, 1));
        assert!(buckets.take_at("b", start).may, "another has a bucket of its own");
        let later = start + Duration::from_millis(500);
        assert!(buckets.take_at("a", later).may);
        assert!(!buckets.take_at("a", later).may);
        let rested = buckets.take_at("a", later + Duration::from_hours(1));
        assert_eq!(rested.remaining, 2, "no more than its burst");
    }
}
