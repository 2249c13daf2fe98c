//! What the jobs themselves know: each one writes down that it began. So a job that runs twice is seen, whatever the queue's own
//! tables say.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::bail;
use tokio::sync::Notify;

/// A peer that begins no further job for so long has lost some. Longer than the longest of its own timers, 30 s.
const SILENCE: Duration = Duration::from_mins(1);

/// Every run of every job, of all workers in this process.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// How often each job began.
    runs: Vec<AtomicU32>,
    /// When each job began first.
    began: Vec<OnceLock<Instant>>,
    /// How long each job takes.
    work: fn(u64) -> Duration,
    first: OnceLock<Instant>,
    distinct: AtomicU64,
    all_ran: Notify,
}

impl Ledger {
    /// For the jobs 0 to `jobs`; jobs with a greater number run too, but nothing is kept of them.
    pub(crate) fn new(jobs: u64, work: fn(u64) -> Duration) -> Self {
        Self {
            runs: (0..jobs).map(|_| AtomicU32::new(0)).collect(),
            began: (0..jobs).map(|_| OnceLock::new()).collect(),
            work,
            first: OnceLock::new(),
            distinct: AtomicU64::new(0),
            all_ran: Notify::new(),
        }
    }

    /// The job: what every peer's handler calls, and all that it does.
    pub(crate) async fn run(&self, number: u64) {
        let now = Instant::now();
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let (Some(runs), Some(began)) = (self.runs.get(place), self.began.get(place)) else {
            return;
        };
        self.first.get_or_init(|| now);
        began.get_or_init(|| now);
        let is_first_run = runs.fetch_add(1, Ordering::Relaxed) == 0;
        let work = (self.work)(number);
        if !work.is_zero() {
            tokio::time::sleep(work).await;
        }
        if is_first_run && self.distinct.fetch_add(1, Ordering::Relaxed) + 1 == self.runs.len() as u64 {
            self.all_ran.notify_one();
        }
    }

    /// Waits until every job has run at least once.
    pub(crate) async fn all_ran(&self) -> anyhow::Result<()> {
        let mut seen = 0;
        while tokio::time::timeout(SILENCE, self.all_ran.notified()).await.is_err() {
            let ran = self.distinct.load(Ordering::Relaxed);
            if ran == seen {
                bail!("{ran} of {} jobs ran, then none for {SILENCE:?}", self.runs.len());
            }
            seen = ran;
        }
        Ok(())
    }

    /// When the first job began.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first.get().copied()
    }

    /// When each job began first, in order of their numbers.
    pub(crate) fn began(&self) -> impl Iterator<Item = Option<Instant>> {
        self.began.iter().map(|began| began.get().copied())
    }

    /// How many runs there were beyond one of each job.
    pub(crate) fn duplicates(&self) -> u64 {
        let again = |runs: &AtomicU32| u64::from(runs.load(Ordering::Relaxed).saturating_sub(1));
        self.runs.iter().map(again).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Ledger;

    #[tokio::test]
    async fn a_job_that_runs_twice_is_a_duplicate_and_a_job_beyond_the_last_is_nothing() -> anyhow::Result<()> {
        let ledger = Ledger::new(2, |_| Duration::ZERO);
        for number in [2, 1, 1, 0] {
            ledger.run(number).await;
        }
        ledger.all_ran().await?;
        assert_eq!(ledger.duplicates(), 1);
        assert!(ledger.began().all(|began| began.is_some()));
        assert_eq!(ledger.first(), ledger.began().last().flatten());
        Ok(())
    }
}
