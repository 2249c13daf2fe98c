//! While somebody holds a transaction open, no row's past can be cleaned away: every claim walks over all that were waiting
//! since. How long until that is felt, and does the doctor say who it is?

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::steady::{self, Rate};
use crate::{
    bench::distribution::Distribution,
    db::{Db, condition},
};

/// Jobs a second.
const PER_SECOND: u32 = 500;
/// The longest look at the time before.
const BASELINE: Duration = Duration::from_secs(10);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Pinned {
    /// How long the transaction was open.
    pub seconds: f64,
    /// Jobs a second all the time.
    pub per_second: u32,
    /// Milliseconds from push to start without it.
    pub before_ms: Distribution,
    /// The same in the last fifth of the time with it.
    pub pinned_ms: Distribution,
    /// Whether the doctor's look names the session that holds it.
    pub named: bool,
}

/// Measures it on a server.
pub(super) async fn run(worker: &Db, pusher: &Db, pinned: Duration, settle: Duration) -> anyhow::Result<Pinned> {
    let rate = |time: Duration| Rate {
        jobs: (u64::try_from(time.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_mul(PER_SECOND.into())
            / 1_000)
            .max(1),
        per_second: PER_SECOND,
        settle,
    };
    let before = steady::run(worker, pusher, rate(pinned.min(BASELINE))).await?;

    let mut holder = pusher.begin().await?;
    // A session of ours that forgets a transaction is ended by the server; this one does it on purpose.
    holder
        .execute("-- stay\nSET LOCAL idle_in_transaction_session_timeout = 0", &[])
        .await?;
    let held = holder
        .fetch_optional(
            "-- pin\nSELECT pg_backend_pid() AS pid, txid_current()::text AS id",
            &[],
        )
        .await?;
    let pid: u32 = held.context("a session has no number")?.get("pid")?;
    // It has locked nothing, so that the tables can be cleared; its number alone keeps the past of all rows.
    let waits = steady::run(worker, pusher, rate(pinned)).await;
    let seen = condition::open_transactions(worker, 1).await?;
    drop(holder);
    let waits = waits?;
    let last = waits.len() - waits.len() / 5;
    Ok(Pinned {
        seconds: pinned.as_secs_f64(),
        per_second: PER_SECOND,
        before_ms: Distribution::of(before),
        pinned_ms: Distribution::of(waits[last.min(waits.len() - 1)..].to_vec()),
        named: seen.iter().any(|open| open.pid == pid),
    })
}
