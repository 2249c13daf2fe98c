//! Work by the clock. A tick fires once in the whole fleet: its row is inserted in the transaction that enqueues its jobs.
//!
//! Ticks that nobody fired are not repeated one by one: the latest is made up, and its row says how late it was and how
//! many were missed before it.

use std::{fmt, str::FromStr, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use cron::Schedule;
use futures::future::BoxFuture;

use crate::{
    db::{Db, DbError, Tx},
    fault::{self, FaultPoint},
    params,
};

/// Enqueues what a tick calls for, in the transaction of the tick.
pub type CronFn = Arc<dyn for<'a> Fn(&'a mut Tx, DateTime<Utc>) -> BoxFuture<'a, Result<(), DbError>> + Send + Sync>;

/// Something to enqueue by the clock.
#[derive(Clone)]
pub struct Cron {
    /// Stored with its ticks: never rename one, only retire it.
    pub name: String,
    /// When, in UTC.
    pub schedule: Schedule,
    /// What.
    pub enqueue: CronFn,
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cron")
            .field("name", &self.name)
            .field("schedule", &self.schedule.to_string())
            .finish_non_exhaustive()
    }
}

/// More missed ticks than this are reported as this many.
const MISSED_MOST: usize = 100_000;

/// Reads a schedule: the usual five fields (minute, hour, day of month, month, day of week with 0 and 7 for Sunday), or six
/// with seconds first (day of week then counts from 1 for Sunday; names are safer).
///
/// # Errors
/// When it is no schedule: the message quotes it.
pub fn parse_schedule(expression: &str) -> Result<Schedule, String> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let six = if let [minute, hour, day, month, weekday] = fields.as_slice() {
        format!("0 {minute} {hour} {day} {month} {}", name_weekdays(weekday))
    } else {
        expression.to_owned()
    };
    Schedule::from_str(&six)
        .map_err(|error| format!("`{expression}` is no schedule: {error}; write it as `minute hour day month weekday`"))
}

/// The parser below counts weekdays from 1, everybody's crontab from 0: names mean the same to both.
fn name_weekdays(field: &str) -> String {
    const NAMES: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let item = |item: &str| -> String {
        let (range, step) = match item.split_once('/') {
            None => (item, None),
            Some((range, step)) => (range, Some(step)),
        };
        let step_by = step.map_or(Some(1), |step| step.parse::<usize>().ok());
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (first.parse::<usize>(), last.parse::<usize>()),
            None => (range.parse(), range.parse()),
        };
        match (first, last, step_by) {
            (Ok(first), Ok(last), Some(step)) if first <= last && last <= 7 && step > 0 => {
                let last = if range.contains('-') || step == 1 { last } else { 6 };
                (first..=last)
                    .step_by(step)
                    .map(|day| NAMES[day])
                    .collect::<Vec<_>>()
                    .join(",")
            }
            _ => item.to_owned(),
        }
    };
    field.split(',').map(item).collect::<Vec<_>>().join(",")
}

impl Cron {
    /// The latest tick that is due.
    fn latest(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // The iterator counts in whole seconds and leaves its start out.
        self.schedule
            .after(&(now + TimeDelta::seconds(1)))
            .rev()
            .find(|tick| *tick <= now)
    }

    /// The first tick after `now`.
    pub(super) fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.schedule.after(&now).next()
    }

    fn missed_between(&self, last: DateTime<Utc>, tick: DateTime<Utc>) -> i64 {
        let missed = self
            .schedule
            .after(&last)
            .take(MISSED_MOST)
            .take_while(|missed| *missed < tick)
            .count();
        i64::try_from(missed).unwrap_or(i64::MAX)
    }

    /// Fires the latest due tick, unless somebody did. Answers whether it was us.
    pub(super) async fn fire_due(&self, db: &Db) -> Result<bool, DbError> {
        let now = db.now().await?;
        let Some(tick) = self.latest(now) else { return Ok(false) };
        let last = db
            .fetch_optional(
                "-- last_tick\nSELECT tick FROM cron_ticks WHERE name = $1 ORDER BY tick DESC LIMIT 1",
                &params![&self.name],
            )
            .await?
            .map(|row| row.get::<DateTime<Utc>>("tick"))
            .transpose()?;
        if last.is_some_and(|last| last >= tick) {
            return Ok(false);
        }
        // Before the transaction: after a long pause there are many to count.
        let missed = last.map_or(0, |last| self.missed_between(last, tick));
        let mut tx = db.begin().await?;
        let now = tx.now().await?;
        let late = (now - tick).num_microseconds().unwrap_or(i64::MAX);
        let fired = tx
            .execute(
                "-- fire_tick
                 INSERT INTO cron_ticks (name, tick, late_us, missed, fired_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (name, tick) DO NOTHING",
                &params![&self.name, tick, late, missed, now],
            )
            .await?;
        if fired == 0 {
            return Ok(false);
        }
        (self.enqueue)(&mut tx, tick).await?;
        tx.commit().await?;
        fault::hit(FaultPoint::AfterCronTick);
        if missed > 0 {
            tracing::warn!(cron = self.name, %tick, missed, late_us = late, "ticks were missed: the latest is made up");
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn cron(expression: &str) -> Cron {
        Cron {
            name: "test".to_owned(),
            schedule: parse_schedule(expression).unwrap(),
            enqueue: Arc::new(|_, _| Box::pin(async { Ok(()) })),
        }
    }

    #[test]
    fn the_latest_tick_is_the_one_at_or_before_now() {
        let five = cron("*/5 * * * *");
        assert_eq!(
            five.latest(at("2026-03-01T10:04:59.999Z")),
            Some(at("2026-03-01T10:00:00Z"))
        );
        assert_eq!(
            five.latest(at("2026-03-01T10:05:00Z")),
            Some(at("2026-03-01T10:05:00Z"))
        );
        assert_eq!(
            five.latest(at("2026-03-01T10:05:00.5Z")),
            Some(at("2026-03-01T10:05:00Z"))
        );
        assert_eq!(
            five.next(at("2026-03-01T10:05:00.5Z")),
            Some(at("2026-03-01T10:10:00Z"))
        );
    }

    #[test]
    fn ticks_between_two_are_counted() {
        let five = cron("*/5 * * * *");
        assert_eq!(
            five.missed_between(at("2026-03-01T10:00:00Z"), at("2026-03-01T10:05:00Z")),
            0
        );
        assert_eq!(
            five.missed_between(at("2026-03-01T10:00:00Z"), at("2026-03-01T11:00:00Z")),
            11
        );
    }

    #[test]
    fn weekdays_are_counted_as_in_everybodys_crontab() {
        // 2026-03-01 is a Sunday.
        let next = |expression: &str| cron(expression).next(at("2026-03-01T12:00:00Z")).unwrap().to_rfc3339();
        assert_eq!(next("0 3 * * 1"), "2026-03-02T03:00:00+00:00");
        assert_eq!(next("0 3 * * 0"), "2026-03-08T03:00:00+00:00");
        assert_eq!(next("0 3 * * 7"), "2026-03-08T03:00:00+00:00");
        assert_eq!(next("0 3 * * 5-7"), "2026-03-06T03:00:00+00:00");
        assert_eq!(next("0 3 * * MON"), "2026-03-02T03:00:00+00:00");
        assert_eq!(next("0 3 * * *"), "2026-03-02T03:00:00+00:00");
    }

    #[test]
    fn what_is_no_schedule_is_quoted() {
        let error = parse_schedule("every now and then").unwrap_err();
        assert!(error.contains("`every now and then` is no schedule"), "{error}");
    }
}
