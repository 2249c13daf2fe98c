//! Every attempt at the jobs of one subject.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::AttemptRow;
use crate::{
    db::{Db, DbError, Sql},
    params,
};

/// Clocks of processes, which ids of jobs are made by, and the database's differ by less.
const SKEW: TimeDelta = TimeDelta::hours(1);
/// Jobs of one subject looked at, at most.
const MOST: u32 = 500;

/// A job of a subject, with every attempt at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    /// Which.
    pub job: Uuid,
    /// Its queue.
    pub queue: String,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// Oldest first.
    pub attempts: Vec<AttemptRow>,
}

/// By the ids, which follow time: no index has the arguments.
const JOBS: Sql = Sql::each(
    "-- jobs_of_subject
     SELECT id, queue, created_at FROM jobs WHERE id >= $1 AND id <= $2
        AND json_extract(args, '$.' || $3) = $4 AND json_extract(args, '$.' || $5) = $6 ORDER BY id LIMIT $7",
    "-- jobs_of_subject
     SELECT id, queue, created_at FROM jobs WHERE id >= $1 AND id <= $2
        AND args ->> $3 = $4 AND args ->> $5 = $6 ORDER BY id LIMIT $7",
);

/// The jobs enqueued between two instants whose arguments hold both values, oldest first, at most 500. Jobs that ended are kept
/// for `retention.finished_jobs`.
///
/// # Errors
/// When the database cannot answer.
pub async fn of_subject(
    db: &Db,
    [one, two]: [(&str, &str); 2],
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<Attempted>, DbError> {
    let range = params![
        first_id(from - SKEW),
        last_id(to + SKEW),
        one.0,
        one.1,
        two.0,
        two.1,
        MOST
    ];
    let mut jobs = Vec::new();
    for row in db.fetch_all(JOBS, &range).await? {
        let job: Uuid = row.get("id")?;
        jobs.push(Attempted {
            job,
            queue: row.get("queue")?,
            created_at: row.get("created_at")?,
            attempts: super::attempts(db, job).await?,
        });
    }
    Ok(jobs)
}

/// Version 7: the first 48 bits are the milliseconds since 1970.
fn first_id(at: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(millis << 80)
}

fn last_id(at: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(first_id(at).as_u128() | ((1 << 80) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{Planned, TestDb, fill, on_each_database};

    on_each_database! {
        a_subject_has_its_jobs_with_their_attempts_and_nobody_elses,
        no_subject_costs_a_look_at_all_jobs,
    }

    async fn job(db: &Db, source: &str, session: &str) -> Uuid {
        let id = Uuid::now_v7();
        let now = db.now().await.unwrap();
        let args = serde_json::json!({ "source": source, "session_id": session });
        let mut tx = db.begin().await.unwrap();
        tx.execute(
            "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at)
             VALUES ($1, 'q', 'q', $2, 'completed', $3, 8, $3)",
            &params![id, args, now],
        )
        .await
        .unwrap();
        tx.execute(
            "INSERT INTO job_attempts (lease, job_id, queue, limit_key, attempt, worker, started_at, finished_at, outcome,
                 duration_us)
             VALUES ($1, $1, 'q', 'q', 1, 'w', $2, $2, 'completed', 7)",
            &params![id, now],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        id
    }

    async fn a_subject_has_its_jobs_with_their_attempts_and_nobody_elses(database: TestDb) {
        let db = &database.db;
        let first = job(db, "calls", "a").await;
        job(db, "chats", "a").await;
        job(db, "calls", "b").await;
        let second = job(db, "calls", "a").await;
        let now = db.now().await.unwrap();
        let of = [("source", "calls"), ("session_id", "a")];
        let found = of_subject(db, of, now, now).await.unwrap();
        let ids: Vec<Uuid> = found.iter().map(|job| job.job).collect();
        assert_eq!(ids, [first, second]);
        assert_eq!(found[0].attempts[0].duration_us, Some(7));
        let long_ago = now - TimeDelta::days(2);
        assert_eq!(of_subject(db, of, long_ago, long_ago).await.unwrap(), []);
    }

    async fn no_subject_costs_a_look_at_all_jobs(database: TestDb) {
        let db = &database.db;
        fill(
            db,
            &[
                "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at)
               SELECT gen_random_uuid(), 'q', 'q', '{}', 'completed', now(), 8, now() FROM generate_series(1, 20000)",
            ],
        )
        .await;
        let now = db.now().await.unwrap();
        let range = params![first_id(now), last_id(now), "a", "b", "c", "d", MOST];
        Planned {
            steps: db.plan_of(JOBS, &range).await,
            index: ["sqlite_autoindex_jobs_1", "jobs_pkey"],
        }
        .reads_by_index(db, &["jobs"]);
    }
}
