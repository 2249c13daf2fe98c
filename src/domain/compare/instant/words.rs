//! Reads a text word by word: dates as machines write them, months, weekdays, times of day, and words counted from today.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use chrono_tz::Tz;

use super::{
    clock::{self, half_of, named_zone, of_day},
    parts::{Parts, moved, of_instant},
    relative::{self, Phrase, Which},
};
use crate::domain::compare::text::fold;

/// Longer texts are no date.
const LONGEST_TEXT: usize = 200;

/// "Monday or Tuesday or …": more than these are not read.
const MOST_ALTERNATIVES: usize = 4;

/// The readings of a text; `None` where it is no date or time.
pub(super) fn readings(zone: Tz, said_at: Option<DateTime<Utc>>, text: &str) -> Option<Vec<Parts>> {
    if text.len() > LONGEST_TEXT {
        return None;
    }
    if let Some(instant) = timestamp(text) {
        return of_instant(zone, instant).map(|parts| vec![parts]);
    }
    let folded = fold(text);
    let words: Vec<&str> = folded
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '?' | '!' | '"'))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| !word.is_empty())
        .collect();
    let today = said_at
        .map(|at| at.with_timezone(&zone).date_naive())
        .filter(|day| (1901..=2900).contains(&day.year()));
    let alternatives: Vec<&[&str]> = words.split(|word| *word == "or").collect();
    if alternatives.len() > MOST_ALTERNATIVES {
        return None;
    }
    let several = alternatives.len() > 1;
    let mut found = Vec::new();
    let mut any = false;
    for words in alternatives {
        // "4 or 5 PM": a number alone is no day then.
        let bare = several && words.iter().all(|word| word.chars().all(|c| c.is_ascii_digit()));
        match one(zone, today, words).filter(|_| !bare) {
            Some(readings) => {
                any = true;
                found.extend(readings);
            }
            None => found.push(Parts {
                open: true,
                ..Parts::default()
            }),
        }
    }
    share(&mut found);
    (any && found.iter().all(Parts::is_in_range)).then_some(found)
}

/// "Tuesday at 2 or 3", "Monday or Tuesday at 3": what one alternative names is meant of the others as well, and without it they
/// decide nothing.
fn share(alternatives: &mut [Parts]) {
    let dated =
        |parts: &Parts| parts.day.is_some() || parts.month.is_some() || parts.weekday.is_some() || parts.year.is_some();
    let timed = |parts: &Parts| parts.minutes.is_some();
    let (some_dated, some_timed) = (alternatives.iter().any(dated), alternatives.iter().any(timed));
    for parts in alternatives {
        parts.open |= some_dated && !dated(parts) || some_timed && !timed(parts);
    }
}

/// RFC 3339, also without seconds or with an offset of hours alone: `2026-03-17T09:50-04`.
fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let at = time.find(['Z', 'z', '+', '-'])?;
    let (time, offset) = time.split_at_checked(at)?;
    let clock = of_day(time.trim_end())?;
    let ahead = match offset {
        "Z" | "z" => 0,
        _ => {
            let digits: String = offset[1..].chars().filter(|c| *c != ':').collect();
            let whole = matches!(digits.len(), 2 | 4) && digits.chars().all(|c| c.is_ascii_digit());
            let number: i64 = if whole { digits.parse().ok()? } else { return None };
            let (hours, minutes) = if digits.len() == 2 {
                (number, 0)
            } else {
                (number / 100, number % 100)
            };
            let seconds = (hours * 60 + minutes) * 60;
            if offset.starts_with('-') { -seconds } else { seconds }
        }
    };
    let local = date.and_hms_opt(clock.minutes / 60, clock.minutes % 60, clock.seconds)?;
    local.and_utc().checked_sub_signed(chrono::Duration::seconds(ahead))
}

/// What was read so far.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing that the words say or do not say"
)]
struct Read {
    parts: Parts,
    phrases: Vec<Phrase>,
    /// How many words belong to the phrases, for the reason.
    spoken: Vec<String>,
    zone: Option<Tz>,
    /// A date as machines write it: its time of day has 24 hours.
    is_machine: bool,
    has_half: bool,
    /// The time of day is as people say it: then it has 12 hours, beside a date of a machine as well.
    is_spoken: bool,
    /// The day is a number that nothing marks as one: "17", not "the 17th".
    has_bare_day: bool,
    /// "After 3", "before Friday": what follows is a limit, not a point.
    is_limited: bool,
}

