//! What a whole run left in the tables, against what was promised: limits, rates, uniqueness, and that nothing was done
//! twice. It sees every moment of the run, not only those at which a test happened to look.
//!
//! It knows the rules of a run that nobody interfered with: limits as they are now held from the beginning, and no operator
//! retried a job.

mod jobs;
mod overlap;
mod rates;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use aftercall::db::{Db, Row};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What SQLite's clock counts.
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);
/// Violations of one rule that are told; a run that broke it once has often broken it a thousand times.
const TOLD: usize = 20;

/// One run of a job. Times are microseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) job_id: Uuid,
    pub(crate) lease: Uuid,
    pub(crate) queue: String,
    pub(crate) limit_key: String,
    pub(crate) slot: Option<u32>,
    pub(crate) worker: String,
    pub(crate) started_at_us: i64,
    /// Of a dead worker's: when it was taken away.
    pub(crate) finished_at_us: Option<i64>,
    pub(crate) outcome: Option<String>,
}

/// A start that counts in its key's window.
#[derive(Debug, Clone)]
pub(crate) struct RateStart {
    pub(crate) limit_key: String,
    pub(crate) job_id: Uuid,
    pub(crate) started_at_us: i64,
}

/// What may be.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) key: String,
    pub(crate) max_running: Option<u32>,
    pub(crate) rate_max: Option<u32>,
    pub(crate) rate_window_us: Option<i64>,
}

/// One job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: Uuid,
    pub(crate) queue: String,
    pub(crate) unique_key: Option<String>,
    pub(crate) state: String,
    pub(crate) created_at_us: i64,
    pub(crate) finished_at_us: Option<i64>,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) rate_starts: Vec<RateStart>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) jobs: Vec<Job>,
}

impl History {
    /// Reads it from the database.
    pub(crate) async fn read(db: &Db) -> Self {
        let attempts = "-- history_attempts
            SELECT lease, job_id, queue, limit_key, slot, worker, started_at, finished_at, outcome FROM job_attempts";
        let rate_starts = "-- history_rate_starts\nSELECT limit_key, job_id, started_at FROM rate_starts";
        let limits = "-- history_limits\nSELECT key, max_running, rate_max, rate_window_us FROM limits";
        let jobs = "-- history_jobs\nSELECT id, queue, unique_key, state, created_at, finished_at FROM jobs";
        let mut history = Self::default();
        for row in db.fetch_all(attempts, &[]).await.unwrap() {
            history.attempts.push(Attempt {
                job_id: row.get("job_id").unwrap(),
                lease: row.get("lease").unwrap(),
                queue: row.get("queue").unwrap(),
                limit_key: row.get("limit_key").unwrap(),
                slot: row.get("slot").unwrap(),
                worker: row.get("worker").unwrap(),
                started_at_us: micros(&row, "started_at"),
                finished_at_us: micros_or_none(&row, "finished_at"),
                outcome: row.get("outcome").unwrap(),
            });
        }
        for row in db.fetch_all(rate_starts, &[]).await.unwrap() {
            history.rate_starts.push(RateStart {
                limit_key: row.get("limit_key").unwrap(),
                job_id: row.get("job_id").unwrap(),
                started_at_us: micros(&row, "started_at"),
            });
        }
        for row in db.fetch_all(limits, &[]).await.unwrap() {
            history.limits.push(Limit {
                key: row.get("key").unwrap(),
                max_running: row.get("max_running").unwrap(),
                rate_max: row.get("rate_max").unwrap(),
                rate_window_us: row.get("rate_window_us").unwrap(),
            });
        }
        for row in db.fetch_all(jobs, &[]).await.unwrap() {
            history.jobs.push(Job {
                id: row.get("id").unwrap(),
                queue: row.get("queue").unwrap(),
                unique_key: row.get("unique_key").unwrap(),
                state: row.get("state").unwrap(),
                created_at_us: micros(&row, "created_at"),
                finished_at_us: micros_or_none(&row, "finished_at"),
            });
        }
        history
    }

    /// Every promise that it breaks for certain, a sentence each.
    ///
    /// `clock` is how far a time may be off: what the clock counts at least ([`MILLISECOND`] for SQLite). Where a
    /// transaction reads the clock some time before the change is seen (PostgreSQL), that time as well.
    pub(crate) fn violations(&self, clock: Duration) -> Vec<String> {
        let clock = i64::try_from(clock.as_micros()).unwrap();
        let rules = [
            jobs::too_many_at_once(self, clock),
            jobs::slots_held_twice(self, clock),
            jobs::ran_twice_at_once(self, clock),
            jobs::live_twice(self, clock),
            jobs::without_an_end(self, clock),
            jobs::not_completed_once(self),
            rates::too_many_in_a_window(self),
            rates::wrongly_charged(self),
        ];
        let mut told = Vec::new();
        for mut broken in rules {
            let more = broken.len().saturating_sub(TOLD);
            broken.truncate(TOLD);
            told.append(&mut broken);
            if more > 0 {
                told.push(format!("… and {more} more like the last one"));
            }
        }
        told
    }
}

fn micros(row: &Row, column: &'static str) -> i64 {
    row.get::<DateTime<Utc>>(column).unwrap().timestamp_micros()
}

fn micros_or_none(row: &Row, column: &'static str) -> Option<i64> {
    row.get::<Option<DateTime<Utc>>>(column)
        .unwrap()
        .map(|time| time.timestamp_micros())
}

/// A time for people.
fn at(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros)
        .unwrap()
        .format("%H:%M:%S%.6f")
        .to_string()
}

fn at_or(micros: Option<i64>, none: &str) -> String {
    micros.map_or_else(|| none.to_owned(), at)
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lease {} of {} job {} on worker {} ({} to {}, {})",
            self.lease,
            self.queue,
            self.job_id,
            self.worker,
            at(self.started_at_us),
            at_or(self.finished_at_us, "now"),
            self.outcome.as_deref().unwrap_or("no outcome"),
        )
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "job {} ({}, {} to {})",
            self.id,
            self.state,
            at(self.created_at_us),
            at_or(self.finished_at_us, "now")
        )
    }
}
