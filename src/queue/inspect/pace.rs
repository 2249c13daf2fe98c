//! How fast jobs come and go and how long they wait: from what was noted of every change of state.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    db::{Db, DbError, Sql},
    params,
    queue::counters::events,
};

/// What is looked at: this many minutes, the one that is under way included.
const MINUTES: i64 = 15;

/// The last minutes of a queue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Pace {
    /// How long a time this is about, in seconds: between 14 and 15 minutes.
    pub seconds: f64,
    /// Jobs that came: enqueued, or run again after their end.
    pub came: u64,
    /// Jobs that went: done, cancelled, discarded or deleted.
    pub went: u64,
    /// Starts, those that are tried again included.
    pub started: u64,
    /// `came` a minute.
    pub in_per_minute: f64,
    /// `went` a minute.
    pub out_per_minute: f64,
    /// Half of the starts were due for at most so long before, in microseconds. It is at most a quarter too long.
    pub wait_p50_us: Option<i64>,
    /// 95 of 100.
    pub wait_p95_us: Option<i64>,
    /// Jobs that waited or ran when this time began.
    pub before: u64,
    /// Jobs that wait or run now.
    pub now: u64,
    /// Where that goes.
    pub trend: Trend,
}

/// Whether a queue's backlog grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// As many go as come, within a twentieth of both.
    #[default]
    Steady,
    /// More come than go.
    Growing,
    /// More go than come.
    Shrinking,
}

impl Trend {
    /// The printed spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Growing => "growing",
            Self::Shrinking => "shrinking",
        }
    }

    fn of(came: u64, went: u64) -> Self {
        if came.abs_diff(went) * 20 <= came + went {
            Self::Steady
        } else if came > went {
            Self::Growing
        } else {
            Self::Shrinking
        }
    }
}

macro_rules! since {
    ($minute:literal) => {
        concat!(
            "-- queue_pace
             SELECT happened.queue, happened.event, wait_buckets.up_to_us, CAST(sum(happened.n) AS bigint) AS n FROM (
                SELECT queue, event, wait, n FROM queue_minutes WHERE minute >= $1
                UNION ALL
                SELECT queue, event, wait, n FROM (",
            events!("queue_transitions", $minute),
            ") AS noted WHERE minute >= $1
             ) AS happened LEFT JOIN wait_buckets ON wait_buckets.wait = happened.wait
             GROUP BY happened.queue, happened.event, wait_buckets.up_to_us
             ORDER BY happened.queue, happened.event, wait_buckets.up_to_us"
        )
    };
}

const SINCE: Sql = Sql::each(since!("at - at % 60000000"), since!("date_trunc('minute', at)"));

/// The last minutes of each queue in which anything happened in them; `now` of each is left to be set.
pub(super) async fn of_queues(db: &Db, now: DateTime<Utc>) -> Result<BTreeMap<String, Pace>, DbError> {
    let minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
    let since = minute - TimeDelta::minutes(MINUTES - 1);
    let length = (now - since).to_std().unwrap_or(Duration::from_mins(1));
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for row in db.fetch_all(SINCE, &params![since]).await? {
        let seen = seen.entry(row.get("queue")?).or_default();
        let count: u64 = row.get("n")?;
        match row.get::<String>("event")?.as_str() {
            "in" => seen.came += count,
            "out" => seen.went += count,
            _ => seen
                .waits
                .push((row.get::<Option<i64>>("up_to_us")?.unwrap_or(i64::MAX), count)),
        }
    }
    Ok(seen
        .into_iter()
        .map(|(queue, seen)| (queue, seen.pace(length)))
        .collect())
}

#[derive(Debug, Default)]
struct Seen {
    came: u64,
    went: u64,
    /// How long at most, in microseconds, and how many; shortest first.
    waits: Vec<(i64, u64)>,
}

impl Seen {
    fn pace(&self, length: Duration) -> Pace {
        let minutes = length.as_secs_f64() / 60.0;
        Pace {
            seconds: length.as_secs_f64(),
            came: self.came,
            went: self.went,
            started: self.waits.iter().map(|(_, count)| count).sum(),
            in_per_minute: self.came as f64 / minutes,
            out_per_minute: self.went as f64 / minutes,
            wait_p50_us: self.wait(50),
            wait_p95_us: self.wait(95),
            before: 0,
            now: 0,
            trend: Trend::of(self.came, self.went),
        }
    }

    /// How long the wait is that so many of a hundred starts do not exceed.
    fn wait(&self, of_hundred: u64) -> Option<i64> {
        let all: u64 = self.waits.iter().map(|(_, count)| count).sum();
        let mut so_far = 0;
        for (up_to, count) in &self.waits {
            so_far += count;
            if so_far * 100 >= all * of_hundred {
                return Some(*up_to);
            }
        }
        None
    }
}

impl Pace {
    /// Sets how many wait or run now, and by that how many did before.
    pub(super) fn set_now(&mut self, now: u64) {
        self.now = now;
        self.before = (now + self.went).saturating_sub(self.came);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_by_the_bucket_that_they_reach_into() {
        let seen = Seen {
            came: 100,
            went: 40,
            waits: vec![(1_000, 94), (1_250, 1), (2_000_000, 5)],
        };
        let mut pace = seen.pace(Duration::from_mins(10));
        assert_eq!((pace.wait_p50_us, pace.wait_p95_us), (Some(1_000), Some(1_250)));
        assert_eq!(pace.started, 100);
        assert!((pace.in_per_minute - 10.0).abs() < 1e-9 && (pace.out_per_minute - 4.0).abs() < 1e-9);
        pace.set_now(75);
        assert_eq!((pace.before, pace.now, pace.trend), (15, 75, Trend::Growing));
        assert_eq!(Seen::default().pace(Duration::from_mins(1)).wait_p50_us, None);
    }

    #[test]
    fn a_backlog_is_steady_as_long_as_what_comes_and_goes_differ_by_little() {
        for (came, went, trend) in [
            (0, 0, Trend::Steady),
            (100, 96, Trend::Steady),
            (100, 80, Trend::Growing),
            (80, 100, Trend::Shrinking),
            (1, 0, Trend::Growing),
        ] {
            assert_eq!(Trend::of(came, went), trend, "{came} came, {went} went");
        }
    }
}
