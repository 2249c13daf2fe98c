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

/// The same for five hundred at a time.
const MANY_JOBS: &str = "
    BEGIN IMMEDIATE;
    UPDATE jobs SET state = 'running', lease = 'lease of ' || id, slot = NULL, attempt = attempt + 1, worker = 'by hand',
           started_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER)
    WHERE id IN (SELECT id FROM jobs WHERE limit_key = 'by_hand' AND state = 'available'
                 ORDER BY priority DESC, run_at, id LIMIT 500);
    COMMIT;
    BEGIN IMMEDIATE;
    INSERT INTO job_attempts (lease, job_id, queue, limit_key, slot, attempt, worker, started_at, finished_at, outcome, duration_us)
    SELECT lease, id, queue, limit_key, slot, attempt, worker, started_at, started_at, 'completed', 0 FROM jobs
    WHERE limit_key = 'by_hand' AND state = 'running';
    UPDATE jobs SET state = 'completed', lease = NULL, slot = NULL, finished_at = started_at
    WHERE limit_key = 'by_hand' AND state = 'running';
    COMMIT;";
/// How many that is.
pub(super) const MANY: u64 = 500;

/// The same jobs as the queue's, in one statement.
const ENQUEUE: &str = "
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)
    INSERT INTO jobs (id, queue, limit_key, unique_key, args, state, run_at, max_attempts, created_at)
    SELECT format('00000000-0000-7000-8000-%012d', n), 'by_hand', 'by_hand', CASE WHEN $2 THEN n END, json_object('number', n),
           'available', 0, 1, 0
    FROM numbers";

/// Runs `jobs` jobs one after the other, or [`MANY`] at a time; answers how long claiming and completing took. `unique`: with a
/// unique key each, which is one more index to change.
pub(super) async fn run(directory: &Path, jobs: u64, each: u64, unique: bool) -> anyhow::Result<Duration> {
    let file = directory.join("by_hand.db");
    // What an earlier round left.
    for left in ["by_hand.db", "by_hand.db-wal", "by_hand.db-shm"] {
        let _ = std::fs::remove_file(directory.join(left));
    }
    Db::open(&Location::sqlite(&file)).await?.close().await; // the schema, with all its indexes
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::query(ENQUEUE)
        .bind(i64::try_from(jobs)?)
        .bind(unique)
        .execute(&mut connection)
        .await?;

    let started = Instant::now();
    let script = if each == 1 { ONE_JOB } else { MANY_JOBS };
    for _ in 0..jobs.div_ceil(each) {
        connection.execute(sqlx::raw_sql(script)).await?;
    }
    let elapsed = started.elapsed();
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE state <> 'completed'")
        .fetch_one(&mut connection)
        .await?;
    anyhow::ensure!(left == 0, "{left} of {jobs} jobs were not done by hand");
    connection.close().await?;
    Ok(elapsed)
}
