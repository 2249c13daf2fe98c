//! The hours in which a practice's system may be asked: production access is often a nightly window, in UTC.

use std::time::Duration;

use chrono::{DateTime, Timelike as _, Utc};

const DAY: u32 = 24 * 60 * 60;

/// A daily window in UTC; one that ends before it begins runs past midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedHours {
    /// Seconds of the day.
    from: u32,
    to: u32,
}

impl AllowedHours {
    /// From and to in minutes of the day; the end is no part of it.
    pub fn new(from_minute: u32, to_minute: u32) -> Self {
        Self {
            from: from_minute * 60 % DAY,
            to: to_minute * 60 % DAY,
        }
    }

    /// Whether it is open.
    pub fn is_open(self, now: DateTime<Utc>) -> bool {
        let second = now.num_seconds_from_midnight();
        if self.from < self.to {
            (self.from..self.to).contains(&second)
        } else {
            second >= self.from || second < self.to
        }
    }

    /// How long until it opens; `None` while it is open.
    pub fn opens_in(self, now: DateTime<Utc>) -> Option<Duration> {
        if self.is_open(now) {
            return None;
        }
        let wait = (self.from + DAY - now.num_seconds_from_midnight()) % DAY;
        Some(Duration::from_secs(u64::from(wait)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    #[test]
    fn a_window_says_when_it_opens() {
        let night = AllowedHours::new(2 * 60, 6 * 60);
        assert_eq!(night.opens_in(at("01:58:30")), Some(Duration::from_secs(90)));
        assert_eq!(night.opens_in(at("02:00:00")), None);
        assert_eq!(night.opens_in(at("05:59:59")), None);
        assert_eq!(night.opens_in(at("06:00:00")), Some(Duration::from_hours(20)));
        assert_eq!(night.opens_in(at("23:00:00")), Some(Duration::from_hours(3)));
    }

    #[test]
    fn a_window_may_run_past_midnight() {
        let late = AllowedHours::new(22 * 60, 4 * 60 + 30);
        assert_eq!(late.opens_in(at("23:59:59")), None);
        assert_eq!(late.opens_in(at("00:00:00")), None);
        assert_eq!(late.opens_in(at("04:29:59")), None);
        assert_eq!(late.opens_in(at("04:30:00")), Some(Duration::from_mins(17 * 60 + 30)));
        assert_eq!(late.opens_in(at("21:59:00")), Some(Duration::from_mins(1)));
    }
}
