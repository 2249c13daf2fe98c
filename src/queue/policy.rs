//! What a job kind says about itself: how often, how long, how many at once.

use std::time::Duration;

/// `n` seconds, usable in constants.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `n` minutes, usable in constants.
pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// `n` hours, usable in constants.
pub const fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

/// `n` days, usable in constants.
pub const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

/// How many jobs run at once in the whole fleet, and what is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// `None`: no limit.
    pub(super) max: Option<u32>,
    pub(super) per_partition: bool,
}

impl Limit {
    /// At most `max` jobs of the queue.
    pub const fn queue(max: u32) -> Self {
        Self {
            max: Some(max),
            per_partition: false,
        }
    }

    /// At most `max` jobs of each partition of the queue.
    pub const fn partition(max: u32) -> Self {
        Self {
            max: Some(max),
            per_partition: true,
        }
    }

    /// As many as the processes have places for. An operator can still set a limit.
    pub const fn none() -> Self {
        Self {
            max: None,
            per_partition: false,
        }
    }
}

/// At most `max` starts in any `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) max: u32,
    pub(super) window: Duration,
}

/// The policy of a job kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub(super) attempts: u32,
    pub(super) timeout: Duration,
    pub(super) limit: Limit,
    pub(super) rate: Option<Rate>,
    pub(super) priority: i32,
    pub(super) backoff_first: Duration,
    pub(super) backoff_most: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy {
    /// 8 attempts, 5 minutes each, 8 at once, retried after 10 s, 20 s, 40 s … 10 min.
    pub const fn new() -> Self {
        Self {
            attempts: 8,
            timeout: minutes(5),
            limit: Limit::queue(8),
            rate: None,
            priority: 0,
            backoff_first: seconds(10),
            backoff_most: minutes(10),
        }
    }

    /// How often it is started before it is discarded.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// How long one attempt may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many run at once in the whole fleet.
    #[must_use]
    pub const fn limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    /// At most `max` starts in any `window`, counted where the limit is.
    #[must_use]
    pub const fn rate(mut self, max: u32, window: Duration) -> Self {
        self.rate = Some(Rate { max, window });
        self
    }

    /// Higher runs first.
    #[must_use]
    pub const fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// The wait before the second attempt, doubled for each further one up to `most`.
    #[must_use]
    pub const fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.backoff_first = first;
        self.backoff_most = most;
        self
    }

    /// The wait after `attempt` (1 is the first) failed: equal jitter, that is half of it fixed and half by chance, so that
    /// jobs that failed together do not come back together. 10 s: 5 s … 10 s; 20 s: 10 s … 20 s.
    pub(super) fn backoff_after(&self, attempt: u32, chance: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(30);
        let whole = self.backoff_first.saturating_mul(1 << doublings).min(self.backoff_most);
        whole / 2 + (whole / 2).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// What the jobs of this kind are counted under.
    pub(super) fn limit_key(&self, queue: &str, partition: &str) -> String {
        if self.limit.per_partition {
            format!("{queue}/{partition}")
        } else {
            queue.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_most_and_half_of_it_is_chance() {
        let policy = Policy::new();
        assert_eq!(policy.backoff_after(1, 0.0), seconds(5));
        assert_eq!(policy.backoff_after(1, 1.0), seconds(10));
        assert_eq!(policy.backoff_after(2, 1.0), seconds(20));
        assert_eq!(policy.backoff_after(3, 0.5), seconds(30));
        assert_eq!(policy.backoff_after(8, 1.0), minutes(10));
        assert_eq!(policy.backoff_after(u32::MAX, 1.0), minutes(10));
    }

    #[test]
    fn a_partition_named_like_nothing_has_a_key_of_its_own() {
        let policy = Policy::new().limit(Limit::partition(1));
        assert_eq!(policy.limit_key("verify", ""), "verify/");
        assert_eq!(Policy::new().limit_key("verify", "x"), "verify");
    }
}
