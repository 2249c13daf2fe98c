//! Points in time and dates, as systems write them and as people say them.
//!
//! `2026-03-17T09:50:00-04:00`, `3/17/2026 9:50:00 AM` and "Tuesday, March 17 at 9:50 in the morning" are the same. What one
//! side does not name (a year, a time of day) is not compared; what neither can be compared by is undecided.
//!
//! A text may carry the zone that it is local to, `3/17/2026 9:50:00 AM [America/Chicago]` (RFC 9557's suffix): then the other
//! side, where it carries none, is local to the same. Without any, both are read in the playbook's zone.

use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::{Comparison, Match, text::fold};

/// What a text says of a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    weekday: Option<u32>,
    /// Minutes of the day.
    minutes: Option<u32>,
    seconds: Option<u32>,
    /// With zone: the exact instant.
    instant: Option<DateTime<Utc>>,
}

pub(super) fn compare(zone: Tz, tolerance: Duration, expected: &Value, actual: &Value) -> Comparison {
    let zone = common_zone(zone, expected, actual);
    let (Some(left), Some(right)) = (parts(zone, expected), parts(zone, actual)) else {
        return unreadable(zone, expected);
    };
    // Undecidable parts first: a date against a time of day shares nothing.
    if let Some(answer) = dates(&left, &right, tolerance) {
        return answer;
    }
    let (lefts, rights) = (whole(zone, &left), whole(zone, &right));
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
    if shared_date(&left, &right) {
        return Comparison::new(Match::Same, "the same date; one of them names no time of day");
    }
    Comparison::new(Match::Undecided, "the two name nothing that can be compared")
}

pub(super) fn compare_dates(zone: Tz, expected: &Value, actual: &Value) -> Comparison {
    let zone = common_zone(zone, expected, actual);
    let (Some(left), Some(right)) = (parts(zone, expected), parts(zone, actual)) else {
        return unreadable(zone, expected);
    };
    if let Some(answer) = dates(&left, &right, Duration::ZERO) {
        return answer;
    }
    if shared_date(&left, &right) {
        return Comparison::new(Match::Same, "the same date as far as both name it");
    }
    Comparison::new(Match::Undecided, "the two name nothing that can be compared")
}

fn unreadable(zone: Tz, expected: &Value) -> Comparison {
    if parts(zone, expected).is_none() {
        return Comparison::new(
            Match::Undecided,
            "what is expected is not a date or time that can be read",
        );
    }
    Comparison::new(Match::Different, "what is there is not a date or time")
}

fn shared_date(left: &Parts, right: &Parts) -> bool {
    left.day.is_some() && right.day.is_some() || left.weekday.is_some() && right.weekday.is_some()
}

