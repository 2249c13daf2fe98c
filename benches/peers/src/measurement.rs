//! What is printed of a measurement.

use serde::Serialize;

use crate::{cases::Case, peers::Candidate};

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Measurement {
    peer: &'static str,
    version: &'static str,
    settings: &'static str,
    case: Case,
    jobs: u64,
    #[serde(flatten)]
    figures: Figures,
    guarantees: &'static str,
    duplicates_seen: u64,
}

/// What a case finds out.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(crate) enum Figures {
    /// Of jobs that do nothing.
    Throughput {
        /// From the first start to the commit of the last completion.
        seconds: f64,
        /// Over that time.
        jobs_per_second: f64,
    },
    /// Of slow jobs.
    Overlap {
        /// From the first start to the commit of the last completion.
        seconds: f64,
    },
    /// Of jobs one by one.
    Pickup {
        /// From the first push to the last start.
        seconds: f64,
        /// From push to start.
        latency_ms: Latency,
    },
}

/// What half, all but 5 % and all but 1 % of the waits stay within, and the longest, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

impl Latency {
    /// The smallest wait that so many stay within, for each share.
    pub(crate) fn of(mut waits: Vec<f64>) -> Self {
        waits.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let place = (waits.len() * share).div_ceil(100).max(1) - 1;
            waits.get(place).copied().unwrap_or_default()
        };
        Self {
            p50: at(50),
            p95: at(95),
            p99: at(99),
            max: at(100),
        }
    }
}

impl Measurement {
    pub(crate) fn new(candidate: &Candidate, case: Case, jobs: u64, figures: Figures, duplicates_seen: u64) -> Self {
        Self {
            peer: candidate.name,
            version: candidate.version(),
            settings: candidate.settings,
            case,
            jobs,
            figures,
            guarantees: candidate.guarantees,
            duplicates_seen,
        }
    }

    /// For a reader.
    pub(crate) fn text(&self) -> String {
        let figures = match self.figures {
            Figures::Throughput {
                seconds,
                jobs_per_second,
            } => format!("{jobs_per_second:.0} jobs/s, {} jobs in {seconds:.2} s", self.jobs),
            Figures::Overlap { seconds } => format!("{} slow jobs, two workers, {seconds:.0} s", self.jobs),
            Figures::Pickup { latency_ms: wait, .. } => format!(
                "push to start p50 {:.1}, p95 {:.1}, p99 {:.1}, max {:.1} ms, {} jobs",
                wait.p50, wait.p95, wait.p99, wait.max, self.jobs
            ),
        };
        format!(
            "{} {} ({}): {figures}; run twice: {}; {}",
            self.peer, self.version, self.settings, self.duplicates_seen, self.guarantees
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Latency;

    #[test]
    fn a_percentile_is_the_smallest_wait_that_so_many_stay_within() {
        let expected = Latency {
            p50: 50.0,
            p95: 95.0,
            p99: 99.0,
            max: 100.0,
        };
        assert_eq!(Latency::of((1..=100).rev().map(f64::from).collect()), expected);
    }
}
