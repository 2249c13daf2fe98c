//! The processes of the fleet: who lives, how old each one's version is, and what it runs.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::WorkerRow;
use crate::{
    db::{Db, DbError},
    params,
};

/// A process, and what it does now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Process {
    /// As it introduced itself.
    #[serde(flatten)]
    pub row: WorkerRow,
    /// Whether it is there.
    pub state: ProcessState,
    /// A live process has a newer version.
    pub outdated: bool,
    /// Jobs that it holds a lease on: those of a dead one are taken up elsewhere once their leases end.
    pub leases: u64,
    /// Those jobs, the longest first.
    pub running: Vec<Held>,
}

/// Whether a process is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It gave a sign of life within a lease.
    Live,
    /// It did not, and never said that it stops.
    Dead,
    /// It said that it stops.
    Stopped,
}

impl ProcessState {
    /// The word of its JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Dead => "dead",
            Self::Stopped => "stopped",
        }
    }
}

/// A job that a process holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Held {
    /// Which.
    pub job: Uuid,
    /// Its queue.
    pub queue: String,
    /// Its partition.
    pub partition: String,
    /// Which attempt.
    pub attempt: u32,
    /// Since when.
    pub started_at: DateTime<Utc>,
    /// Until when, unless it is renewed.
    pub lease_expires_at: Option<DateTime<Utc>>,
}

/// The processes of the fleet: those that live first, then the dead, then, where they are asked for, those that stopped; the
/// latest first in each. `lease` is how long one may be silent.
///
/// # Errors
/// When the database cannot answer.
pub async fn processes(db: &Db, lease: Duration, with_stopped: bool) -> Result<Vec<Process>, DbError> {
    let mut processes = of(db, lease, rows(db, with_stopped).await?).await?;
    processes.sort_by_key(|process| process.state);
    Ok(processes)
}

async fn rows(db: &Db, with_stopped: bool) -> Result<Vec<WorkerRow>, DbError> {
    db.fetch_all(
        "-- processes\nSELECT * FROM workers WHERE $1 OR stopped_at IS NULL ORDER BY started_at DESC, id DESC",
        &params![with_stopped],
    )
    .await?
    .iter()
    .map(super::worker_row)
    .collect()
}

/// What these do, in their order.
///
/// # Errors
/// When the database cannot answer.
pub async fn of(db: &Db, lease: Duration, of: Vec<WorkerRow>) -> Result<Vec<Process>, DbError> {
    let mut held = held(db).await?;
    let now = db.now().await?;
    let newest = rows(db, false)
        .await?
        .iter()
        .filter(|row| row.lives(now, lease))
        .map(|row| Version::of(&row.version))
        .max();
    let processes = of
        .into_iter()
        .map(|row| {
            let state = match row.stopped_at {
                Some(_) => ProcessState::Stopped,
                None if row.lives(now, lease) => ProcessState::Live,
                None => ProcessState::Dead,
            };
            let running = held.remove(&row.id).unwrap_or_default();
            Process {
                outdated: newest
                    .as_ref()
                    .is_some_and(|newest| Version::of(&row.version) < *newest),
                state,
                leases: running.len() as u64,
                running,
                row,
            }
        })
        .collect();
    Ok(processes)
}

/// What runs, by process, the longest first.
async fn held(db: &Db) -> Result<BTreeMap<String, Vec<Held>>, DbError> {
    let rows = db
        .fetch_all(
            "-- held_by_process
             SELECT worker, id, queue, partition, attempt, started_at, lease_expires_at FROM jobs
             WHERE state = 'running' AND worker IS NOT NULL ORDER BY started_at, id",
            &[],
        )
        .await?;
    let mut held: BTreeMap<String, Vec<Held>> = BTreeMap::new();
    for row in rows {
        held.entry(row.get("worker")?).or_default().push(Held {
            job: row.get("id")?,
            queue: row.get("queue")?,
            partition: row.get("partition")?,
            attempt: row.get("attempt")?,
            started_at: row.get("started_at")?,
            lease_expires_at: row.get("lease_expires_at")?,
        });
    }
    Ok(held)
}

