//! What ended lately: how much of each queue, and the latest failures. Looks at a bounded number of attempts, so that it may be
//! asked every second whatever the fleet does.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    db::{Db, DbError},
    params,
};

/// Attempts looked at by one statement.
const SAMPLE: u32 = 2_000;
/// How long ago counts as lately.
const LATELY: TimeDelta = TimeDelta::seconds(60);

/// What ended lately.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Recent {
    /// Jobs of each queue that were completed, per second over the last minute, or over the last 2,000 attempts where that is
    /// shorter.
    pub completed_per_second: BTreeMap<String, f64>,
    /// Attempts that failed, latest first.
    pub failures: Vec<Failed>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failed {
    /// When.
    pub at: DateTime<Utc>,
    /// The job.
    pub job: Uuid,
    /// Its queue.
    pub queue: String,
    /// `retried`, `discarded`, or `rescued` from a dead process.
    pub outcome: String,
    /// Why.
    pub error: Option<String>,
}

/// What ended lately, with at most so many failures of the last 2,000 attempts.
///
/// # Errors
/// When the database cannot answer.
pub async fn recent(db: &Db, failures: u32) -> Result<Recent, DbError> {
    let now = db.now().await?;
    Ok(Recent {
        completed_per_second: rates(db, now).await?,
        failures: failed(db, failures).await?,
    })
}

async fn rates(db: &Db, now: DateTime<Utc>) -> Result<BTreeMap<String, f64>, DbError> {
    let rows = db
        .fetch_all(
            "-- ended_lately
             SELECT queue, count(*) AS n, COALESCE(sum(CASE WHEN outcome = 'completed' THEN 1 END), 0) AS completed,
                    min(finished_at) AS first
             FROM (SELECT queue, outcome, finished_at FROM job_attempts WHERE finished_at > $1
                   ORDER BY finished_at DESC LIMIT $2) AS lately
             GROUP BY queue",
            &params![now - LATELY, SAMPLE],
        )
        .await?;
    let (mut completed, mut looked_at, mut first) = (BTreeMap::new(), 0_u64, now);
    for row in rows {
        looked_at += row.get::<u64>("n")?;
        first = first.min(row.get("first")?);
        completed.insert(row.get::<String>("queue")?, row.get::<u64>("completed")?);
    }
    let span = if looked_at < u64::from(SAMPLE) {
        LATELY
    } else {
        now - first
    };
    let seconds = span.as_seconds_f64().max(0.001);
    let per_second = |(queue, count)| (queue, count as f64 / seconds);
    Ok(completed.into_iter().map(per_second).collect())
}

async fn failed(db: &Db, most: u32) -> Result<Vec<Failed>, DbError> {
    db.fetch_all(
        "-- latest_failures
         SELECT job_id, queue, outcome, error, finished_at FROM (
             SELECT job_id, queue, outcome, error, finished_at FROM job_attempts ORDER BY finished_at DESC LIMIT $1
         ) AS lately WHERE outcome IN ('retried', 'discarded', 'rescued') ORDER BY finished_at DESC LIMIT $2",
        &params![SAMPLE, most],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(Failed {
            at: row.get("finished_at")?,
            job: row.get("job_id")?,
            queue: row.get("queue")?,
            outcome: row.get("outcome")?,
            error: row.get("error")?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{TestDb, on_each_database};

    on_each_database! {
        rates_are_of_the_last_minute_and_failures_the_latest,
        a_busy_queue_is_measured_over_what_was_looked_at,
    }

    async fn ended(db: &Db, queue: &str, outcome: &str, ago: TimeDelta, times: u32) {
        let at = db.now().await.unwrap() - ago;
        let mut tx = db.begin().await.unwrap();
        for _ in 0..times {
            tx.execute(
                "INSERT INTO job_attempts (lease, job_id, queue, limit_key, attempt, worker, started_at, finished_at, outcome,
                     error, duration_us)
                 VALUES ($1, $1, $2, $2, 1, 'w', $4, $4, $3, 'why', 0)",
                &params![Uuid::now_v7(), queue, outcome, at],
            )
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn rates_are_of_the_last_minute_and_failures_the_latest(database: TestDb) {
        let db = &database.db;
        ended(db, "a", "completed", TimeDelta::seconds(10), 30).await;
        ended(db, "a", "snoozed", TimeDelta::seconds(9), 5).await;
        ended(db, "a", "completed", TimeDelta::minutes(5), 50).await;
        ended(db, "b", "retried", TimeDelta::seconds(20), 1).await;
        ended(db, "b", "discarded", TimeDelta::minutes(9), 1).await;
        let recent = recent(db, 10).await.unwrap();
        assert!((recent.completed_per_second["a"] - 0.5).abs() < 1e-9, "{recent:?}");
        assert!(recent.completed_per_second["b"].abs() < 1e-9, "{recent:?}");
        let failed: Vec<&str> = recent.failures.iter().map(|failed| failed.outcome.as_str()).collect();
        assert_eq!(failed, ["retried", "discarded"]);
    }

    async fn a_busy_queue_is_measured_over_what_was_looked_at(database: TestDb) {
        let db = &database.db;
        ended(db, "a", "completed", TimeDelta::seconds(50), 500).await;
        ended(db, "a", "completed", TimeDelta::seconds(20), 2_000).await;
        let recent = recent(db, 10).await.unwrap();
        // 2,000 in the last 20 s and a little.
        let rate = recent.completed_per_second["a"];
        assert!((20.0..=100.0).contains(&rate) && rate > 2_500.0 / 60.0, "{rate}");
    }
}
