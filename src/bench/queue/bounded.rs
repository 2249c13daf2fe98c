//! What a claim costs however much waits and however much is finished.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::{
    noop::{self, Empty},
    tables::{self, Rows},
};
use crate::{
    bench::distribution::Distribution,
    db::{Db, Location},
    params,
    queue::{self, Job as _, WorkerSettings},
};

/// Cycles that are not measured: they fill caches and open connections.
const FIRST: u64 = 50;
/// How long the server is given to write down what its sessions have counted.
const COUNTED: Duration = Duration::from_secs(10);

/// One size.
#[derive(Debug, Clone, Serialize)]
pub struct Bounded {
    /// Jobs that wait, and as many that are finished.
    pub rows: u64,
    /// Milliseconds from one start to the next, one job at a time: a claim and an end.
    pub cycle_ms: Distribution,
    /// Rows and entries of indexes of the jobs' table that the server read for each job; an embedded file does not count them.
    pub rows_read: Option<f64>,
}

/// Works off some of so many jobs, one at a time.
pub(super) async fn run(location: &Location, rows: u64, jobs: u64) -> anyhow::Result<Bounded> {
    ensure!(rows > FIRST + jobs, "{rows} rows are too few to measure {jobs} jobs");
    let db = Db::open(location).await?;
    tables::clear(&db).await?;
    tables::fill(&db, Empty::NAME, Rows::Waiting, 0, rows).await?;
    tables::fill(&db, Empty::NAME, Rows::Finished, rows, rows).await?;
    tables::tidy(&db).await?;
    db.close().await;

    let before = rows_read(location).await?;
    let db = Db::open(location).await?;
    let settings = WorkerSettings {
        each_end_alone: true,
        ..noop::settings(Empty::NAME, 1)
    };
    let begun = Arc::new(AtomicU64::new(0));
    let running = queue::start(&db, noop::registry(), Arc::clone(&begun), Vec::new(), settings).await?;
    while begun.load(std::sync::atomic::Ordering::Relaxed) < FIRST + jobs {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    running.shutdown().await;
    let starts = db
        .fetch_all(
            "-- starts\nSELECT started_at FROM job_attempts WHERE queue = $1 ORDER BY started_at",
            &params![Empty::NAME],
        )
        .await?;
    db.close().await;
    let read = match (before, rows_read(location).await?) {
        (Some(before), Some(after)) => Some((after - before) as f64 / starts.len() as f64),
        _ => None,
    };
    let starts: Vec<chrono::DateTime<chrono::Utc>> = starts
        .iter()
        .map(|row| row.get("started_at"))
        .collect::<Result<_, _>>()?;
    let cycles = starts.windows(2).skip(usize::try_from(FIRST)?).map(|pair| {
        let cycle = pair[1] - pair[0];
        cycle.num_microseconds().unwrap_or_default() as f64 / 1e3
    });
    Ok(Bounded {
        rows,
        cycle_ms: Distribution::of(cycles.collect()),
        rows_read: read,
    })
}

/// What the server has read of the jobs so far. A session writes down what it has counted when it ends at the latest.
async fn rows_read(location: &Location) -> anyhow::Result<Option<i64>> {
    const OTHERS: &str = "-- other_sessions
        SELECT count(*) AS n FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    const READ: &str = "-- rows_read
        SELECT (SELECT COALESCE(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE relname = 'jobs')::bigint
             + (SELECT COALESCE(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE relname = 'jobs')::bigint AS n";
    if matches!(location, Location::Sqlite { .. }) {
        return Ok(None);
    }
    let db = Db::open_as_is(location).await?;
    let all_gone = async {
        while db
            .fetch_optional(OTHERS, &[])
            .await?
            .context("no count")?
            .get::<i64>("n")?
            > 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(COUNTED, all_gone)
        .await
        .context("sessions of the bench do not end")??;
    let row = db.fetch_optional(READ, &[]).await?.context("no count")?;
    db.close().await;
    Ok(Some(row.get("n")?))
}
