//! What a value says of a point in time, and the zone that it is said in.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::words;

/// Beyond these years the arithmetic of zones overflows, and nobody has an appointment.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2999;

/// What a text says of a point in time, under one reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parts {
    pub(super) year: Option<i32>,
    pub(super) month: Option<u32>,
    pub(super) day: Option<u32>,
    pub(super) weekday: Option<u32>,
    /// Minutes of the day.
    pub(super) minutes: Option<u32>,
    pub(super) seconds: Option<u32>,
    /// With zone: the exact instant.
    pub(super) instant: Option<DateTime<Utc>>,
    /// Some of its words are not resolved: the rest can show a difference, but not that it is the same.
    pub(super) open: bool,
    /// How words that have several readings were taken.
    pub(super) taken: Vec<String>,
}

impl Parts {
    pub(super) fn is_in_range(&self) -> bool {
        self.year.is_none_or(|year| YEARS.contains(&year))
    }

    /// 0 for Monday; `None` where the date is not whole.
    pub(super) fn weekday_of_date(&self) -> Option<u32> {
        let date = NaiveDate::from_ymd_opt(self.year?, self.month?, self.day?)?;
        Some(date.weekday().num_days_from_monday())
    }

    /// Midnight in UTC is how many systems keep a day: a birthday is on that day, in whatever zone it is looked at.
    pub(super) fn day_in_utc(&self) -> Option<Self> {
        let instant = self.instant.filter(|instant| instant.time() == NaiveTime::MIN)?;
        let date = instant.date_naive();
        Some(Self {
            year: Some(date.year()),
            month: Some(date.month()),
            day: Some(date.day()),
            weekday: Some(date.weekday().num_days_from_monday()),
            taken: vec![format!("midnight in UTC as the day {date}")],
            ..Self::default()
        })
    }

    pub(super) fn is_whole(&self) -> bool {
        self.year.is_some() && self.month.is_some() && self.day.is_some() && self.minutes.is_some()
    }
}

/// The readings of a value: several where people mean several things by it, `None` where it is no date or time.
pub(super) fn readings(zone: Tz, said_at: Option<DateTime<Utc>>, value: &Value) -> Option<Vec<Parts>> {
    match value {
        Value::Number(number) => {
            // Seconds or milliseconds since 1970.
            let number = number.as_i64()?;
            let instant = if number.unsigned_abs() > 100_000_000_000 {
                DateTime::from_timestamp_millis(number)?
            } else {
                DateTime::from_timestamp(number, 0)?
            };
            of_instant(zone, instant).map(|parts| vec![parts])
        }
        Value::String(text) => {
            let (text, own) = split_zone(text);
            let readings = words::readings(own.unwrap_or(zone), said_at, text)?;
            // Both sides are told in one zone, so that their dates can be compared.
            Some(match own {
                Some(own) if own != zone => readings.into_iter().map(|parts| moved(own, zone, parts)).collect(),
                _ => readings,
            })
        }
        _ => None,
    }
}

/// The same instant, told in another zone; as it is where it is no whole instant.
pub(super) fn moved(from: Tz, to: Tz, parts: Parts) -> Parts {
    let found = whole(from, &parts).first().and_then(|instant| of_instant(to, *instant));
    match found {
        Some(told) => Parts {
            open: parts.open,
            taken: parts.taken,
            ..told
        },
        None => parts,
    }
}

pub(super) fn of_instant(zone: Tz, instant: DateTime<Utc>) -> Option<Parts> {
    if !YEARS.contains(&instant.year()) {
        return None;
    }
    let local = instant.with_timezone(&zone);
    Some(Parts {
        year: Some(local.year()),
        month: Some(local.month()),
        day: Some(local.day()),
        weekday: Some(local.weekday().num_days_from_monday()),
        minutes: Some(local.hour() * 60 + local.minute()),
        seconds: Some(local.second()),
        instant: Some(instant),
        ..Parts::default()
    })
}

/// The zone that the two are compared in: what is there knows best where it is.
pub(super) fn common_zone(default: Tz, expected: &Value, actual: &Value) -> Tz {
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
pub(super) fn whole(zone: Tz, parts: &Parts) -> Vec<DateTime<Utc>> {
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
