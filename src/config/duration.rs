//! Durations as people write them: `200ms`, `5m`, `1h30m`, `7d`.

use std::{fmt::Write as _, time::Duration};

use serde::Serializer;

/// Longer waits are slips of the pen, and would overflow the database's clock.
const LONGEST: Duration = Duration::from_hours(10 * 366 * 24);

/// Units in milliseconds, largest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a duration: whole numbers with units `ms`, `s`, `m`, `h`, `d`, one after another.
///
/// # Errors
/// Says what to write instead.
pub fn parse(text: &str) -> Result<Duration, String> {
    let explain = || {
        format!(
            "`{}` is not a duration: write 200ms, 5s, 10m, 2h, 7d or 1h30m",
            excerpt(text)
        )
    };
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(explain());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(explain)?;
        let number: u64 = rest[..digits].parse().map_err(|_| explain())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let factor = UNITS
            .iter()
            .find(|(unit, _)| *unit == &rest[..letters])
            .map(|(_, factor)| *factor)
            .ok_or_else(explain)?;
        rest = rest[letters..].trim_start();
        total = number
            .checked_mul(factor)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(explain)?;
    }
    let duration = Duration::from_millis(total);
    if duration > LONGEST {
        return Err(format!("`{}` is longer than ten years", excerpt(text)));
    }
    Ok(duration)
}

/// As [`serialize`], where there may be none.
#[expect(clippy::ref_option, reason = "serde passes the field as it is")]
pub(super) fn serialize_optional<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serialize(duration, to),
        None => to.serialize_none(),
    }
}

/// The start of a text that may be long, for an error.
fn excerpt(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(40).collect()
}

/// Writes a duration so that [`parse`] reads it back (to the millisecond).
pub fn format(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in UNITS {
        let count = left / factor;
        left %= factor;
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{count}{unit}");
        }
    }
    text
}

pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*duration))
}

pub(super) fn serialize_list<S: Serializer>(durations: &[Duration], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(durations.iter().map(|duration| format(*duration)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("200ms", 200),
            ("5s", 5_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_an_example() {
        for text in [
            "",
            "5",
            "m",
            "5 minutes",
            "-5m",
            "1.5h",
            "5mm",
            "99999999999999999999s",
            "400000d",
        ] {
            let reason = parse(text).expect_err(text);
            assert!(
                reason.contains("200ms") || reason.contains("ten years"),
                "{text}: {reason}"
            );
        }
    }

    #[test]
    fn a_written_duration_is_read_back() {
        for millis in [0, 1, 250, 12_000, 90_000, 5_400_000, 604_800_000, 86_461_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
        assert_eq!(format(Duration::from_mins(5)), "5m");
    }
}
