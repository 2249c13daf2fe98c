//! Dates and times that a value may be bound as.
//!
//! A server reads a text as a date by conventions of its own: `05/04/2026` by its DateStyle, `tomorrow` by its clock, `26-05-04`
//! by a guess at the century, and an instant without a zone by that of the connection. What a session says must mean one thing,
//! so only forms of ISO 8601 are sent, and of each type only those that lack nothing and from which nothing is dropped.

use chrono::{NaiveDate, NaiveTime};

/// What a parameter is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Day,
    /// A day and a time, without a zone.
    Local,
    /// A day and a time, with a zone.
    Instant,
    /// A time of day.
    Clock,
    /// A time of day, with a zone.
    ZonedClock,
    /// The first or the second of these, where a server does not say which.
    DayOrLocal,
    /// Several of these in one value, such as a range.
    Several,
}

impl Moment {
    /// By the name of a type of PostgreSQL, where it is one of a date or a time.
    pub(super) fn of_postgres(base: &str) -> Option<Self> {
        match base {
            "date" => Some(Self::Day),
            "timestamp without time zone" => Some(Self::Local),
            "timestamp with time zone" => Some(Self::Instant),
            "time without time zone" => Some(Self::Clock),
            "time with time zone" => Some(Self::ZonedClock),
            _ => None,
        }
    }

    pub(super) fn takes(self, text: &str) -> bool {
        match self {
            Self::Day => is_day(text),
            Self::Local => is_local(text),
            Self::Instant => without_zone(text).is_some_and(is_local),
            Self::Clock => is_clock(text),
            Self::ZonedClock => without_zone(text).is_some_and(is_clock),
            Self::DayOrLocal => is_day(text) || is_local(text),
            Self::Several => false,
        }
    }

    /// Why a value for this parameter is not asked with. The value itself is not repeated.
    pub(super) fn refusal(self, parameter: &str) -> String {
        let taken = match self {
            Self::Day => {
                "a date, which is taken as 2026-05-04 only: write it so, or where an instant is meant compare with one"
            }
            Self::Local => {
                "a date and time without zone, which is taken as 2026-05-04T10:00:00 only: write it so, or `::date` behind a \
                 parameter that is a day"
            }
            Self::Instant => {
                "an instant, which is taken as 2026-05-04T10:00:00Z or 2026-05-04T10:00:00+02:00 only: write it so, or `::date` \
                 behind a parameter that is a day"
            }
            Self::Clock => "a time of day, which is taken as 10:00 or 10:00:00 only",
            Self::ZonedClock => "a time of day with a zone, which is taken as 10:00:00Z or 10:00:00+02:00 only",
            Self::DayOrLocal => "a date, which is taken as 2026-05-04 or 2026-05-04T10:00:00 only, without a zone",
            Self::Several => {
                "several dates or times, which are not read from one value: make them in the statement, each from a parameter of its \
                 own, as in daterange(:from, :to)"
            }
        };
        format!("the value for `:{parameter}` is compared with {taken}; no server may guess at another form")
    }
}

