//! The limit on PostgreSQL: the same claim and the same end by hand, sent by pgbench over as many connections. No runtime, no
//! lease kept alive, no limit checked.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};

use super::tables::{self, Rows};
use crate::db::Db;

const QUEUE: &str = "by_hand";
/// Jobs to a commit, where it is many.
const MANY_AT_ONCE: u64 = 500;

/// Claims one job and ends it, one commit.
const ONE: &str = "BEGIN;
WITH next AS (SELECT id FROM jobs WHERE limit_key = 'by_hand' AND state = 'available' \
ORDER BY priority DESC, run_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) \
UPDATE jobs SET state = 'running', attempt = attempt + 1, rate_charged = true, lease = gen_random_uuid(), \
lease_expires_at = clock_timestamp() + interval '12 s', worker = 'by hand', slot = NULL, started_at = clock_timestamp() \
FROM next WHERE jobs.id = next.id RETURNING jobs.id, jobs.lease \\gset job_
WITH done AS (UPDATE jobs SET state = 'completed', lease = NULL, lease_expires_at = NULL, slot = NULL, wait_reason = NULL, \
finished_at = clock_timestamp() WHERE id = :job_id::uuid AND lease = :job_lease::uuid AND state = 'running' \
RETURNING id, queue, limit_key, attempt, worker, started_at, finished_at) \
INSERT INTO job_attempts (lease, job_id, queue, limit_key, attempt, worker, started_at, finished_at, outcome, duration_us) \
SELECT :job_lease::uuid, id, queue, limit_key, attempt, worker, started_at, finished_at, 'completed', 0 FROM done;
COMMIT;
";

/// The same for five hundred at a time.
const MANY: &str = "WITH next AS (SELECT id FROM jobs WHERE limit_key = 'by_hand' AND state = 'available' \
ORDER BY priority DESC, run_at, id LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED) \
UPDATE jobs SET state = 'running', attempt = attempt + 1, rate_charged = true, lease = gen_random_uuid(), \
lease_expires_at = clock_timestamp() + interval '12 s', worker = 'by hand ' || :client_id, slot = NULL, \
started_at = clock_timestamp() FROM next WHERE jobs.id = next.id;
WITH ours AS (SELECT id, lease FROM jobs WHERE state = 'running' AND worker = 'by hand ' || :client_id), \
done AS (UPDATE jobs SET state = 'completed', lease = NULL, lease_expires_at = NULL, slot = NULL, wait_reason = NULL, \
finished_at = clock_timestamp() FROM ours WHERE jobs.id = ours.id \
RETURNING ours.lease, jobs.id, queue, limit_key, attempt, worker, started_at, finished_at) \
INSERT INTO job_attempts (lease, job_id, queue, limit_key, attempt, worker, started_at, finished_at, outcome, duration_us) \
SELECT lease, id, queue, limit_key, attempt, worker, started_at, finished_at, 'completed', 0 FROM done;
";

/// What pgbench is to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) jobs: u64,
    pub(super) connections: u64,
    /// Five hundred jobs to a commit, not one.
    pub(super) many: bool,
}

/// Jobs a second, as pgbench says.
pub(super) async fn run(db: &Db, pgbench: &Path, url: &str, directory: &Path, case: Case) -> anyhow::Result<f64> {
    let each = if case.many { MANY_AT_ONCE } else { 1 };
    // Fewer connections for few jobs: each gets as many as the others.
    let connections = case.connections.min((case.jobs / each).max(1));
    let transactions = (case.jobs / connections / each).max(1);
    let jobs = transactions * connections * each;
    tables::clear(db).await?;
    tables::fill(db, QUEUE, Rows::Waiting, 0, jobs).await?;
    tables::tidy(db).await?;
    let script = directory.join("by_hand.sql");
    std::fs::write(&script, if case.many { MANY } else { ONE })?;
    let mut command = Command::new(pgbench);
    command.args(["-n", "-M", "prepared", "-j", "2"]);
    command.args(["-c", &connections.to_string(), "-t", &transactions.to_string(), "-f"]);
    command.arg(&script).arg(url);
    let said = tokio::task::spawn_blocking(move || said(command)).await??;
    tables::each_ran_once(db, QUEUE, jobs).await?;
    let tps: f64 = said
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("pgbench gave no figure: {said}"))?;
    Ok(tps * each as f64)
}

fn said(mut command: Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .context("pgbench cannot be started; on Debian it is in postgresql-contrib or postgresql")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "pgbench failed: {}{text}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}
