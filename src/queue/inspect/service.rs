//! Whether anybody serves the queues: reads the indexes of what waits, never what ended long ago.

use std::collections::BTreeMap;

use super::Pause;
use crate::{
    db::{Db, DbError},
    params,
};

/// Queues that are paused, by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn paused(db: &Db) -> Result<BTreeMap<String, Pause>, DbError> {
    db.fetch_all(
        "-- paused_queues\nSELECT * FROM queues WHERE paused_at IS NOT NULL",
        &[],
    )
    .await?
    .iter()
    .map(|row| {
        let pause = Pause {
            at: row.get("paused_at")?,
            by: row.get::<Option<String>>("paused_by")?.unwrap_or_default(),
            reason: row.get::<Option<String>>("pause_reason")?.unwrap_or_default(),
        };
        Ok((row.get("name")?, pause))
    })
    .collect()
}

/// Jobs whose time has come and that nobody made ready yet, as far as they are counted.
const DUE: u32 = 10_000;

/// How many jobs of each queue could start now, as far as somebody serves it.
///
/// # Errors
/// When the database cannot answer.
pub async fn ready(db: &Db) -> Result<BTreeMap<String, u64>, DbError> {
    let now = db.now().await?;
    db.fetch_all(
        "-- ready_jobs
         SELECT queue, CAST(sum(n) AS bigint) AS n FROM (
             SELECT queue, n FROM queue_depths WHERE state = 'available'
             UNION ALL
             SELECT queue, count(*) FROM (
                 SELECT queue FROM jobs WHERE state IN ('scheduled', 'retryable') AND held_by IS NULL AND run_at <= $1
                 ORDER BY run_at LIMIT $2) AS due GROUP BY queue
         ) AS waiting GROUP BY queue HAVING sum(n) > 0",
        &params![now, DUE],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("queue")?, row.get("n")?)))
    .collect()
}
