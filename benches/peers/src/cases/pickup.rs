//! Jobs one by one, to a worker that has nothing else to do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::warm_up;
use crate::{
    ledger::Ledger,
    measurement::{Figures, Latency},
    peers::Peer,
};

/// How long a worker is given to come up and to listen.
const SETTLED: Duration = Duration::from_secs(2);
/// Jobs that are not measured: they fill the pusher's caches.
const FIRST: u64 = 10;

/// From just before the push to the job's first line.
pub(super) async fn measure(
    peer: &dyn Peer,
    jobs: u64,
    ledger: &Arc<Ledger>,
    warm_up_jobs: u64,
) -> anyhow::Result<Figures> {
    let running = peer.start("one", Arc::clone(ledger)).await?;
    tokio::time::sleep(SETTLED).await;
    if warm_up_jobs > 0 {
        warm_up(peer, jobs..jobs + warm_up_jobs).await?;
    }
    for number in jobs..jobs + FIRST {
        peer.push_one(number).await?;
    }
    tokio::time::sleep(SETTLED).await;

    let started = Instant::now();
    let mut due = tokio::time::Instant::now();
    let mut pushed = Vec::new();
    for number in 0..jobs {
        tokio::time::sleep_until(due).await;
        pushed.push(Instant::now());
        peer.push_one(number).await?;
        due += gap(number);
    }
    ledger.all_ran().await?;
    let seconds = started.elapsed().as_secs_f64();
    running.stop().await?;

    let waits = pushed.iter().zip(ledger.began()).map(|(pushed, began)| {
        let began = began.context("a job has not run")?;
        Ok(began.duration_since(*pushed).as_secs_f64() * 1e3)
    });
    Ok(Figures::Pickup {
        seconds,
        latency_ms: Latency::of(waits.collect::<anyhow::Result<_>>()?),
    })
}

/// 10 ms on average, never in step with what polls.
fn gap(number: u64) -> Duration {
    Duration::from_millis(5 + number * 37 % 11)
}
