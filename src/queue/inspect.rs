//! What the queue holds, for people and for `run --until-idle`. Reads only.

pub mod attempts;
mod depths;
pub mod gates;
pub mod pace;
pub mod page;
pub mod processes;
pub mod recent;
pub mod schedules;
pub mod service;
pub mod why;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

pub use self::depths::{LimitUse, Pause, QueueDepth, RunningJob, later, queue_depths};
use self::gates::Shut;
use super::select;
pub use super::select::{ArgIs, JobFilter};
use crate::{
    db::{Db, DbError, Row},
    params,
};

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[expect(missing_docs, reason = "the columns of the table, described there")]
pub struct JobRow {
    pub id: Uuid,
    pub queue: String,
    pub partition: String,
    pub limit_key: String,
    pub unique_key: Option<String>,
    pub args: Json,
    pub priority: i32,
    pub state: String,
    pub run_at: DateTime<Utc>,
    pub attempt: u32,
    pub max_attempts: u32,
    pub rescues: u32,
    pub snoozes: u32,
    /// Its start stands in its rate's window already.
    pub rate_charged: bool,
    /// Tries in a row that found an upstream down.
    pub outages: u32,
    /// The gate of the upstream that it needs next.
    pub gate: Option<String>,
    /// The shut gate that holds it.
    pub held_by: Option<String>,
    /// When that is tried next, by this job or another.
    pub held_until: Option<DateTime<Utc>>,
    pub worker: Option<String>,
    pub slot: Option<u32>,
    pub lease_expires_at: Option<DateTime<Utc>>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub wait_reason: Option<String>,
    pub last_error: Option<String>,
    pub progress: Option<Json>,
    /// W3C `traceparent` of who enqueued it.
    pub trace_context: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl JobRow {
    /// The trace that it belongs to: the second part of a `traceparent`. `None` where there is none, or it is not well-formed.
    pub fn trace_id(&self) -> Option<&str> {
        let id = self.trace_context.as_deref()?.split('-').nth(1)?;
        let is_hex = |letter: char| letter.is_ascii_digit() || matches!(letter, 'a'..='f');
        (id.len() == 32 && id.chars().all(is_hex) && id.contains(|letter| letter != '0')).then_some(id)
    }
}

/// One claim of a job, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[expect(missing_docs, reason = "the columns of the table, described there")]
pub struct AttemptRow {
    pub lease: Uuid,
    pub job_id: Uuid,
    pub attempt: u32,
    pub worker: String,
    /// Where that process is, as long as it is known.
    pub host: Option<String>,
    pub pid: Option<u32>,
    pub slot: Option<u32>,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub outcome: Option<String>,
    pub error: Option<String>,
    pub duration_us: Option<i64>,
}

/// A process of the fleet, or one that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[expect(missing_docs, reason = "the columns of the table, described there")]
pub struct WorkerRow {
    pub id: String,
    pub host: String,
    pub pid: u32,
    pub version: String,
    /// `run`, `worker`, `scheduler`, `api`; none of a version that knew no roles.
    pub role: Option<String>,
    pub queues: Vec<String>,
    pub started_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// Its machine's own clock at that moment.
    pub clock_at: Option<DateTime<Utc>>,
    pub stopped_at: Option<DateTime<Utc>>,
}

impl WorkerRow {
    /// Whether it is there: one that was silent for a lease has lost its jobs.
    pub fn lives(&self, now: DateTime<Utc>, lease: Duration) -> bool {
        self.stopped_at.is_none() && (now - self.last_seen_at).to_std().unwrap_or_default() <= lease
    }
}

/// A page of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobRow>,
    /// The job to go on after; `None`: there are no more.
    pub next: Option<Uuid>,
}

/// What is still to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// Jobs that could start now, or as soon as a limit allows. Those of paused queues count.
    pub due_now: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait for a time.
    pub later: Vec<Later>,
}

impl Pending {
    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.due_now == 0 && self.running == 0 && self.later.is_empty()
    }

    /// When the first of the jobs that wait is due.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.later.iter().map(|later| later.earliest).min()
    }
}