/// `1.12.0-rc.2`, in the order of [Semantic Versioning](https://semver.org): what comes before a release is older than it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    numbers: Vec<u64>,
    is_release: bool,
    before: Vec<(bool, u64, String)>,
}

impl Version {
    fn of(text: &str) -> Self {
        let text = text.split('+').next().unwrap_or_default();
        let (numbers, before) = text.split_once('-').unwrap_or((text, ""));
        let named = |part: &str| match part.parse() {
            Ok(number) => (false, number, String::new()),
            Err(_) => (true, 0, part.to_owned()),
        };
        Self {
            numbers: numbers
                .split('.')
                .map(|part| part.parse().unwrap_or_default())
                .collect(),
            is_release: before.is_empty(),
            before: before.split('.').filter(|part| !part.is_empty()).map(named).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{TestDb, on_each_database};

    const LEASE: Duration = Duration::from_secs(12);

    on_each_database! {
        a_process_shows_what_it_holds_and_whether_it_lives,
    }

    async fn worker(db: &Db, id: &str, version: &str, silent_seconds: i64, stopped: bool) {
        let seen = db.now().await.unwrap() - chrono::Duration::seconds(silent_seconds);
        let mut tx = db.begin().await.unwrap();
        tx.execute(
            "INSERT INTO workers (id, host, pid, version, role, queues, started_at, last_seen_at, stopped_at)
             VALUES ($1, 'h', 7, $2, 'worker', '[\"q\"]', $3, $3, $4)",
            &params![id, version, seen, stopped.then_some(seen)],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    async fn running(db: &Db, on: &str, started_second: i64) -> Uuid {
        let id = Uuid::now_v7();
        let at = crate::test_support::second(started_second);
        let mut tx = db.begin().await.unwrap();
        tx.execute(
            "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, attempt, max_attempts, worker, lease, lease_expires_at,
                 created_at, started_at)
             VALUES ($1, 'q', 'q', '{}', 'running', $2, 2, 8, $3, $1, $2, $2, $2)",
            &params![id, at, on],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        id
    }

    async fn a_process_shows_what_it_holds_and_whether_it_lives(database: TestDb) {
        let db = &database.db;
        worker(db, "old", "0.9.3", 1, false).await;
        worker(db, "new", "0.10.0", 0, false).await;
        worker(db, "silent", "0.11.0", 60, false).await;
        worker(db, "ended", "0.10.0", 90, true).await;
        let later = running(db, "silent", 20).await;
        let first = running(db, "silent", 10).await;

        let shown = processes(db, LEASE, false).await.unwrap();
        let seen: Vec<_> = shown
            .iter()
            .map(|process| (process.row.id.as_str(), process.state, process.outdated, process.leases))
            .collect();
        assert_eq!(
            seen,
            [
                ("new", ProcessState::Live, false, 0),
                // Of a version that no live process surpasses: the newest of all is dead.
                ("old", ProcessState::Live, true, 0),
                ("silent", ProcessState::Dead, false, 2),
            ]
        );
        let jobs: Vec<Uuid> = shown[2].running.iter().map(|held| held.job).collect();
        assert_eq!(jobs, [first, later]);
        assert_eq!(shown[2].running[0].attempt, 2);

        let all = processes(db, LEASE, true).await.unwrap();
        assert_eq!((all.len(), all[3].state), (4, ProcessState::Stopped));
    }

    #[test]
    fn versions_are_ordered_by_number_and_what_comes_before_a_release_is_older() {
        let ascending = [
            "0.9.3",
            "0.10.0-alpha",
            "0.10.0-rc.2",
            "0.10.0-rc.10",
            "0.10.0",
            "1.0.0",
        ];
        assert!(ascending.map(Version::of).is_sorted_by(|a, b| a < b));
        assert_eq!(Version::of("1.2.3+build.5"), Version::of("1.2.3"));
    }
}
