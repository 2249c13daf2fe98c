//! The tables before and after a case: every one begins with tables as new, and ends with a count of what was run.

use anyhow::{Context as _, ensure};

use crate::{
    db::{Db, Sql},
    params,
};

/// Rows that are written in one statement: far from the time that a statement may take.
const AT_ONCE: u64 = 50_000;

/// What rows are filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    Waiting,
    Finished,
}

impl Rows {
    fn state(self) -> &'static str {
        match self {
            Self::Waiting => "available",
            Self::Finished => "completed",
        }
    }
}

/// Takes all jobs away, and what was counted of them.
pub(super) async fn clear(db: &Db) -> anyhow::Result<()> {
    const JOBS: Sql = Sql::each(
        "-- clear\nDELETE FROM jobs",
        "-- clear\nTRUNCATE jobs, job_attempts, queue_transitions, queue_counts, queue_minutes",
    );
    const OTHERS: [Sql; 4] = [
        Sql::each("-- clear_attempts\nDELETE FROM job_attempts", "-- cleared\nSELECT 1"),
        Sql::each("-- clear_notes\nDELETE FROM queue_transitions", "-- cleared\nSELECT 1"),
        Sql::each("-- clear_counts\nDELETE FROM queue_counts", "-- cleared\nSELECT 1"),
        Sql::each("-- clear_minutes\nDELETE FROM queue_minutes", "-- cleared\nSELECT 1"),
    ];
    let mut tx = db.begin().await?;
    tx.fetch_all(JOBS, &[]).await?;
    for sql in OTHERS {
        tx.fetch_all(sql, &[]).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Writes many jobs, numbered from `first` on.
pub(super) async fn fill(db: &Db, queue: &str, rows: Rows, first: u64, jobs: u64) -> anyhow::Result<()> {
    const FILL: Sql = Sql::each(
        "-- fill
         WITH RECURSIVE numbers (n) AS (SELECT $4 UNION ALL SELECT n + 1 FROM numbers WHERE n < $5)
         INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at, finished_at)
         SELECT format('00000000-0000-7000-8000-%012d', n), $1, $1, '{}', $2, $3, 8, $3,
                CASE $2 WHEN 'completed' THEN $3 END FROM numbers",
        "-- fill
         INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at, finished_at)
         SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, $1::text, $1::text, '{}', $2::text,
                $3::timestamptz, 8, $3::timestamptz, CASE $2::text WHEN 'completed' THEN $3::timestamptz END
         FROM generate_series($4::bigint, $5::bigint) AS n",
    );
    let end = first + jobs;
    let mut from = first;
    while from < end {
        let to = end.min(from + AT_ONCE);
        let mut tx = db.begin().await?;
        let now = tx.now().await?;
        tx.execute(FILL, &params![queue, rows.state(), now, from, to - 1])
            .await?;
        tx.commit().await?;
        from = to;
    }
    Ok(())
}

/// What the database does by itself sooner or later, now and not in the middle of a measurement.
pub(in crate::bench) async fn tidy(db: &Db) -> anyhow::Result<()> {
    const JOBS: Sql = Sql::each("-- tidy\nSELECT 1", "-- tidy\nVACUUM (ANALYZE) jobs");
    const ATTEMPTS: Sql = Sql::each(
        "-- tidy_attempts\nSELECT 1",
        "-- tidy_attempts\nVACUUM (ANALYZE) job_attempts",
    );
    db.write_alone(JOBS, &[]).await?;
    db.write_alone(ATTEMPTS, &[]).await?;
    Ok(())
}

/// Sees to it that each job of a queue was run once, and nothing is left. Answers the seconds from the first start to the last
/// end, by the database's clock.
pub(super) async fn each_ran_once(db: &Db, queue: &str, jobs: u64) -> anyhow::Result<f64> {
    const RUNS: Sql = Sql::each(
        "-- runs
         SELECT count(*) AS runs, count(DISTINCT job_id) AS jobs,
                COALESCE(max(finished_at) - min(started_at), 0) / 1e6 AS seconds FROM job_attempts WHERE queue = $1",
        "-- runs
         SELECT count(*) AS runs, count(DISTINCT job_id) AS jobs,
                COALESCE(extract(epoch FROM max(finished_at) - min(started_at)), 0)::float8 AS seconds
         FROM job_attempts WHERE queue = $1",
    );
    const DONE: &str = "-- done\nSELECT count(*) AS n FROM jobs WHERE queue = $1 AND state = 'completed'";
    let row = db.fetch_optional(RUNS, &params![queue]).await?.context("no count")?;
    let done = db.fetch_optional(DONE, &params![queue]).await?.context("no count")?;
    let (runs, ran, done): (u64, u64, u64) = (row.get("runs")?, row.get("jobs")?, done.get("n")?);
    ensure!(
        (runs, ran, done) == (jobs, jobs, jobs),
        "{jobs} jobs of {queue}: {ran} were run, {runs} times, and {done} are done"
    );
    Ok(row.get("seconds")?)
}
