//! What was measured, for people and for programs.

use serde::Serialize;

use super::{Look, Retried};
use crate::bench::queue::Database;

/// How a database was filled.
#[derive(Debug, Clone, Serialize)]
pub struct Filled {
    /// Which.
    pub database: Database,
    /// Jobs, without those that run.
    pub jobs: u64,
    /// What that took.
    pub seconds: f64,
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The databases. Their counters were compared with a count.
    pub filled: Vec<Filled>,
    /// What was asked.
    pub looks: Vec<Look>,
    /// What was changed.
    pub retried: Vec<Retried>,
}

impl Report {
    /// The figures beside their goals. They are printed, not asserted: a machine that others use as well misses some now and then.
    pub fn lines(&self) -> Vec<String> {
        let mark = |met: bool| if met { "met" } else { "MISSED" };
        let mut lines = Vec::new();
        for filled in &self.filled {
            lines.push(format!(
                "{:<11}{} jobs in {:.1} s, counters right",
                filled.database.name(),
                filled.jobs,
                filled.seconds
            ));
        }
        lines.push(format!(
            "{:<57}{:>7}{:>9}{:>9}{:>9}",
            "answered, ms", "times", "p50", "p95", "max"
        ));
        for look in &self.looks {
            lines.push(format!(
                "{:<11}{:<46}{:>7}{:>9.1}{:>9.1}{:>9.1}   p95 goal ≤ {:.0}: {}",
                look.database.name(),
                look.what,
                look.ms.count,
                look.ms.p50,
                look.ms.p95,
                look.ms.max,
                look.goal_ms,
                mark(look.is_met())
            ));
        }
        for retried in &self.retried {
            let (name, goal) = (retried.database.name(), Retried::goal());
            lines.push(format!(
                "{name:<11}{} jobs run again, {:.0} a second; another queue from push to start:",
                retried.jobs, retried.per_second
            ));
            for (when, ms) in [("before", retried.idle_ms), ("meanwhile", retried.beside_ms)] {
                lines.push(format!(
                    "{:<11}{when:<46}{:>7}{:>9.1}{:>9.1}{:>9.1}",
                    "", ms.count, ms.p50, ms.p95, ms.max
                ));
            }
            lines.push(format!(
                "{:<11}p95 meanwhile / before {:.2}×   goal ≤ {goal:.0}×: {}",
                "",
                retried.ratio(),
                mark(retried.is_met())
            ));
        }
        lines
    }
}