/// `Some` when the dates decide that they differ. Two whole instants are left to their distance.
fn dates(left: &Parts, right: &Parts, tolerance: Duration) -> Option<Comparison> {
    let both_whole = left.minutes.is_some() && right.minutes.is_some() && left.year.is_some() && right.year.is_some();
    if both_whole && !tolerance.is_zero() {
        return None;
    }
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

/// The zone that the two are compared in: what is there knows best where it is.
fn common_zone(default: Tz, expected: &Value, actual: &Value) -> Tz {
    let own = |value: &Value| split_zone(value.as_str()?).1;
    own(actual).or_else(|| own(expected)).unwrap_or(default)
}

/// A text and the zone that it carries.
fn split_zone(text: &str) -> (&str, Option<Tz>) {
    let text = text.trim();
    let carried = text
        .strip_suffix(']')
        .and_then(|rest| rest.rsplit_once('['))
        .and_then(|(rest, name)| Some((rest.trim_end(), name.parse::<Tz>().ok()?)));
    match carried {
        Some((rest, zone)) => (rest, Some(zone)),
        None => (text, None),
    }
}

/// The instants that the parts may mean: none when something is not named, two in the hour that comes twice in autumn.
fn whole(zone: Tz, parts: &Parts) -> Vec<DateTime<Utc>> {
    if let Some(instant) = parts.instant {
        return vec![instant];
    }
    let local = || {
        let date = NaiveDate::from_ymd_opt(parts.year?, parts.month?, parts.day?)?;
        let minutes = parts.minutes?;
        date.and_hms_opt(minutes / 60, minutes % 60, parts.seconds.unwrap_or(0))
    };
    local().map(|local| in_zone(zone, local)).unwrap_or_default()
}

/// The hour that is skipped in spring is read as the one after.
fn in_zone(zone: Tz, local: NaiveDateTime) -> Vec<DateTime<Utc>> {
    let read = |local: NaiveDateTime| {
        let found = zone.from_local_datetime(&local);
        let mut instants: Vec<DateTime<Utc>> = Vec::new();
        for instant in [found.earliest(), found.latest()].into_iter().flatten() {
            if !instants.contains(&instant.to_utc()) {
                instants.push(instant.to_utc());
            }
        }
        instants
    };
    let found = read(local);
    if !found.is_empty() {
        return found;
    }
    local
        .checked_add_signed(chrono::Duration::hours(1))
        .map(read)
        .unwrap_or_default()
}

fn of_instant(zone: Tz, instant: DateTime<Utc>) -> Parts {
    let local = instant.with_timezone(&zone);
    Parts {
        year: Some(local.year()),
        month: Some(local.month()),
        day: Some(local.day()),
        weekday: Some(local.weekday().num_days_from_monday()),
        minutes: Some(local.hour() * 60 + local.minute()),
        seconds: Some(local.second()),
        instant: Some(instant),
    }
}

fn parts(zone: Tz, value: &Value) -> Option<Parts> {
    match value {
        Value::Number(number) => {
            // Seconds or milliseconds since 1970.
            let number = number.as_i64()?;
            let instant = if number.abs() > 100_000_000_000 {
                DateTime::from_timestamp_millis(number)?
            } else {
                DateTime::from_timestamp(number, 0)?
            };
            // Beyond these years the arithmetic of zones overflows.
            (1900..=2999)
                .contains(&instant.year())
                .then(|| of_instant(zone, instant))
        }
        Value::String(text) => {
            let (text, own) = split_zone(text);
            let parts = of_text(own.unwrap_or(zone), text)?;
            // Both sides are told in one zone, so that their dates can be compared.
            match own {
                Some(own) if own != zone => match whole(own, &parts).first() {
                    Some(instant) => Some(of_instant(zone, *instant)),
                    None => Some(parts),
                },
                _ => Some(parts),
            }
        }
        _ => None,
    }
}

fn of_text(zone: Tz, text: &str) -> Option<Parts> {
    if text.len() > 200 {
        return None;
    }
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        let instant = instant.with_timezone(&Utc);
        return (1900..=2999)
            .contains(&instant.year())
            .then(|| of_instant(zone, instant));
    }
    let folded = fold(text);
    let mut parts = Parts::default();
    let words: Vec<&str> = folded
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')'))
        .filter(|word| !word.is_empty())
        .collect();
    let mut at = 0;
    while at < words.len() {
        at += word(&mut parts, words[at].trim_end_matches('.'), words.get(at + 1).copied());
    }
    afternoon(&mut parts, &folded);
    if parts.year.is_some_and(|year| !(1900..=2999).contains(&year)) {
        return None;
    }
    let says_something =
        parts.day.is_some() || parts.month.is_some() || parts.weekday.is_some() || parts.minutes.is_some();
    says_something.then_some(parts)
}

/// Reads one word; returns how many words it took.
fn word(parts: &mut Parts, word: &str, next: Option<&str>) -> usize {
    if let Some((date, time)) = word.split_once('t')
        && iso_date(parts, date)
    {
        clock(parts, time.trim_end_matches('z'), None);
        return 1;
    }
    if iso_date(parts, word) || slash_date(parts, word) {
        return 1;
    }
    let followed = next.is_some_and(is_half);
    let may_be_clock = word.contains(':') || word.ends_with("am") || word.ends_with("pm") || followed;
    if may_be_clock && clock(parts, word, next) {
        return if followed { 2 } else { 1 };
    }
    match word {
        "noon" | "midday" => parts.minutes = Some(12 * 60),
        "midnight" => parts.minutes = Some(0),
        _ => {
            if let Some(month) = month(word) {
                parts.month = Some(month);
            } else if let Some(day) = weekday(word) {
                parts.weekday = Some(day);
            } else {
                plain_number(parts, word);
            }
        }
    }
    1
}

fn is_half(word: &str) -> bool {
    matches!(word.replace('.', "").as_str(), "am" | "pm")
}

