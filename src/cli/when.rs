//! Instants and ages as people read them.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config::duration;

/// `2026-11-23 14:05:09Z`.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `3m` since, in two units at most.
pub(crate) fn age(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    rough((now - then).to_std().unwrap_or_default())
}

/// `in 3m`, or `now`.
pub(crate) fn until(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    match (then - now).to_std() {
        Ok(wait) if wait >= Duration::from_secs(1) => format!("in {}", rough(wait)),
        _ => "now".to_owned(),
    }
}

/// A duration without what is too small to matter: `2d3h`, `5m12s`, `450ms`.
pub(crate) fn rough(length: Duration) -> String {
    let seconds = length.as_secs();
    let step = match seconds {
        0 => return duration::format(length),
        1..3_600 => 1,
        3_600..86_400 => 60,
        _ => 3_600,
    };
    duration::format(Duration::from_secs(seconds / step * step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_rounded_to_what_matters() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (312, "5m12s"),
            (7_290, "2h1m"),
            (190_000, "2d4h"),
        ] {
            assert_eq!(rough(Duration::from_secs(seconds)), text);
        }
        let now = DateTime::from_timestamp(1_000, 0).unwrap();
        let then = DateTime::from_timestamp(940, 0).unwrap();
        assert_eq!(age(now, then), "1m");
        assert_eq!(until(then, now), "in 1m");
        assert_eq!(until(now, then), "now");
    }
}