/// Jobs of one queue that wait for a time, with the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Later {
    /// The queue.
    pub queue: String,
    /// How many.
    pub count: u64,
    /// When the first of them is due.
    pub earliest: DateTime<Utc>,
    /// Why they wait.
    pub reason: Option<String>,
}

/// What is still to do.
///
/// # Errors
/// When the database cannot answer.
pub async fn pending_work(db: &Db) -> Result<Pending, DbError> {
    // One statement, so that no job slips from one state to the next between two looks; each part on the index of its
    // state, so that what ended long ago is not read.
    let now = db.now().await?;
    let rows = db
        .fetch_all(
            "-- pending_work
             SELECT 'running' AS kind, '' AS queue, '' AS wait_reason, count(*) AS n, min(run_at) AS earliest
             FROM jobs WHERE state = 'running'
             UNION ALL
             SELECT 'due', '', '', count(*), min(run_at) FROM jobs WHERE state = 'available'
             UNION ALL
             SELECT CASE WHEN run_at <= $1 THEN 'due' ELSE 'later' END, queue, wait_reason, count(*), min(run_at)
             FROM jobs WHERE state IN ('scheduled', 'retryable') AND held_by IS NULL GROUP BY 1, queue, wait_reason
             UNION ALL
             SELECT 'held', queue, held_by, count(*), min(run_at) FROM jobs WHERE held_by IS NOT NULL GROUP BY queue, held_by",
            &params![now],
        )
        .await?;
    let mut pending = Pending::default();
    let shut = Shut::read(db).await?;
    for row in rows {
        let count: u64 = row.get("n")?;
        match row.get::<String>("kind")?.as_str() {
            "running" => pending.running += count,
            "due" => pending.due_now += count,
            "held" => match shut.get(&row.get::<String>("wait_reason")?) {
                // Opened a moment ago.
                None => pending.due_now += count,
                Some(gate) => pending.later.push(Later {
                    queue: row.get("queue")?,
                    count,
                    earliest: gate.probe_at.map_or(now, |probe_at| probe_at.max(now)),
                    reason: gate.why(),
                }),
            },
            _ => pending.later.push(Later {
                queue: row.get("queue")?,
                count,
                earliest: row.get("earliest")?,
                reason: row.get("wait_reason")?,
            }),
        }
    }
    Ok(pending)
}

/// The newest jobs that match, before `after`. What is looked at is bounded: a page may hold fewer than `most`, even none, and still
/// say where to go on.
///
/// # Errors
/// When the database cannot answer.
pub async fn job_page(db: &Db, filter: &JobFilter, after: Option<Uuid>, most: u32) -> Result<JobPage, DbError> {
    let shut = Shut::read(db).await?;
    let window = select::newest(db, filter, after, most).await?;
    let jobs = window.rows.iter().map(|row| job_row(row, &shut));
    Ok(JobPage {
        jobs: jobs.collect::<Result<_, DbError>>()?,
        next: window.next,
    })
}

/// The newest `most` jobs that match, before `after`, and where to go on.
///
/// # Errors
/// When the database cannot answer.
pub async fn jobs(db: &Db, filter: &JobFilter, after: Option<Uuid>, most: u32) -> Result<JobPage, DbError> {
    let mut all = job_page(db, filter, after, most).await?;
    while let Some(next) = all.next.filter(|_| all.jobs.len() < most as usize) {
        let rest = most - u32::try_from(all.jobs.len()).unwrap_or(most);
        let page = job_page(db, filter, Some(next), rest).await?;
        all.jobs.extend(page.jobs);
        all.next = page.next;
    }
    Ok(all)
}

/// One job.
///
/// # Errors
/// When the database cannot answer.
pub async fn job(db: &Db, id: Uuid) -> Result<Option<JobRow>, DbError> {
    let shut = Shut::read(db).await?;
    db.fetch_optional("-- job\nSELECT * FROM jobs WHERE id = $1", &params![id])
        .await?
        .map(|row| job_row(&row, &shut))
        .transpose()
}

