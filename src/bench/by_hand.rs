//! The limit: the statements that a job cannot do without, by hand, one commit per job. No runtime, no lease kept alive, no
//! limit checked, no seam between: one script per job on one connection, so that not even a thread is changed in between.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    Connection as _, Executor as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::db::{Db, Location};

/// Claims the next job, notes its attempt, completes it.
const ONE_JOB: &str = "
    BEGIN IMMEDIATE;
    UPDATE jobs SET state = 'running', lease = 'lease of ' || id, slot = 0, attempt = attempt + 1, worker = 'by hand',
           started_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER)
    WHERE id = (SELECT id FROM jobs WHERE limit_key = 'by_hand' AND state = 'available'
                ORDER BY priority DESC, run_at, id LIMIT 1);
    INSERT INTO job_attempts (lease, job_id, queue, limit_key, slot, attempt, worker, started_at, finished_at, outcome, duration_us)
    SELECT lease, id, queue, limit_key, slot, attempt, worker, started_at, started_at, 'completed', 0 FROM jobs
    WHERE limit_key = 'by_hand' AND slot = 0 AND state = 'running';
    UPDATE jobs SET state = 'completed', lease = NULL, slot = NULL, finished_at = started_at
    WHERE limit_key = 'by_hand' AND slot = 0 AND state = 'running';
    COMMIT;";

/// The same jobs as the queue's, in one statement.
const ENQUEUE: &str = "
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)
    INSERT INTO jobs (id, queue, limit_key, unique_key, args, state, run_at, max_attempts, created_at)
    SELECT format('00000000-0000-7000-8000-%012d', n), 'by_hand', 'by_hand', n, json_object('number', n), 'available', 0, 1, 0
    FROM numbers";

/// Runs `jobs` jobs one after the other; answers how long claiming and completing took.
pub(super) async fn run(directory: &Path, jobs: u64) -> anyhow::Result<Duration> {
    let file = directory.join("by_hand.db");
    Db::open(&Location::sqlite(&file)).await?.close().await; // the schema, with all its indexes
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::query(ENQUEUE)
        .bind(i64::try_from(jobs)?)
        .execute(&mut connection)
        .await?;

    let started = Instant::now();
    for _ in 0..jobs {
        connection.execute(sqlx::raw_sql(ONE_JOB)).await?;
    }
    let elapsed = started.elapsed();
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE state <> 'completed'")
        .fetch_one(&mut connection)
        .await?;
    anyhow::ensure!(left == 0, "{left} of {jobs} jobs were not done by hand");
    connection.close().await?;
    Ok(elapsed)
}
