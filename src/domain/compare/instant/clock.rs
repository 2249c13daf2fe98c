//! Times of day: `9:50`, `9:50:00`, `9:50am`, `9 a.m.`, "at 9", "half past 3", and the zones that are named behind them.

use chrono_tz::Tz;

use super::{parts::Parts, relative::number_word};

/// A time of day as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) minutes: u32,
    pub(super) seconds: u32,
    /// It says which half of the day: by `am` or `pm`, by 24 hours, by the digits of a machine.
    pub(super) has_half: bool,
    /// "At 3", "half past 3": as nobody but people tell the time, whatever the date beside it looks like.
    pub(super) is_spoken: bool,
}

impl Clock {
    pub(super) fn put(self, parts: &mut Parts) {
        parts.minutes = Some(self.minutes);
        parts.seconds = Some(self.seconds);
    }
}

/// Reads a time of day at the beginning of the words; with how many words it took.
pub(super) fn read(words: &[&str]) -> Option<(usize, Clock)> {
    let spoken = |minutes: u32| Clock {
        minutes,
        seconds: 0,
        has_half: false,
        is_spoken: true,
    };
    let exact = |minutes: u32| Clock {
        has_half: true,
        ..spoken(minutes)
    };
    match words {
        ["noon" | "midday", ..] => return Some((1, exact(12 * 60))),
        ["midnight", ..] => return Some((1, exact(0))),
        ["half", "past", hour, ..] => return Some((3, spoken(hour_of(hour)? * 60 + 30))),
        ["quarter", "past" | "after", hour, ..] => return Some((3, spoken(hour_of(hour)? * 60 + 15))),
        ["quarter", "to" | "of" | "before", hour, ..] => {
            return Some((3, spoken(((hour_of(hour)? + 11) % 12) * 60 + 45)));
        }
        ["at", hour, "o'clock", ..] => return Some((3, spoken(hour_of(hour)? * 60))),
        [hour, "o'clock", ..] => return Some((2, spoken(hour_of(hour)? * 60))),
        ["at", hour, ..] => {
            if let Some((taken, clock)) = digits(&words[1..]) {
                let is_spoken = true;
                return Some((taken + 1, Clock { is_spoken, ..clock }));
            }
            return Some((2, spoken(hour_of(hour.trim_end_matches('.'))? * 60)));
        }
        _ => {}
    }
    digits(words)
}

/// `9:50`, `9:50:00`, `9:50am`, `9` before `am`.
fn digits(words: &[&str]) -> Option<(usize, Clock)> {
    let word = *words.first()?;
    let plain = word.replace('.', "");
    let glued = plain.ends_with("am") || plain.ends_with("pm");
    let half = if glued {
        Some(plain[plain.len() - 2..].to_owned())
    } else {
        words
            .get(1)
            .map(|next| next.replace('.', ""))
            .filter(|next| is_half(next))
    };
    if half.is_none() && !word.contains(':') {
        return None;
    }
    // Seconds keep their fraction's point.
    let bare = if glued {
        plain.as_str()
    } else {
        word.trim_end_matches('.')
    };
    let bare = bare.trim_end_matches("am").trim_end_matches("pm");
    let mut clock = of_day(bare)?;
    let hour = clock.minutes / 60;
    clock.has_half |= half.is_some();
    match half.as_deref() {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some("am") => clock.minutes = hour % 12 * 60 + clock.minutes % 60,
        Some(_) => clock.minutes = (hour % 12 + 12) * 60 + clock.minutes % 60,
        None => {}
    }
    Some((if half.is_some() && !glued { 2 } else { 1 }, clock))
}

/// `9`, `09:50`, `9:50:00.000`: hours, minutes and seconds of a day.
pub(super) fn of_day(digits: &str) -> Option<Clock> {
    let number = |text: &str| {
        let plain = (1..=2).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
        if plain { text.parse::<u32>().ok() } else { None }
    };
    let mut pieces = digits.split(':');
    let first = pieces.next()?;
    let hour = number(first)?;
    let minute = pieces.next().map_or(Some(0), number)?;
    let second = pieces
        .next()
        .map(|text| number(text.split('.').next().unwrap_or_default()));
    let (seconds, has_seconds) = match second {
        Some(second) => (second?, true),
        None => (0, false),
    };
    if hour > 23 || minute > 59 || seconds > 60 || pieces.next().is_some() {
        return None;
    }
    Some(Clock {
        minutes: hour * 60 + minute,
        seconds: seconds.min(59),
        has_half: has_seconds || hour == 0 || hour > 12 || first.starts_with('0'),
        is_spoken: false,
    })
}

/// An hour as people say it, 0 for 12: the half of the day is added later.
fn hour_of(word: &str) -> Option<u32> {
    let hour = match word.parse::<u32>() {
        Ok(hour) if word.len() <= 2 => hour,
        Ok(_) => return None,
        Err(_) => u32::try_from(number_word(word)?).ok()?,
    };
    (1..=12).contains(&hour).then_some(hour % 12)
}

fn is_half(word: &str) -> bool {
    matches!(word, "am" | "pm")
}

/// A zone as people name it behind a time of day. "EST" is said all year for what the clocks in the East show.
pub(super) fn named_zone(word: &str) -> Option<Tz> {
    Some(match word {
        "est" | "edt" | "et" | "eastern" => chrono_tz::America::New_York,
        "cst" | "cdt" | "ct" | "central" => chrono_tz::America::Chicago,
        "mst" | "mdt" | "mt" | "mountain" => chrono_tz::America::Denver,
        "pst" | "pdt" | "pt" | "pacific" => chrono_tz::America::Los_Angeles,
        "utc" | "gmt" | "z" => chrono_tz::UTC,
        _ => return None,
    })
}

/// Which half of the day the words around a time of day name: later (`true`), earlier, or none.
pub(super) fn half_of(words: &[&str]) -> Option<bool> {
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    if has(&["afternoon", "evening", "tonight", "night"]) {
        return Some(true);
    }
    has(&["morning"]).then_some(false)
}