fn is_day(text: &str) -> bool {
    is_digits(text, &[4, 2, 2], b'-')
        && !text.starts_with("0000")
        && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

/// `10:00`, `10:00:00`, `10:00:00.25`: no more digits than a server keeps.
fn is_clock(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let form = match whole.len() {
        8 => "%H:%M:%S",
        5 if whole.len() == text.len() => "%H:%M",
        _ => return false,
    };
    let widths: &[usize] = if whole.len() == 8 { &[2, 2, 2] } else { &[2, 2] };
    is_digits(whole, widths, b':')
        && !whole.ends_with(":60")
        && NaiveTime::parse_from_str(whole, form).is_ok()
        && (1..=6).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

/// With a `T` or one blank between the two.
fn is_local(text: &str) -> bool {
    text.split_once(['T', ' '])
        .is_some_and(|(day, clock)| is_day(day) && is_clock(clock))
}

/// What stands before `Z`, `+02`, `+0200` or `+02:00`.
fn without_zone(text: &str) -> Option<&str> {
    if let Some(before) = text.strip_suffix('Z') {
        return Some(before);
    }
    let at = text.rfind(['+', '-'])?;
    let (before, zone) = (&text[..at], &text[at + 1..]);
    let is_zone =
        is_digits(zone, &[2, 2], b':') || zone.len() == 2 && is_digits(zone, &[2], b':') || is_digits(zone, &[4], b':');
    // No zone of the world is further away.
    let hours = zone.get(..2)?.parse::<u8>().ok()?;
    let minutes = zone.get(zone.len() - 2..)?.parse::<u8>().ok()?;
    (is_zone && hours <= 14 && (zone.len() == 2 || minutes < 60)).then_some(before)
}

/// Whether it is groups of so many digits, with the sign between them.
fn is_digits(text: &str, widths: &[usize], between: u8) -> bool {
    let mut groups = text.split(char::from(between));
    let fits = |group: &str, width: usize| group.len() == width && group.bytes().all(|byte| byte.is_ascii_digit());
    widths
        .iter()
        .all(|width| groups.next().is_some_and(|group| fits(group, *width)))
        && groups.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_forms_of_iso_8601_are_taken() {
        use Moment::{Clock, Day, DayOrLocal, Instant, Local, Several, ZonedClock};
        for (text, taken) in [
            ("2026-05-04", &[Day, DayOrLocal][..]),
            ("2026-05-04T10:00", &[Local, DayOrLocal]),
            ("2026-05-04 10:00:00", &[Local, DayOrLocal]),
            ("2026-05-04T10:00:00.123456", &[Local, DayOrLocal]),
            ("2026-05-04T10:00:00Z", &[Instant]),
            ("2026-05-04T10:00:00.5+02:00", &[Instant]),
            ("2026-05-04T10:00-0330", &[Instant]),
            ("2026-05-04 10:00:00+02", &[Instant]),
            ("10:00", &[Clock]),
            ("23:59:59.9", &[Clock]),
            ("10:00Z", &[ZonedClock]),
            ("10:00:00-05:00", &[ZonedClock]),
        ] {
            for moment in [Day, Local, Instant, Clock, ZonedClock, DayOrLocal, Several] {
                assert_eq!(moment.takes(text), taken.contains(&moment), "{text} as {moment:?}");
            }
        }
        for text in [
            "",
            " ",
            "tomorrow",
            "now",
            "today",
            "infinity",
            "-infinity",
            "epoch",
            "allballs",
            "05/04/2026",
            "26-05-04",
            "2026-5-4",
            "2026/05/04",
            "20260504",
            "2026-05-04 ",
            " 2026-05-04",
            "2026-02-30",
            "2026-05-04T",
            "2026-05-04T24:00",
            "2026-05-04T10",
            "2026-05-04T10:00:60",
            "2026-05-04T10:00:00.",
            "2026-05-04T10:00:00.1234567",
            "2026-05-04T10:00:00 +02:00",
            "10:00 AM",
            "2026-05-04T10:00:00 America/New_York",
            "2026-05-04T10:00:00EST",
            "2026-05-04T10:00:00+2",
            "2026-05-04T10:00:00+15:00",
            "2026-05-04T10:00:00+02:60",
            "2026-05-04  10:00",
            "2026-05-04t10:00",
            "0000-01-01",
            "12026-05-04",
            "2026-05-04 BC",
            "J2461165",
            "2026-W19-1",
            "2026-124",
            "-2026-05-04",
            "+2026-05-04",
            "\u{662}026-05-04",
            "2026-05-04\0",
            "10",
            "1000",
        ] {
            for moment in [Day, Local, Instant, Clock, ZonedClock, DayOrLocal, Several] {
                assert!(!moment.takes(text), "{text:?} as {moment:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_is_taken_as_two_things(text in "[0-9TZ:.+ -]{0,30}|\\PC{0,20}") {
            let of_one_type = [Moment::Day, Moment::Local, Moment::Instant, Moment::Clock, Moment::ZonedClock];
            prop_assert!(of_one_type.into_iter().filter(|moment| moment.takes(&text)).count() <= 1);
        }
    }
}
