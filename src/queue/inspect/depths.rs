//! Every queue at a glance: from counters, and beside them only what an index finds at once. It takes as long with a million jobs
//! as with ten.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Later,
    gates::Shut,
    pace::{self, Pace},
    service,
};
use crate::{
    db::{Db, DbError},
    params,
};

/// A queue at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueDepth {
    /// The job kind.
    pub queue: String,
    /// How many jobs are in each state that has any.
    pub by_state: BTreeMap<String, u64>,
    /// Since when the oldest job that could run waits.
    pub oldest_waiting: Option<DateTime<Utc>>,
    /// What runs, and where.
    pub running: Vec<RunningJob>,
    /// The limits of the queue: one, or one per partition.
    pub limits: Vec<LimitUse>,
    /// When paused.
    pub paused: Option<Pause>,
    /// Of the scheduled jobs, those that wait for an upstream: how many, by its gate.
    pub held: BTreeMap<String, u64>,
    /// How fast jobs come and go, and how long they wait.
    pub pace: Pace,
}

/// A job that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RunningJob {
    /// The job.
    pub id: Uuid,
    /// Its partition.
    pub partition: String,
    /// The process.
    pub worker: String,
    /// Since when.
    pub started_at: DateTime<Utc>,
    /// Which attempt.
    pub attempt: u32,
}

/// A limit and how much of it is used. A lowered limit drains: 3 of 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LimitUse {
    /// The limit's key.
    pub key: String,
    /// Jobs that run now.
    pub running: u64,
    /// Jobs that may run at once; `None`: no limit.
    pub max_running: Option<u32>,
    /// Starts that may happen in any window.
    pub rate_max: Option<u32>,
    /// The window, in microseconds.
    pub rate_window_us: Option<i64>,
    /// Starts in the window that ends now.
    pub rate_used: Option<u64>,
    /// Set by an operator.
    pub pinned: bool,
}

/// Who paused a queue, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Pause {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Jobs of a queue that wait for a time and are looked at for why: the first ones.
const LOOKED_AT: u32 = 500;

/// Since when jobs wait that could run: of each limit key and priority the first one of the index is read, and no other. Nothing is
/// joined, which could be done the wrong way round.
const OLDEST: &str = "-- oldest_waiting
    WITH RECURSIVE keys (limit_key) AS (
        SELECT (SELECT limit_key FROM jobs WHERE state = 'available' ORDER BY limit_key LIMIT 1)
        UNION ALL
        SELECT (SELECT j.limit_key FROM jobs j WHERE j.state = 'available' AND j.limit_key > keys.limit_key
                ORDER BY j.limit_key LIMIT 1)
        FROM keys WHERE keys.limit_key IS NOT NULL
    ), levels (limit_key, priority) AS (
        SELECT limit_key, (SELECT j.priority FROM jobs j WHERE j.limit_key = keys.limit_key AND j.state = 'available'
                           ORDER BY j.priority DESC LIMIT 1)
        FROM keys WHERE limit_key IS NOT NULL
        UNION ALL
        SELECT limit_key, (SELECT j.priority FROM jobs j WHERE j.limit_key = levels.limit_key AND j.state = 'available'
                           AND j.priority < levels.priority ORDER BY j.priority DESC LIMIT 1)
        FROM levels WHERE priority IS NOT NULL
    ), firsts (id) AS (
        SELECT (SELECT j.id FROM jobs j WHERE j.limit_key = levels.limit_key AND j.state = 'available'
                AND j.priority = levels.priority ORDER BY j.run_at, j.id LIMIT 1)
        FROM levels WHERE priority IS NOT NULL
    )
    SELECT (SELECT queue FROM jobs WHERE id = firsts.id) AS queue, (SELECT run_at FROM jobs WHERE id = firsts.id) AS oldest
    FROM firsts";

const BY_STATE: &str = "-- depth_by_state\nSELECT queue, state, held_by, n FROM queue_depths WHERE n > 0";

const RUNNING: &str = "-- running_jobs
    SELECT id, queue, partition, limit_key, worker, started_at, attempt FROM jobs WHERE state = 'running'
    ORDER BY started_at";

