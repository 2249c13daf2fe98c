//! A backlog that is there as a whole before the first of its jobs starts.

use std::sync::Arc;

use anyhow::Context as _;

use super::{until_done, warm_up};
use crate::{ledger::Ledger, peers::Peer};

/// Seconds from the first start to the commit of the last completion.
pub(super) async fn measure(
    peer: &dyn Peer,
    jobs: u64,
    ledger: &Arc<Ledger>,
    workers: &[&str],
    warm_up_jobs: u64,
) -> anyhow::Result<f64> {
    let mut running = Vec::new();
    if warm_up_jobs == 0 {
        peer.push(0..jobs).await?;
    }
    for name in workers {
        running.push(peer.start(name, Arc::clone(ledger)).await?);
    }
    if warm_up_jobs > 0 {
        warm_up(peer, jobs..jobs + warm_up_jobs).await?;
        peer.push(0..jobs).await?;
    }
    ledger.all_ran().await?;
    until_done(peer).await?;
    let seconds = ledger.first().context("no job has run")?.elapsed().as_secs_f64();
    for worker in running {
        worker.stop().await?;
    }
    Ok(seconds)
}
