//! Where the scan of each source stands, what each cycle found, and what could not be read.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    db::{Db, DbError, Tx},
    params,
    ports::SourceFault,
};

/// Where the next scan goes on; `None` before the first slice.
///
/// # Errors
/// When the database cannot answer.
pub async fn watermark(db: &Db, source: &str) -> Result<Option<Value>, DbError> {
    let row = db
        .fetch_optional(
            "-- load_watermark\nSELECT watermark FROM sources WHERE name = $1",
            &params![source],
        )
        .await?;
    Ok(match row {
        Some(row) => row.get("watermark")?,
        None => None,
    })
}

/// Moves the watermark, in the transaction that stores the slice's sessions.
///
/// # Errors
/// When the database refuses it.
pub async fn save_watermark(tx: &mut Tx, source: &str, kind: &str, watermark: &Value) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- save_watermark
         INSERT INTO sources (name, kind, watermark, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, watermark = excluded.watermark, updated_at = excluded.updated_at",
        &params![source, kind, watermark, now],
    )
    .await?;
    Ok(())
}

/// Keeps what could not be read, for people.
///
/// # Errors
/// When the database refuses it.
pub async fn save_fault(tx: &mut Tx, source: &str, fault: &SourceFault) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- save_source_fault
         INSERT INTO source_faults (source, position, reason, seen_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (source, position) DO UPDATE SET reason = excluded.reason, seen_at = excluded.seen_at",
        &params![source, &fault.position, &fault.reason, now],
    )
    .await?;
    Ok(())
}

/// What one discovery cycle found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct CycleCounts {
    /// Steps of the scan.
    pub slices: u64,
    /// Sessions with activity.
    pub seen: u64,
    /// Sessions never seen before.
    pub new: u64,
    /// Sessions whose analysis was called for.
    pub settled: u64,
    /// Sessions with new activity after their verdict.
    pub reopened: u64,
    /// Sessions that wait to settle.
    pub waiting: u64,
    /// Things that could not be read.
    pub faults: u64,
}

/// Stores the cycle so far, which `began` with its first scan: `finished` at its end, with the verdicts since the cycle before.
///
/// # Errors
/// When the database refuses it.
pub async fn save_cycle(
    tx: &mut Tx,
    id: Uuid,
    source: &str,
    began: DateTime<Utc>,
    counts: &CycleCounts,
    finished: bool,
    error: Option<&str>,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- save_discovery_cycle
         INSERT INTO discovery_cycles (id, source, started_at, finished_at, slices, seen, new, settled, reopened, waiting, faults, error)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (id) DO UPDATE SET
             finished_at = excluded.finished_at, slices = excluded.slices, seen = excluded.seen, new = excluded.new,
             settled = excluded.settled, reopened = excluded.reopened, waiting = excluded.waiting, faults = excluded.faults,
             error = excluded.error",
        &params![
            id,
            source,
            began,
            finished.then_some(now),
            counts.slices,
            counts.seen,
            counts.new,
            counts.settled,
            counts.reopened,
            counts.waiting,
            counts.faults,
            error
        ],
    )
    .await?;
    if finished {
        tx.execute(
            "-- count_verdicts_of_cycle
             UPDATE discovery_cycles SET
                 checked = (SELECT COUNT(*) FROM verdicts v WHERE v.source = $2 AND v.created_at > since.at),
                 passed  = (SELECT COUNT(*) FROM verdicts v WHERE v.source = $2 AND v.created_at > since.at AND v.status = 'pass'),
                 failed  = (SELECT COUNT(*) FROM verdicts v WHERE v.source = $2 AND v.created_at > since.at AND v.status IN ('fail', 'partial')),
                 skipped = (SELECT COUNT(*) FROM verdicts v WHERE v.source = $2 AND v.created_at > since.at AND v.status = 'skipped'),
                 errors  = (SELECT COUNT(*) FROM verdicts v WHERE v.source = $2 AND v.created_at > since.at AND v.status = 'error')
             FROM (SELECT MAX(before.finished_at) AS at FROM discovery_cycles before
                   WHERE before.source = $2 AND before.id <> $1) AS since
             WHERE id = $1 AND since.at IS NOT NULL",
            &params![id, source],
        )
        .await?;
    }
    Ok(())
}

/// The latest discovery cycle of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCycle {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; `None` while it runs or waits.
    pub finished_at: Option<DateTime<Utc>>,
    /// Sessions with activity.
    pub seen: u64,
    /// Things that could not be read.
    pub faults: u64,
    /// Why it could not finish, without content of a session.
    pub error: Option<String>,
}

/// The latest discovery cycle of a source; `None` before the first.
///
/// # Errors
/// When the database cannot answer.
pub async fn last_cycle(db: &Db, source: &str) -> Result<Option<LastCycle>, DbError> {
    let row = db
        .fetch_optional(
            "-- last_cycle
             SELECT started_at, finished_at, seen, faults, error FROM discovery_cycles WHERE source = $1
             ORDER BY started_at DESC, id DESC LIMIT 1",
            &params![source],
        )
        .await?;
    row.map(|row| {
        Ok(LastCycle {
            started_at: row.get("started_at")?,
            finished_at: row.get("finished_at")?,
            seen: row.get("seen")?,
            faults: row.get("faults")?,
            error: row.get("error")?,
        })
    })
    .transpose()
}