const FIRST_LATER: &str = "-- first_later
    SELECT run_at, wait_reason FROM jobs
    WHERE queue = $1 AND state IN ('scheduled', 'retryable') AND held_by IS NULL AND run_at > $2
    ORDER BY run_at LIMIT $3";

/// All queues that have a job, a limit or a pause.
///
/// # Errors
/// When the database cannot answer.
pub async fn queue_depths(db: &Db) -> Result<Vec<QueueDepth>, DbError> {
    let mut depths: BTreeMap<String, QueueDepth> = BTreeMap::new();
    counters(db, &mut depths).await?;
    for row in db.fetch_all(OLDEST, &[]).await? {
        let oldest: DateTime<Utc> = row.get("oldest")?;
        let of_queue = &mut entry(&mut depths, row.get("queue")?).oldest_waiting;
        *of_queue = Some(of_queue.map_or(oldest, |before| before.min(oldest)));
    }
    let running_of = running(db, &mut depths).await?;
    limits(db, &mut depths, &running_of).await?;
    for (queue, pause) in service::paused(db).await? {
        entry(&mut depths, queue).paused = Some(pause);
    }
    let now = db.now().await?;
    for (queue, pace) in pace::of_queues(db, now).await? {
        entry(&mut depths, queue).pace = pace;
    }
    for depth in depths.values_mut() {
        let live = depth.live();
        depth.pace.set_now(live);
        // A queue that is limited per partition has a pattern under its plain name, which no job counts under.
        if depth.limits.len() > 1 {
            let queue = depth.queue.clone();
            depth.limits.retain(|limit| limit.key != queue);
        }
    }
    Ok(depths.into_values().collect())
}

impl QueueDepth {
    /// Jobs that wait or run.
    pub fn live(&self) -> u64 {
        let states = ["available", "scheduled", "running", "retryable"];
        states.iter().filter_map(|state| self.by_state.get(*state)).sum()
    }
}

fn entry(depths: &mut BTreeMap<String, QueueDepth>, queue: String) -> &mut QueueDepth {
    depths.entry(queue.clone()).or_insert_with(|| QueueDepth {
        queue,
        by_state: BTreeMap::new(),
        oldest_waiting: None,
        running: Vec::new(),
        limits: Vec::new(),
        paused: None,
        held: BTreeMap::new(),
        pace: Pace::default(),
    })
}

/// One statement, so that no job slips from one state to the next between two looks.
async fn counters(db: &Db, depths: &mut BTreeMap<String, QueueDepth>) -> Result<(), DbError> {
    let shut = Shut::read(db).await?;
    let rows = db.fetch_all(BY_STATE, &[]).await?;
    for row in rows {
        let depth = entry(depths, row.get("queue")?);
        let count: u64 = row.get("n")?;
        *depth.by_state.entry(row.get("state")?).or_default() += count;
        let gate: String = row.get("held_by")?;
        // Opened a moment ago, it holds nobody, though it has not let all of them go.
        if shut.get(&gate).is_some() {
            *depth.held.entry(gate).or_default() += count;
        }
    }
    Ok(())
}

/// What runs, and how many by limit key.
async fn running(db: &Db, depths: &mut BTreeMap<String, QueueDepth>) -> Result<BTreeMap<String, u64>, DbError> {
    let rows = db.fetch_all(RUNNING, &[]).await?;
    let mut running_of: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows {
        *running_of.entry(row.get("limit_key")?).or_default() += 1;
        entry(depths, row.get("queue")?).running.push(RunningJob {
            id: row.get("id")?,
            partition: row.get("partition")?,
            worker: row.get::<Option<String>>("worker")?.unwrap_or_default(),
            started_at: row.get("started_at")?,
            attempt: row.get("attempt")?,
        });
    }
    Ok(running_of)
}