/// The readings of words without alternatives.
fn one(zone: Tz, today: Option<NaiveDate>, words: &[&str]) -> Option<Vec<Parts>> {
    let mut read = Read::default();
    let mut at = 0;
    let mut end = words.len();
    while at < words.len() {
        match step(&mut read, &words[at..]) {
            0 => {
                end = at;
                read.is_limited = true;
                break;
            }
            taken => at += taken,
        }
    }
    // "Tuesday from 2 to 4": beside a day that is named otherwise, a number may be anything.
    if read.has_bare_day && read.parts.month.is_none() && !read.phrases.is_empty() {
        read.parts.day = None;
        read.parts.open = true;
    }
    let Read { parts, phrases, .. } = &read;
    let says_something = parts.day.is_some()
        || parts.month.is_some()
        || parts.weekday.is_some()
        || parts.minutes.is_some()
        || parts.year.is_some() && words.len() == 1
        || !phrases.is_empty();
    if !says_something {
        return read.is_limited.then(|| {
            vec![Parts {
                open: true,
                ..Parts::default()
            }]
        });
    }
    let half = half_of(&words[..end]);
    let mut readings = Vec::new();
    for dated in with_date(&read, today) {
        for mut parts in with_half(&read, half, dated) {
            if let Some(own) = read.zone.filter(|own| *own != zone) {
                if parts.is_whole() {
                    parts = moved(own, zone, parts);
                } else {
                    // Without a date nothing tells how far the zones are apart.
                    parts.minutes = None;
                    parts.open = true;
                }
            }
            // "After 3 PM" is a limit, and of "tomorrow afternoon" half a day.
            parts.open |= parts.minutes.is_none() && (read.is_limited || half.is_some());
            readings.push(parts);
        }
    }
    Some(readings)
}

/// The parts under each date that their words may mean.
fn with_date(read: &Read, today: Option<NaiveDate>) -> Vec<Parts> {
    let (parts, phrases) = (&read.parts, &read.phrases);
    let undated = || Parts {
        minutes: parts.minutes,
        seconds: parts.seconds,
        open: true,
        ..Parts::default()
    };
    // "The day before Friday", "a week after March 17": the day named is not the day meant.
    if phrases.contains(&Phrase::Unknown) {
        return vec![undated()];
    }
    // A date that is named outright needs no counting: "tomorrow, March 18".
    if parts.day.is_some() || parts.month.is_some() || parts.year.is_some() {
        let mut parts = parts.clone();
        // Which day of the week a whole date is, the calendar knows best.
        parts.weekday = parts.weekday_of_date().or(parts.weekday);
        return vec![parts];
    }
    if phrases.is_empty() {
        return vec![parts.clone()];
    }
    let Some(today) = today else {
        // Of "next Tuesday" it is known that it is a Tuesday, of "Tuesday" no more is said.
        let only_weekday = matches!(phrases.as_slice(), [Phrase::Weekday(..)]);
        let open = !matches!(phrases.as_slice(), [Phrase::Weekday(_, Which::Bare)]);
        return vec![if only_weekday {
            Parts { open, ..parts.clone() }
        } else {
            undated()
        }];
    };
    let dates = relative::dates(phrases, today);
    if dates.is_empty() {
        return vec![undated()];
    }
    let words = read.spoken.join(" … ");
    dates
        .into_iter()
        .map(|date| {
            let mut parts = parts.clone();
            parts.year = Some(date.year);
            parts.month = date.month;
            parts.day = date.day;
            // The date decides; "Tuesday" is what it was counted from.
            parts.weekday = parts.weekday_of_date();
            parts.open |= date.is_loose;
            parts.taken.push(format!("\"{words}\" as {date}"));
            parts
        })
        .collect()
}

/// "At 3" is said for three in the afternoon as well as in the night.
fn with_half(read: &Read, half: Option<bool>, parts: Parts) -> Vec<Parts> {
    let Some(minutes) = parts
        .minutes
        .filter(|_| !read.has_half && (read.is_spoken || !read.is_machine))
    else {
        return vec![parts];
    };
    let early = minutes % (12 * 60);
    // Twelve at night is midnight, twelve in the afternoon is noon: which of them is left open.
    let half = half.filter(|later| !*later || early >= 60 || minutes == early + 12 * 60 && early > 0);
    let options = match half {
        Some(true) => vec![early + 12 * 60],
        Some(false) => vec![early],
        None => vec![early, early + 12 * 60],
    };
    let several = options.len() > 1;
    options
        .into_iter()
        .map(|minutes| {
            let mut parts = parts.clone();
            parts.minutes = Some(minutes);
            if several {
                let hour = if minutes / 60 % 12 == 0 { 12 } else { minutes / 60 % 12 };
                let half = if minutes < 12 * 60 { "AM" } else { "PM" };
                parts.taken.push(format!("{hour}:{:02} as {half}", minutes % 60));
            }
            parts
        })
        .collect()
}

