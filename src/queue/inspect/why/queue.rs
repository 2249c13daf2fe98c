//! Why a queue does not move.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{COUNTED, Code, Fleet, Reason, fleet, number};
use crate::{
    db::{Db, DbError, Row},
    params,
};

/// Limit keys of a queue that are looked at: those with work, by name.
const KEYS: u32 = 50;

/// Everything that holds a queue's jobs, in the order in which it has to give way; what of it could run last. `None` for a queue
/// that nobody knows.
///
/// # Errors
/// When the database cannot answer.
pub async fn of_queue(db: &Db, fleet: &Fleet, queue: &str) -> Result<Option<Vec<Reason>>, DbError> {
    let known = db
        .fetch_optional(
            "-- queue_is_known\nSELECT 1 AS one FROM limits WHERE queue = $1 LIMIT 1",
            &params![queue],
        )
        .await?;
    if known.is_none() {
        return Ok(None);
    }
    let mut reasons = Vec::new();
    reasons.extend(fleet.paused(queue));
    reasons.extend(fleet.unserved(queue));
    if ticks(db, queue).await? {
        reasons.extend(fleet.unscheduled());
    }
    for gate in fleet.shut().all() {
        let held = held(db, &gate.key, queue).await?;
        if held > 0 {
            reasons.push(fleet::shut_gate(gate, Some(&number(held))));
        }
    }
    let waiting = keys_with_work(db, queue).await?;
    for key in &waiting {
        reasons.extend(fleet::reached(db, fleet.now, &key.name, &key.limit, key.is_charged).await?);
    }
    reasons.extend(later(db, fleet.now, queue).await?);
    reasons.push(now(db, fleet, queue, &waiting, reasons.is_empty()).await?);
    reasons.extend(fleet.slow());
    Ok(Some(reasons))
}

/// Whether the queue's jobs come by the clock.
async fn ticks(db: &Db, queue: &str) -> Result<bool, DbError> {
    let row = db
        .fetch_optional(
            "-- queue_ticks\nSELECT 1 AS one FROM cron_ticks WHERE name = $1 LIMIT 1",
            &params![queue],
        )
        .await?;
    Ok(row.is_some())
}

/// How many jobs of a queue the gate holds, as far as they are counted.
async fn held(db: &Db, gate: &str, queue: &str) -> Result<usize, DbError> {
    count(
        db,
        "-- held_of_queue
         SELECT count(*) AS n FROM (SELECT 1 FROM jobs WHERE held_by = $1 AND queue = $2 LIMIT $3) AS first_ones",
        &params![gate, queue, COUNTED as u64 + 1],
    )
    .await
}

async fn count(db: &Db, sql: &'static str, values: &[crate::db::Value]) -> Result<usize, DbError> {
    let row = db.fetch_optional(sql, values).await?;
    let count: u64 = row.map_or(Ok(0), |row| row.get("n"))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// A limit key with jobs that could start.
struct Key {
    name: String,
    /// What binds it.
    limit: fleet::Limit,
    /// Its first job needs no place in the rate's window.
    is_charged: bool,
    /// Since when its first job could.
    since: DateTime<Utc>,
}

/// One statement for all of them: a queue that is limited per partition has many. The first jobs are found before the rest of them
/// is read, so that no other row is. A key without work costs one look at the index: EXISTS, which a server may turn into a join
/// of all that is available, does not.
async fn keys_with_work(db: &Db, queue: &str) -> Result<Vec<Key>, DbError> {
    let rows = db
        .fetch_all(
            "-- keys_with_work
             WITH firsts AS MATERIALIZED (
                SELECT l.key, l.max_running, l.rate_max, l.rate_window_us,
                       (SELECT j.id FROM jobs j WHERE j.limit_key = l.key AND j.state = 'available'
                        ORDER BY j.priority DESC, j.run_at, j.id LIMIT 1) AS first_job
                FROM limits l WHERE l.queue = $1
                   AND (SELECT j.id FROM jobs j WHERE j.limit_key = l.key AND j.state = 'available'
                        ORDER BY j.priority DESC, j.run_at, j.id LIMIT 1) IS NOT NULL
                ORDER BY l.key LIMIT $2
             )
             SELECT key, max_running, rate_max, rate_window_us,
                    (SELECT run_at FROM jobs WHERE id = first_job) AS run_at,
                    (SELECT rate_charged FROM jobs WHERE id = first_job) AS rate_charged
             FROM firsts ORDER BY key",
            &params![queue, KEYS],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Key {
                name: row.get("key")?,
                limit: fleet::Limit::read(row)?,
                is_charged: row.get("rate_charged")?,
                since: row.get("run_at")?,
            })
        })
        .collect()
}

