//! Deletes what nobody needs any more, a batch at a time. Verdicts and their evidence are kept.

use std::time::Duration;

use crate::{
    db::{Db, DbError},
    params,
    store::idempotency,
};

/// Rows of one transaction: short enough that nobody waits for it.
const BATCH: u32 = 500;

/// What to delete: one statement per table, with the age as `$1` and the batch as `$2`. Oldest first, so that each batch begins
/// where the one before it ended, instead of walking past all that is kept.
const FINISHED_JOBS: &[&str] = &[
    "-- prune_jobs
     DELETE FROM jobs WHERE id IN (
         SELECT id FROM jobs WHERE state IN ('completed', 'cancelled', 'discarded') AND finished_at < $1
         ORDER BY finished_at LIMIT $2)",
    "-- prune_job_attempts
     DELETE FROM job_attempts WHERE lease IN (
         SELECT lease FROM job_attempts WHERE finished_at < $1
            -- What is not added up yet would be missing in the totals.
            AND finished_at <= (SELECT until_at FROM totals_until WHERE stream = 'attempts')
         ORDER BY finished_at LIMIT $2)",
    // No rate window is as long as finished jobs are kept: the configuration refuses that.
    "-- prune_rate_starts
     DELETE FROM rate_starts WHERE id IN (SELECT id FROM rate_starts WHERE started_at < $1 ORDER BY id LIMIT $2)",
    // The latest tick of each schedule stays: catch-up counts from it.
    "-- prune_cron_ticks
     DELETE FROM cron_ticks WHERE (name, tick) IN (
         SELECT old.name, old.tick FROM cron_ticks old WHERE old.fired_at < $1
            AND old.tick < (SELECT MAX(latest.tick) FROM cron_ticks latest WHERE latest.name = old.name) LIMIT $2)",
    "-- prune_workers
     DELETE FROM workers WHERE id IN (SELECT id FROM workers WHERE last_seen_at < $1 LIMIT $2)",
    "-- prune_discovery_cycles
     DELETE FROM discovery_cycles WHERE id IN (SELECT id FROM discovery_cycles WHERE started_at < $1 LIMIT $2)",
    // What was given up is deleted by then: there is nothing left to give back.
    "-- prune_discarded_jobs
     DELETE FROM discarded_jobs WHERE (operation, job_id) IN (
         SELECT d.operation, d.job_id FROM discarded_jobs d JOIN operations o ON o.id = d.operation
         WHERE o.state <> 'running' AND o.finished_at < $1 LIMIT $2)",
    "-- prune_operations
     DELETE FROM operations WHERE id IN (
         SELECT id FROM operations o WHERE o.state <> 'running' AND o.finished_at < $1
            AND NOT EXISTS (SELECT 1 FROM discarded_jobs d WHERE d.operation = o.id)
         ORDER BY o.created_at LIMIT $2)",
];

const IDEMPOTENCY: &[&str] = &["-- prune_idempotency_keys
     DELETE FROM api_idempotency WHERE (token_id, key) IN (
         SELECT token_id, key FROM api_idempotency WHERE claimed_at < $1 ORDER BY claimed_at LIMIT $2)"];

pub(super) const SNAPSHOTS: &[&str] = &["-- prune_snapshots
     DELETE FROM snapshots WHERE (source, session_id, generation) IN (
         SELECT s.source, s.session_id, s.generation FROM snapshots s
         JOIN sessions ON sessions.source = s.source AND sessions.session_id = s.session_id
         WHERE s.created_at < $1 AND sessions.state = 'done'
            -- A diagnosis that still waits needs it.
            AND NOT EXISTS (SELECT 1 FROM monitoring_results m WHERE m.source = s.source AND m.session_id = s.session_id
                AND m.generation = s.generation AND m.diagnostic_status = 'pending')
         ORDER BY s.created_at LIMIT $2)"];

/// What scans saw of sessions is kept for longer than any scan looks back, so that none looks new or changed when it is seen
/// again.
pub(super) const SEEN_FOR: Duration = Duration::from_hours(14 * 24);

pub(super) const SEEN: &[&str] = &[
    // All that was seen of a session stays until it is judged: it must not come to rest on a part of itself.
    "-- prune_seen_observations
     DELETE FROM seen_observations WHERE (source, trace_id, observation_id) IN (
         SELECT o.source, o.trace_id, o.observation_id FROM seen_observations o WHERE o.last_activity_at < $1
            AND NOT EXISTS (SELECT 1 FROM seen_traces t
                JOIN sessions s ON s.source = t.source AND s.session_id = t.session_id
                WHERE t.source = o.source AND t.trace_id = o.trace_id AND s.state <> 'done')
         ORDER BY o.last_activity_at LIMIT $2)",
    "-- prune_seen_traces
     DELETE FROM seen_traces WHERE (source, trace_id) IN (
         SELECT t.source, t.trace_id FROM seen_traces t WHERE t.last_activity_at < $1
            -- Its name for the traces is all there is of a group until it has been read.
            AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.source = t.source AND s.session_id = t.session_id AND s.state <> 'done')
         ORDER BY t.last_activity_at LIMIT $2)",
];

/// What happened in each minute in the queues is kept for two days.
const MINUTES_FOR: Duration = Duration::from_hours(48);

const MINUTES: &[&str] = &["-- prune_queue_minutes
     DELETE FROM queue_minutes WHERE (minute, queue, event, wait) IN (
         SELECT minute, queue, event, wait FROM queue_minutes WHERE minute < $1 ORDER BY minute LIMIT $2)"];

/// A request that is sent again after this long is no longer known. By then what it says is too long ago to end anything.
pub(super) const ENDS: &[&str] = &["-- prune_session_ends
     DELETE FROM session_ends WHERE (source, session_id, delivery) IN (
         SELECT source, session_id, delivery FROM session_ends WHERE received_at < $1 ORDER BY received_at LIMIT $2)"];

/// How long each kind is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// Finished jobs, their attempts, old starts, ticks, workers and cycles.
    pub finished_jobs: Duration,
    /// Content of sessions that have their verdict.
    pub snapshots: Duration,
}

/// Deletes one batch of each kind; answers how many rows went. Zero means that nothing is left to do.
///
/// # Errors
/// When the database refuses it.
pub async fn prune_batch(db: &Db, ages: &Ages) -> Result<u64, DbError> {
    let mut deleted = 0;
    for (statements, age) in [
        (FINISHED_JOBS, ages.finished_jobs),
        (SNAPSHOTS, ages.snapshots),
        (SEEN, SEEN_FOR),
        (ENDS, SEEN_FOR),
        (MINUTES, MINUTES_FOR),
        (IDEMPOTENCY, idempotency::KEPT),
    ] {
        for &statement in statements {
            let mut tx = db.begin().await?;
            let now = tx.now().await?;
            let age = chrono::Duration::from_std(age).ok();
            // Longer than time itself: nothing is that old.
            let Some(before) = age.and_then(|age| now.checked_sub_signed(age)) else {
                continue;
            };
            deleted += tx.execute(statement, &params![before, BATCH]).await?;
            tx.commit().await?;
        }
    }
    Ok(deleted)
}