/// Reads what the words begin with; returns how many it took, 0 where the rest is only a limit.
fn step(read: &mut Read, words: &[&str]) -> usize {
    let word = words[0];
    if let Some((date, time)) = word.split_once('t')
        && iso_date(&mut read.parts, date)
    {
        read.is_machine = true;
        if let Some(clock) = of_day(time) {
            clock.put(&mut read.parts);
        }
        return 1;
    }
    if iso_date(&mut read.parts, word) || slash_date(&mut read.parts, word) {
        read.is_machine = true;
        return 1;
    }
    if let Some((taken, phrase)) = relative::read(words) {
        read.spoken.push(words[..taken].join(" "));
        if let Phrase::Weekday(day, _) = phrase {
            read.parts.weekday = Some(day);
        }
        read.phrases.push(phrase);
        return taken;
    }
    if let Some((taken, clock)) = clock::read(words) {
        // Of "from 3 PM to 4 PM" the first is when it begins.
        if read.parts.minutes.is_none() {
            clock.put(&mut read.parts);
            read.has_half = clock.has_half;
            read.is_spoken = clock.is_spoken;
            if words
                .get(taken)
                .is_some_and(|next| relative::number_word(next).is_some())
            {
                // "At three thirty": the minutes are not read.
                read.parts.minutes = None;
                read.parts.open = true;
            }
        }
        return taken;
    }
    if is_limit(read, word) {
        return 0;
    }
    if let Some(taken) = relative::duration(words) {
        return taken;
    }
    if read.parts.minutes.is_some()
        && let Some(zone) = named_zone(word)
    {
        read.zone = Some(zone);
    } else if let Some(month) = month(word) {
        read.parts.month = Some(month);
    } else {
        let was = read.parts.day;
        plain_number(&mut read.parts, word);
        read.has_bare_day |= was != read.parts.day && word.chars().all(|c| c.is_ascii_digit());
    }
    1
}

fn is_limit(read: &Read, word: &str) -> bool {
    match word {
        "before" | "after" | "not" | "except" | "until" | "till" | "between" | "around" | "about" | "by" | "than"
        | "within" => true,
        // "2 to 4" is a range, "move it to Friday" is none.
        "to" | "-" => read.parts.minutes.is_some() || read.parts.day.is_some(),
        _ => false,
    }
}

/// `2026-03-17`, `2026-03` (FHIR's dates of reduced precision), `20260317`.
fn iso_date(parts: &mut Parts, word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let pieces: Vec<&str> = word.split('-').collect();
    match pieces.as_slice() {
        [year, month, day] if year.len() == 4 => set_date(parts, year, month, day),
        [year, month] if year.len() == 4 && month.len() == 2 && digits(year) && digits(month) => {
            let (Ok(year), Ok(month @ 1..=12)) = (year.parse::<i32>(), month.parse::<u32>()) else {
                return false;
            };
            parts.year = Some(year);
            parts.month = Some(month);
            true
        }
        [whole] if whole.len() == 8 && digits(whole) => {
            let in_range = whole.starts_with("19") || whole.starts_with("20");
            in_range && set_date(parts, &whole[..4], &whole[4..6], &whole[6..])
        }
        _ => false,
    }
}

/// `3/17/2026`, `2026/3/17`, `3/17`; the day first where it can be no month, and with points.
fn slash_date(parts: &mut Parts, word: &str) -> bool {
    let pieces: Vec<&str> = word.split('/').collect();
    match pieces.as_slice() {
        [month, day, year] if year.len() == 4 => set_date(parts, year, month, day) || set_date(parts, year, day, month),
        [year, month, day] if year.len() == 4 => set_date(parts, year, month, day),
        // A year of two digits is not compared: 18 is 2018 or 1918.
        [month, day] | [month, day, _] if month.len() <= 2 && day.len() <= 2 => {
            // A leap year, so that February has all its days.
            let mut whole = Parts::default();
            let known = set_date(&mut whole, "2024", month, day) || set_date(&mut whole, "2024", day, month);
            if known {
                (parts.month, parts.day) = (whole.month, whole.day);
            }
            known
        }
        [points] => match points.split('.').collect::<Vec<&str>>().as_slice() {
            [day, month, year] if year.len() == 4 => set_date(parts, year, month, day),
            _ => false,
        },
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
