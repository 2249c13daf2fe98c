//! What the latest discovery cycles of each source found.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    db::{Db, DbError},
    params,
    store::sources::CycleCounts,
};

/// One cycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CycleLine {
    /// When its scan began.
    pub started_at: DateTime<Utc>,
    /// When it was through; `None` while it goes on or waits for its source.
    pub finished_at: Option<DateTime<Utc>>,
    /// What it found.
    #[serde(flatten)]
    pub counts: CycleCounts,
    /// Verdicts since the cycle before.
    pub checked: u64,
    /// Of those: everything asked for is there.
    pub passed: u64,
    /// Of those: some of it, or none.
    pub failed: u64,
    /// Of those: nothing to verify.
    pub skipped: u64,
    /// Of those: given up.
    pub errors: u64,
    /// Why it could not finish.
    pub error: Option<String>,
}

/// The latest cycles of each source, at most `limit`, latest first.
///
/// # Errors
/// When the database cannot answer.
pub async fn latest(db: &Db, limit: u32) -> Result<BTreeMap<String, Vec<CycleLine>>, DbError> {
    let rows = db
        .fetch_all(
            "-- latest_discovery_cycles
             SELECT source, started_at, finished_at, slices, seen, new, settled, reopened, waiting, faults, checked, passed,
                    failed, skipped, errors, error
             FROM (SELECT c.*, ROW_NUMBER() OVER (PARTITION BY source ORDER BY started_at DESC, id DESC) AS place
                   FROM discovery_cycles c) AS numbered
             WHERE place <= $1 ORDER BY source, place",
            &params![limit],
        )
        .await?;
    let mut cycles: BTreeMap<String, Vec<CycleLine>> = BTreeMap::new();
    for row in rows {
        cycles.entry(row.get("source")?).or_default().push(CycleLine {
            started_at: row.get("started_at")?,
            finished_at: row.get("finished_at")?,
            counts: CycleCounts {
                slices: row.get("slices")?,
                seen: row.get("seen")?,
                new: row.get("new")?,
                settled: row.get("settled")?,
                reopened: row.get("reopened")?,
                waiting: row.get("waiting")?,
                faults: row.get("faults")?,
            },
            checked: row.get("checked")?,
            passed: row.get("passed")?,
            failed: row.get("failed")?,
            skipped: row.get("skipped")?,
            errors: row.get("errors")?,
            error: row.get("error")?,
        });
    }
    Ok(cycles)
}

/// Sessions of each source with activity after the content that their verdict judged.
///
/// # Errors
/// When the database cannot answer.
pub async fn changed_since_verdict(db: &Db) -> Result<BTreeMap<String, u64>, DbError> {
    let rows = db
        .fetch_all(
            "-- count_changed_since_verdict
             SELECT source, COUNT(*) AS sessions FROM sessions WHERE state = 'done' AND digest <> analyzed_digest GROUP BY source",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.get("source")?, row.get("sessions")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{TestDb, on_each_database, second};

    on_each_database! {
        the_latest_cycles_of_each_source_come_first_and_no_more_than_asked_for,
    }

    async fn the_latest_cycles_of_each_source_come_first_and_no_more_than_asked_for(database: TestDb) {
        let db = &database.db;
        let mut tx = db.begin().await.unwrap();
        for (source, at) in [("calls", 1_i64), ("calls", 3), ("calls", 2), ("others", 1)] {
            tx.execute(
                "INSERT INTO discovery_cycles (id, source, started_at, seen, error) VALUES ($1, $2, $3, $4, 'no connection')",
                &params![uuid::Uuid::now_v7(), source, second(at), at],
            )
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
        let cycles = latest(db, 2).await.unwrap();
        let seen = |source: &str| cycles[source].iter().map(|cycle| cycle.counts.seen).collect::<Vec<_>>();
        assert_eq!((seen("calls"), seen("others")), (vec![3, 2], vec![1]));
        assert_eq!(cycles["calls"][0].error.as_deref(), Some("no connection"));
        assert_eq!(cycles["calls"][0].finished_at, None);
    }
}