fn iso_date(parts: &mut Parts, word: &str) -> bool {
    let mut pieces = word.split('-');
    let (Some(year), Some(month), Some(day), None) = (pieces.next(), pieces.next(), pieces.next(), pieces.next())
    else {
        return false;
    };
    year.len() == 4 && set_date(parts, year, month, day)
}

fn slash_date(parts: &mut Parts, word: &str) -> bool {
    let pieces: Vec<&str> = word.split('/').collect();
    match pieces.as_slice() {
        [month, day, year] if year.len() == 4 => set_date(parts, year, month, day),
        [year, month, day] if year.len() == 4 => set_date(parts, year, month, day),
        _ => false,
    }
}

fn set_date(parts: &mut Parts, year: &str, month: &str, day: &str) -> bool {
    let (Ok(year), Ok(month), Ok(day)) = (year.parse::<i32>(), month.parse::<u32>(), day.parse::<u32>()) else {
        return false;
    };
    if NaiveDate::from_ymd_opt(year, month, day).is_none() {
        return false;
    }
    parts.year = Some(year);
    parts.month = Some(month);
    parts.day = Some(day);
    true
}

/// `9:50`, `9:50:00`, `9:50am`, `9` before `am`.
fn clock(parts: &mut Parts, word: &str, next: Option<&str>) -> bool {
    let plain = word.replace('.', "");
    let half = if plain.ends_with("am") || plain.ends_with("pm") {
        Some(plain[plain.len() - 2..].to_owned())
    } else {
        next.filter(|next| is_half(next)).map(|next| next.replace('.', ""))
    };
    let digits = plain.trim_end_matches("am").trim_end_matches("pm");
    // An offset without a date in front of it ("+02:00") says nothing here.
    let mut pieces = digits.split(':');
    let Some(Ok(mut hour)) = pieces.next().map(str::parse::<u32>) else {
        return false;
    };
    let minute = match pieces.next().map(str::parse::<u32>) {
        Some(Ok(minute)) => minute,
        Some(Err(_)) => return false,
        None => 0,
    };
    let second = pieces
        .next()
        .and_then(|text| text.split('.').next()?.parse::<u32>().ok())
        .unwrap_or(0);
    match half.as_deref() {
        Some(_) if !(1..=12).contains(&hour) => return false,
        Some("am") => hour %= 12,
        Some(_) => hour = hour % 12 + 12,
        None => {}
    }
    if hour > 23 || minute > 59 || second > 60 {
        return false;
    }
    parts.minutes = Some(hour * 60 + minute);
    parts.seconds = Some(second.min(59));
    true
}

/// "at 1:20 in the afternoon": an hour from 1 to 11 moves by twelve.
fn afternoon(parts: &mut Parts, folded: &str) {
    let late = folded.contains("afternoon") || folded.contains("evening") || folded.contains("at night");
    if let Some(minutes) = parts.minutes
        && late
        && (60..12 * 60).contains(&minutes)
    {
        parts.minutes = Some(minutes + 12 * 60);
    }
}

/// `17`, `17th`, `2026`.
fn plain_number(parts: &mut Parts, word: &str) {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let ordinal = &word[digits.len()..];
    if !matches!(ordinal, "" | "st" | "nd" | "rd" | "th") {
        return;
    }
    match digits.parse::<u32>() {
        Ok(day) if (1..=31).contains(&day) && parts.day.is_none() && (parts.month.is_some() || !ordinal.is_empty()) => {
            parts.day = Some(day);
        }
        Ok(day) if (1..=31).contains(&day) && digits.len() <= 2 && parts.day.is_none() && parts.minutes.is_none() => {
            parts.day = Some(day);
        }
        Ok(year) if digits.len() == 4 => parts.year = i32::try_from(year).ok(),
        _ => {}
    }
}

fn month(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let found = MONTHS
        .iter()
        .position(|month| *month == word || (word.len() >= 3 && word.len() <= 4 && month.starts_with(word)));
    found.and_then(|at| u32::try_from(at + 1).ok())
}

fn weekday(word: &str) -> Option<u32> {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let found = DAYS
        .iter()
        .position(|day| *day == word || (word.len() >= 3 && word.len() <= 5 && day.starts_with(word)));
    found.and_then(|at| u32::try_from(at).ok())
}