/// Ended runs stand in the history, the one under way on the job's own row.
const ATTEMPTS: &str = "-- attempts
    SELECT a.*, w.host, w.pid FROM (
        SELECT lease, job_id, attempt, worker, slot, started_at, finished_at, outcome, error, duration_us
        FROM job_attempts WHERE job_id = $1
        UNION ALL
        SELECT lease, id, attempt, worker, slot, started_at, NULL, NULL, NULL, NULL FROM jobs WHERE id = $1 AND state = 'running'
    ) AS a LEFT JOIN workers w ON w.id = a.worker ORDER BY a.started_at, a.lease";

/// All attempts of a job, oldest first.
///
/// # Errors
/// When the database cannot answer.
pub async fn attempts(db: &Db, id: Uuid) -> Result<Vec<AttemptRow>, DbError> {
    db.fetch_all(ATTEMPTS, &params![id])
        .await?
        .iter()
        .map(|row| {
            Ok(AttemptRow {
                lease: row.get("lease")?,
                job_id: row.get("job_id")?,
                attempt: row.get("attempt")?,
                worker: row.get("worker")?,
                host: row.get("host")?,
                pid: row.get("pid")?,
                slot: row.get("slot")?,
                started_at: row.get("started_at")?,
                finished_at: row.get("finished_at")?,
                outcome: row.get("outcome")?,
                error: row.get("error")?,
                duration_us: row.get("duration_us")?,
            })
        })
        .collect()
}

/// All processes of the fleet, now and before, latest first.
///
/// # Errors
/// When the database cannot answer.
pub async fn workers(db: &Db) -> Result<Vec<WorkerRow>, DbError> {
    db.fetch_all("-- workers\nSELECT * FROM workers ORDER BY started_at DESC", &[])
        .await?
        .iter()
        .map(worker_row)
        .collect()
}

fn worker_row(row: &Row) -> Result<WorkerRow, DbError> {
    let queues: Json = row.get("queues")?;
    Ok(WorkerRow {
        id: row.get("id")?,
        host: row.get("host")?,
        pid: row.get("pid")?,
        version: row.get("version")?,
        role: row.get("role")?,
        queues: serde_json::from_value(queues)
            .map_err(|error| row.bad("queues", &format!("not a list of names: {error}")))?,
        started_at: row.get("started_at")?,
        last_seen_at: row.get("last_seen_at")?,
        clock_at: row.get("clock_at")?,
        stopped_at: row.get("stopped_at")?,
    })
}

fn job_row(row: &Row, shut: &Shut) -> Result<JobRow, DbError> {
    let mut job = stored_job(row)?;
    // As it is now: what was true when it began to wait may be over.
    let gate = match (&job.held_by, &job.gate, job.state.as_str()) {
        (Some(key), ..) => shut.get(key),
        (None, Some(key), "available") => shut.before(key, job.id),
        _ => None,
    };
    if let Some(gate) = gate {
        job.wait_reason = gate.why();
        job.held_until = gate.probe_at;
    }
    Ok(job)
}

fn stored_job(row: &Row) -> Result<JobRow, DbError> {
    Ok(JobRow {
        id: row.get("id")?,
        queue: row.get("queue")?,
        partition: row.get("partition")?,
        limit_key: row.get("limit_key")?,
        unique_key: row.get("unique_key")?,
        args: row.get("args")?,
        priority: row.get("priority")?,
        state: row.get("state")?,
        run_at: row.get("run_at")?,
        attempt: row.get("attempt")?,
        max_attempts: row.get("max_attempts")?,
        rescues: row.get("rescues")?,
        snoozes: row.get("snoozes")?,
        rate_charged: row.get("rate_charged")?,
        outages: row.get("outages")?,
        gate: row.get("gate")?,
        held_by: row.get("held_by")?,
        held_until: None,
        worker: row.get("worker")?,
        slot: row.get("slot")?,
        lease_expires_at: row.get("lease_expires_at")?,
        cancel_requested_at: row.get("cancel_requested_at")?,
        wait_reason: row.get("wait_reason")?,
        last_error: row.get("last_error")?,
        progress: row.get("progress")?,
        trace_context: row.get("trace_context")?,
        created_at: row.get("created_at")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
    })
}
