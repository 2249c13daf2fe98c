//! The limit: the statements that a job cannot do without, by hand, one commit per job. No runtime, no leases kept alive,
//! no limits checked.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::{
    db::{Db, DbError},
    params,
};

/// Inserts, claims and finishes `jobs` jobs one after the other; answers how long claiming and finishing took.
pub(super) async fn run(db: &Db, jobs: u64) -> Result<Duration, DbError> {
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    for _ in 0..jobs {
        tx.execute(
            "-- by_hand_insert
             INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at)
             VALUES ($1, 'by_hand', 'by_hand', '{}', 'available', $2, 1, $2)",
            &params![Uuid::now_v7(), now],
        )
        .await?;
    }
    tx.commit().await?;

    let started = Instant::now();
    for _ in 0..jobs {
        one(db).await?;
    }
    Ok(started.elapsed())
}

async fn one(db: &Db) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    let lease = Uuid::now_v7();
    let row = tx
        .fetch_optional(
            "-- by_hand_claim
             UPDATE jobs SET state = 'running', lease = $1, slot = 0, attempt = attempt + 1, worker = 'by hand', started_at = $2
             WHERE id = (SELECT id FROM jobs WHERE limit_key = 'by_hand' AND state = 'available'
                         ORDER BY priority DESC, run_at, id LIMIT 1)
             RETURNING id",
            &params![lease, now],
        )
        .await?;
    let id: Uuid = row
        .ok_or_else(|| DbError::other("the bench ran out of jobs"))?
        .get("id")?;
    tx.execute(
        "-- by_hand_attempt
         INSERT INTO job_attempts (lease, job_id, queue, limit_key, slot, attempt, worker, started_at)
         VALUES ($1, $2, 'by_hand', 'by_hand', 0, 1, 'by hand', $3)",
        &params![lease, id, now],
    )
    .await?;
    tx.execute(
        "-- by_hand_finish
         UPDATE jobs SET state = 'completed', lease = NULL, slot = NULL, finished_at = $2 WHERE id = $1 AND lease = $3",
        &params![id, now, lease],
    )
    .await?;
    tx.execute(
        "-- by_hand_close_attempt
         UPDATE job_attempts SET finished_at = $2, outcome = 'completed', duration_us = 0 WHERE lease = $1",
        &params![lease, now],
    )
    .await?;
    tx.commit().await
}
