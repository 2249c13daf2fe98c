//! What is measured.

mod backlog;
mod pickup;

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde::Serialize;

use crate::{
    ledger::Ledger,
    measurement::{Figures, Measurement},
    peers::{Candidate, Peer, Places},
};

/// How often the database is asked once every job has run. Not before: asking costs the peer time.
const LOOK: Duration = Duration::from_millis(2);
/// How long writing down what has run may take: longer than a slow job that runs a second time.
const WRITTEN: Duration = Duration::from_mins(3);

/// One kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    /// How fast a backlog of jobs that do nothing is worked off.
    Throughput,
    /// How long a job waits when nothing else is to be done.
    Pickup,
    /// Whether two workers share slow jobs without running one twice.
    Overlap,
}

impl Case {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Throughput, Self::Pickup, Self::Overlap];

    /// How many jobs it takes with these settings.
    fn jobs(self, candidate: &Candidate) -> u64 {
        match self {
            Self::Throughput => candidate.backlog,
            Self::Pickup => 200,
            // Each of the two workers comes back for more while some of its own still run.
            Self::Overlap => 4 * candidate.concurrency,
        }
    }

    /// How long a job works.
    fn work(self) -> fn(u64) -> Duration {
        match self {
            Self::Throughput | Self::Pickup => |_| Duration::ZERO,
            // 5, 10, 15, 20, 25 s: some end long before others, and the last long after 12 s, when a worker counts as dead.
            Self::Overlap => |number| Duration::from_secs(5 + 5 * (number % 5)),
        }
    }

    /// Measures it on an empty database.
    pub(crate) async fn measure(
        self,
        candidate: &Candidate,
        places: &Places,
        jobs: Option<u64>,
    ) -> anyhow::Result<Measurement> {
        let jobs = jobs.unwrap_or_else(|| self.jobs(candidate));
        let ledger = Arc::new(Ledger::new(jobs, self.work()));
        let peer = candidate.open(places).await?;
        let figures = self.run(peer.as_ref(), jobs, candidate.warm_up, &ledger).await;
        let removed = peer.remove().await;
        let figures = figures?;
        removed?;
        Ok(Measurement::new(candidate, self, jobs, figures, ledger.duplicates()))
    }

    async fn run(self, peer: &dyn Peer, jobs: u64, warm_up: u64, ledger: &Arc<Ledger>) -> anyhow::Result<Figures> {
        match self {
            Self::Throughput => {
                let seconds = backlog::measure(peer, jobs, ledger, &["one"], warm_up).await?;
                let jobs_per_second = jobs as f64 / seconds;
                Ok(Figures::Throughput {
                    seconds,
                    jobs_per_second,
                })
            }
            Self::Overlap => {
                let seconds = backlog::measure(peer, jobs, ledger, &["one", "two"], warm_up).await?;
                Ok(Figures::Overlap { seconds })
            }
            Self::Pickup => pickup::measure(peer, jobs, ledger, warm_up).await,
        }
    }
}

/// Lets workers that run already do these jobs, and gathers statistics then: what is learnt of one worker does not help the next.
async fn warm_up(peer: &dyn Peer, numbers: Range<u64>) -> anyhow::Result<()> {
    peer.push(numbers).await?;
    until_done(peer).await?;
    peer.analyze().await
}

async fn until_done(peer: &dyn Peer) -> anyhow::Result<()> {
    let asked_first = Instant::now();
    while !peer.is_done().await? {
        ensure!(
            asked_first.elapsed() < WRITTEN,
            "jobs have run, but are not written down as done"
        );
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
