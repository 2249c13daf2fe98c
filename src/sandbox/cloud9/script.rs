//! How a practice behaves: what fails next, when it is open, how much it takes, what its clock says.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use axum::http::HeaderValue;
use chrono::{DateTime, TimeZone as _, Timelike as _, Utc};

/// What a request is answered with instead of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `Error` with this code.
    Code(u32),
    /// `Success` with a record whose `Result` is an error.
    ErrorResult,
    /// A page for people, with status 200.
    Html,
    /// Status 200 and nothing.
    EmptyBody,
    /// `Success` without records: how it throttles at times.
    NoRecords,
    /// The answer breaks off in the middle of a record.
    Cut,
    /// This status, with a page.
    Status(u16),
    /// This body, with status 200.
    Body(String),
    /// No answer until the server stops.
    Hang,
}

/// What a GUID that nobody has is answered with: both are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownGuid {
    /// `Success` without records.
    #[default]
    NoRecords,
    /// `Error` with code 3.
    Code3,
}

/// A clock that stands still, or runs from an instant on. The machine's own is not asked.
#[derive(Debug, Clone, Copy)]
enum Clock {
    Stands(DateTime<Utc>),
    Runs(DateTime<Utc>, Instant),
}

#[derive(Debug)]
pub(super) struct Script {
    /// By procedure, in the order in which they come: how many requests each still takes.
    faults: BTreeMap<String, VecDeque<(Fault, u64)>>,
    pub(super) unknown_guid: UnknownGuid,
    /// Minutes of the day.
    pub(super) allowed_hours: Option<(u32, u32)>,
    pub(super) per_second: Option<u32>,
    taken: VecDeque<DateTime<Utc>>,
    clock: Clock,
    /// Somebody set the clock, so that it is told.
    tells_time: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            faults: BTreeMap::new(),
            unknown_guid: UnknownGuid::default(),
            allowed_hours: None,
            per_second: None,
            taken: VecDeque::new(),
            clock: Clock::Runs(noon(), Instant::now()),
            tells_time: false,
        }
    }
}

/// Where a clock begins that nobody set.
fn noon() -> DateTime<Utc> {
    Utc.timestamp_opt(1_772_366_400, 0).single().unwrap_or_default()
}

impl Script {
    pub(super) fn fail(&mut self, procedure: &str, fault: Fault, times: u64) {
        let queue = self.faults.entry(procedure.to_owned()).or_default();
        queue.push_back((fault, times));
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
    }

    pub(super) fn next_fault(&mut self, procedure: &str) -> Option<Fault> {
        for key in [procedure, ""] {
            let Some(queue) = self.faults.get_mut(key) else {
                continue;
            };
            while queue.front().is_some_and(|(_, left)| *left == 0) {
                queue.pop_front();
            }
            if let Some((fault, left)) = queue.front_mut() {
                *left -= 1;
                return Some(fault.clone());
            }
        }
        None
    }

    pub(super) fn set_clock(&mut self, now: DateTime<Utc>) {
        self.clock = Clock::Stands(now);
        self.tells_time = true;
    }

    pub(super) fn start_clock(&mut self, now: DateTime<Utc>) {
        self.clock = Clock::Runs(now, Instant::now());
        self.tells_time = true;
    }

    pub(super) fn advance_clock(&mut self, by: Duration) {
        let by = chrono::Duration::from_std(by).unwrap_or_default();
        match &mut self.clock {
            Clock::Stands(now) | Clock::Runs(now, _) => *now += by,
        }
        self.tells_time = true;
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        match self.clock {
            Clock::Stands(now) => now,
            Clock::Runs(from, since) => from + chrono::Duration::from_std(since.elapsed()).unwrap_or_default(),
        }
    }

    /// Its clock as `Date` tells it, where it is another than the machine's.
    pub(super) fn date(&self) -> Option<HeaderValue> {
        if !self.tells_time {
            return None;
        }
        let text = self.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        HeaderValue::from_str(&text).ok()
    }

    pub(super) fn is_open(&self) -> bool {
        let Some((from, to)) = self.allowed_hours else {
            return true;
        };
        let minute = self.now().num_seconds_from_midnight() / 60;
        if from < to {
            (from..to).contains(&minute)
        } else {
            minute >= from || minute < to
        }
    }

    /// Counts a request, unless there were too many in the last second.
    pub(super) fn takes_another(&mut self) -> bool {
        let Some(per_second) = self.per_second else {
            return true;
        };
        let now = self.now();
        while self
            .taken
            .front()
            .is_some_and(|at| now - *at >= chrono::Duration::seconds(1))
        {
            self.taken.pop_front();
        }
        if self.taken.len() >= per_second as usize {
            return false;
        }
        self.taken.push_back(now);
        true
    }
}
