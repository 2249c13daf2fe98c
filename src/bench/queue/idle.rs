//! What a process costs that has nothing to do.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use super::{
    noop::{self, Empty},
    tables,
};
use crate::{
    db::Db,
    queue::{self, Job as _},
};

/// Statements a second.
pub(super) async fn run(db: &Db, watched: Duration, settle: Duration) -> anyhow::Result<f64> {
    tables::clear(db).await?;
    let settings = noop::settings(Empty::NAME, 64);
    let begun = Arc::new(AtomicU64::new(0));
    let running = queue::start(db, noop::registry(), begun, Vec::new(), settings).await?;
    tokio::time::sleep(settle).await;
    let (before, started) = (db.statements(), Instant::now());
    tokio::time::sleep(watched).await;
    let per_second = (db.statements() - before) as f64 / started.elapsed().as_secs_f64();
    running.shutdown().await;
    Ok(per_second)
}
