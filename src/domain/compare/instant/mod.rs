//! Points in time and dates, as systems write them and as people say them.
//!
//! `2026-03-17T09:50:00-04:00`, `3/17/2026 9:50:00 AM` and "Tuesday, March 17 at 9:50 in the morning" are the same. What one
//! side does not name (a year, a time of day) is not compared; what neither can be compared by is undecided.
//!
//! A text may carry the zone that it is local to, `3/17/2026 9:50:00 AM [America/Chicago]` (RFC 9557's suffix): then the other
//! side, where it carries none, is local to the same. Without any, both are read in the playbook's zone.
//!
//! "Tomorrow" and "next Tuesday" are counted from the day on which they were said. Words that people use for several days
//! or hours are read as each of them (`relative`, `words`), and the reason names the one that was taken. Words whose day
//! cannot be told are undecided, never a difference.

mod clock;
mod parts;
mod relative;
mod words;

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use self::parts::{Parts, common_zone, readings, whole};
use super::{Comparison, Match};
use crate::domain::playbook::is_blank;

/// More readings than these are not listed in a reason.
const MOST_LISTED: usize = 4;

pub(super) fn compare(
    zone: Tz,
    tolerance: Duration,
    said_at: Option<DateTime<Utc>>,
    expected: &Value,
    actual: &Value,
) -> Comparison {
    let zone = common_zone(zone, expected, actual);
    let of = |value| readings(zone, said_at, value);
    by_readings(of(expected), of(actual), actual, |left, right| {
        instants(zone, tolerance, left, right)
    })
}

pub(super) fn compare_dates(zone: Tz, said_at: Option<DateTime<Utc>>, expected: &Value, actual: &Value) -> Comparison {
    let zone = common_zone(zone, expected, actual);
    let of = |value| {
        let mut found = readings(zone, said_at, value)?;
        let whole_days: Vec<Parts> = found.iter().filter_map(Parts::day_in_utc).collect();
        found.extend(whole_days);
        Some(found)
    };
    by_readings(of(expected), of(actual), actual, |left, right| {
        if let Some(answer) = dates(left, right) {
            return answer;
        }
        if shared_date(left, right) {
            return Comparison::new(Match::Same, "the same date as far as both name it");
        }
        Comparison::new(Match::Undecided, "the two name nothing that can be compared")
    })
}

/// The same under any reading is the same; different only under all of them. `value` is the one that is there.
fn by_readings(
    expected: Option<Vec<Parts>>,
    actual: Option<Vec<Parts>>,
    value: &Value,
    decide: impl Fn(&Parts, &Parts) -> Comparison,
) -> Comparison {
    let (lefts, rights) = match (expected, actual) {
        (Some(lefts), Some(rights)) => (lefts, rights),
        (expected, _) => return unreadable(expected.is_none(), value),
    };
    let (mut undecided, mut different) = (None, None);
    for left in &lefts {
        for right in &rights {
            let mut compared = decide(left, right);
            if compared.outcome == Match::Same && (left.open || right.open) {
                let why = format!("{}, but not all of the words can be resolved", compared.why);
                compared = Comparison::new(Match::Undecided, why);
            }
            let taken: Vec<&str> = left.taken.iter().chain(&right.taken).map(String::as_str).collect();
            if !taken.is_empty() && compared.outcome != Match::Different {
                compared.why = format!("{}, taking {}", compared.why, taken.join(" and "));
            }
            match compared.outcome {
                Match::Same => return compared,
                Match::Undecided => undecided = undecided.or(Some(compared)),
                Match::Different => different = different.or(Some(compared)),
            }
        }
    }
    let nothing = || Comparison::new(Match::Undecided, "the two name nothing that can be compared");
    undecided
        .or_else(|| different.map(|compared| all_listed(compared, &lefts, &rights)))
        .unwrap_or_else(nothing)
}

/// A difference, with the readings under which it is one.
fn all_listed(mut compared: Comparison, lefts: &[Parts], rights: &[Parts]) -> Comparison {
    let mut taken: Vec<&str> = Vec::new();
    for words in lefts.iter().chain(rights).flat_map(|parts| &parts.taken) {
        if !taken.contains(&words.as_str()) {
            taken.push(words);
        }
    }
    if !taken.is_empty() {
        let more = if taken.len() > MOST_LISTED { " …" } else { "" };
        taken.truncate(MOST_LISTED);
        compared.why = format!("{}, taking {}{more}", compared.why, taken.join(" or "));
    }
    compared
}

fn unreadable(is_expected: bool, actual: &Value) -> Comparison {
    if is_expected {
        return Comparison::new(
            Match::Undecided,
            "what is expected is not a date or time that can be read",
        );
    }
    let why = if is_blank(actual) {
        "there is no date or time"
    } else {
        "what is there is not a date or time"
    };
    Comparison::new(Match::Different, why)
}

fn instants(zone: Tz, tolerance: Duration, left: &Parts, right: &Parts) -> Comparison {
    let (lefts, rights) = (whole(zone, left), whole(zone, right));
    // Two whole instants within a tolerance may have two dates; everything else differs when its dates do.
    let by_distance = !tolerance.is_zero() && !lefts.is_empty() && !rights.is_empty();
    if !by_distance && let Some(answer) = dates(left, right) {
        return answer;
    }
    let pairs = lefts.iter().flat_map(|left| {
        rights
            .iter()
            .map(move |right| (*left - *right).num_seconds().unsigned_abs())
    });
    if let Some(apart) = pairs.min() {
        return Comparison::of(apart <= tolerance.as_secs(), "the same instant", "another instant");
    }
    if let (Some(left), Some(right)) = (left.minutes, right.minutes) {
        let apart = u64::from(left.abs_diff(right)) * 60;
        let why = "the same as far as both name it";
        return Comparison::of(apart <= tolerance.as_secs(), why, "another time of day");
    }
    if shared_date(left, right) {
        return Comparison::new(Match::Same, "the same date; one of them names no time of day");
    }
    Comparison::new(Match::Undecided, "the two name nothing that can be compared")
}

/// Both name some part of a date; that these do not differ is `dates`' business.
fn shared_date(left: &Parts, right: &Parts) -> bool {
    left.day.is_some() && right.day.is_some()
        || left.weekday.is_some() && right.weekday.is_some()
        || left.month.is_some() && right.month.is_some()
        || left.year.is_some() && right.year.is_some()
}

/// `Some` when the dates decide that they differ.
fn dates(left: &Parts, right: &Parts) -> Option<Comparison> {
    let differs = |a: Option<u32>, b: Option<u32>| matches!((a, b), (Some(a), Some(b)) if a != b);
    let year_differs = matches!((left.year, right.year), (Some(a), Some(b)) if a != b);
    if year_differs || differs(left.month, right.month) || differs(left.day, right.day) {
        return Some(Comparison::new(Match::Different, "another date"));
    }
    // A weekday that contradicts its own date is a slip of the tongue; it decides only where no day is named.
    let day_named = left.day.is_some() && right.day.is_some();
    if !day_named && differs(left.weekday, right.weekday) {
        return Some(Comparison::new(Match::Different, "another day of the week"));
    }
    None
}