/// Jobs that wait for a time, by why. Of one queue, but by its order: with `queue = $1` a server may walk all that wait for a time,
/// in the order of an index that knows no queues, in the hope to meet some of this one soon.
async fn later(db: &Db, now: DateTime<Utc>, queue: &str) -> Result<Vec<Reason>, DbError> {
    let rows = db
        .fetch_all(
            "-- later_of_queue
             SELECT state, run_at, wait_reason FROM jobs
             WHERE queue >= $1 AND queue <= $1 AND state IN ('scheduled', 'retryable') AND held_by IS NULL AND run_at > $2
             ORDER BY queue, run_at LIMIT $3",
            &params![queue, now, COUNTED as u64 + 1],
        )
        .await?;
    let mut groups: BTreeMap<(Later, String), (usize, DateTime<Utc>)> = BTreeMap::new();
    for row in &rows {
        let (key, run_at) = later_key(row)?;
        let group = groups.entry(key).or_insert((0, run_at));
        group.0 += 1;
    }
    let counted_all = rows.len() <= COUNTED;
    let mut reasons: Vec<(DateTime<Utc>, Reason)> = groups
        .into_iter()
        .map(|((kind, why), (count, first))| {
            let at_least = if counted_all { "" } else { "at least " };
            let reason = match kind {
                Later::BackingOff => Reason::new(
                    Code::BackingOff,
                    format!("jobs that failed and are tried again: {at_least}{count}; the first"),
                )
                .act(format!(
                    "`aftercall jobs list --queue {queue} --state retryable` shows why"
                )),
                Later::Scheduled => Reason::new(
                    Code::Scheduled,
                    format!("jobs that wait: {at_least}{count} ({why}); the first"),
                ),
            };
            (first, reason.until(first))
        })
        .collect();
    reasons.sort_by_key(|(first, _)| *first);
    Ok(reasons.into_iter().map(|(_, reason)| reason).collect())
}

/// Why a job waits for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Later {
    Scheduled,
    BackingOff,
}

fn later_key(row: &Row) -> Result<((Later, String), DateTime<Utc>), DbError> {
    let state: String = row.get("state")?;
    let why: Option<String> = row.get("wait_reason")?;
    let key = if state == "retryable" {
        (Later::BackingOff, String::new())
    } else {
        (Later::Scheduled, why.unwrap_or_else(|| "enqueued for later".to_owned()))
    };
    Ok((key, row.get("run_at")?))
}

/// What could run now: counted in the order of its index, so that no other is read. `free`: nothing of the above holds it.
async fn now(db: &Db, fleet: &Fleet, queue: &str, waiting: &[Key], free: bool) -> Result<Reason, DbError> {
    let mut ready = 0;
    for key in waiting {
        ready += count(
            db,
            "-- ready_of_key
             SELECT count(*) AS n FROM (
                 SELECT 1 FROM jobs WHERE limit_key = $1 AND state = 'available'
                 ORDER BY priority DESC, run_at, id LIMIT $2) AS first_ones",
            &params![&key.name, COUNTED as u64 + 1],
        )
        .await?;
        if ready > COUNTED {
            break;
        }
    }
    let since = waiting.iter().map(|key| key.since).min();
    if ready == 0 {
        return Ok(Reason::new(Code::Idle, format!("no job of {queue} could start now")));
    }
    let serving = fleet.serving(queue);
    let text = if free {
        format!(
            "nothing holds {queue}; jobs that start as soon as a process has room: {}, processes that serve it: {serving}",
            number(ready)
        )
    } else {
        format!("jobs of {queue} whose time has come: {}", number(ready))
    };
    Ok(Reason::new(Code::Ready, text).since(since))
}