async fn limits(
    db: &Db,
    depths: &mut BTreeMap<String, QueueDepth>,
    running_of: &BTreeMap<String, u64>,
) -> Result<(), DbError> {
    let now = db.now().await?;
    for row in db
        .fetch_all("-- limits\nSELECT * FROM limits ORDER BY key", &[])
        .await?
    {
        let key: String = row.get("key")?;
        let rate_window_us: Option<i64> = row.get("rate_window_us")?;
        let rate_used = match rate_window_us {
            None => None,
            Some(window) => {
                let since = now - chrono::TimeDelta::microseconds(window);
                db.fetch_optional(
                    "-- rate_used\nSELECT count(*) AS n FROM rate_starts WHERE limit_key = $1 AND started_at > $2",
                    &params![&key, since],
                )
                .await?
                .map(|row| row.get("n"))
                .transpose()?
            }
        };
        let limit = LimitUse {
            running: running_of.get(&key).copied().unwrap_or_default(),
            max_running: row.get("max_running")?,
            rate_max: row.get("rate_max")?,
            rate_window_us,
            rate_used,
            pinned: row.get("pinned")?,
            key,
        };
        entry(depths, row.get("queue")?).limits.push(limit);
    }
    Ok(())
}

/// Jobs that wait for a time, by why: of each queue the first ones; where those are not all of them, the last group of them says how
/// many more there are. And what gates hold.
///
/// # Errors
/// When the database cannot answer.
pub async fn later(db: &Db, queues: &[QueueDepth]) -> Result<BTreeMap<String, Vec<Later>>, DbError> {
    let now = db.now().await?;
    let shut = Shut::read(db).await?;
    let mut later = BTreeMap::new();
    for depth in queues {
        let of = |state: &str| depth.by_state.get(state).copied().unwrap_or_default();
        let held: u64 = depth.held.values().sum();
        let waiting = (of("scheduled") + of("retryable")).saturating_sub(held);
        let mut groups: Vec<Later> = Vec::new();
        if waiting > 0 {
            groups = first_later(db, &depth.queue, now, waiting).await?;
        }
        for (gate, count) in &depth.held {
            let Some(gate) = shut.get(gate) else { continue };
            groups.push(Later {
                queue: depth.queue.clone(),
                count: *count,
                earliest: gate.probe_at.map_or(now, |probe_at| probe_at.max(now)),
                reason: gate.why(),
            });
        }
        if !groups.is_empty() {
            later.insert(depth.queue.clone(), groups);
        }
    }
    Ok(later)
}

async fn first_later(db: &Db, queue: &str, now: DateTime<Utc>, waiting: u64) -> Result<Vec<Later>, DbError> {
    let rows = db.fetch_all(FIRST_LATER, &params![queue, now, LOOKED_AT]).await?;
    let mut groups: Vec<Later> = Vec::new();
    let mut last = now;
    for row in &rows {
        let reason: Option<String> = row.get("wait_reason")?;
        last = row.get("run_at")?;
        match groups.iter_mut().find(|group| group.reason == reason) {
            Some(group) => group.count += 1,
            None => groups.push(Later {
                queue: queue.to_owned(),
                count: 1,
                earliest: last,
                reason,
            }),
        }
    }
    let more = waiting.saturating_sub(rows.len() as u64);
    if rows.len() == LOOKED_AT as usize && more > 0 {
        groups.push(Later {
            queue: queue.to_owned(),
            count: more,
            earliest: last,
            reason: Some(format!("not looked at: they are behind the first {LOOKED_AT}")),
        });
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Location;

    #[tokio::test]
    async fn whoever_looks_at_the_queues_of_a_file_reads_what_waits_by_its_index() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::sqlite(folder.path().join("test.db")))
            .await
            .unwrap();
        let now = db.now().await.unwrap();
        for (sql, values, index) in [
            (BY_STATE, params![].to_vec(), None),
            (OLDEST, params![].to_vec(), Some("jobs_claim")),
            (RUNNING, params![].to_vec(), Some("jobs_leases")),
            (
                FIRST_LATER,
                params!["plain", now, LOOKED_AT].to_vec(),
                Some("jobs_later (queue=? AND run_at>?)"),
            ),
        ] {
            let plan = db.plan_of(sql, &values).await;
            let of_jobs = plan.iter().filter(|step| step.contains("jobs") || step.contains(" j "));
            assert_eq!(of_jobs.clone().count() > 0, index.is_some(), "{plan:#?}");
            for step in of_jobs {
                let index = index.unwrap_or_default();
                let of_one = step.contains("sqlite_autoindex_jobs_1 (id=?)");
                assert!(step.contains(index) || of_one, "{index}: {plan:#?}");
            }
        }
    }
}
