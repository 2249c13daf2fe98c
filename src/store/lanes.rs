//! The pace of a system of record, held across jobs and processes.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    db::{Db, DbError, Sql},
    params,
};

/// Reserves the lane's next call: answers when it may be made. The pause is thereby kept between any two calls, also when
/// the process that made the first one is gone.
///
/// # Errors
/// When the database refuses it.
pub async fn reserve(db: &Db, system: &str, pace: Duration) -> Result<(DateTime<Utc>, DateTime<Utc>), DbError> {
    const RESERVE: Sql = Sql::each(
        "-- reserve_lane
         INSERT INTO lanes (system, next_call_at) VALUES ($1, $2 + $3)
         ON CONFLICT (system) DO UPDATE SET next_call_at = MAX(lanes.next_call_at, $2) + $3
         RETURNING next_call_at - $3 AS call_at",
        "-- reserve_lane
         INSERT INTO lanes (system, next_call_at) VALUES ($1, $2::timestamptz + make_interval(secs => $3::bigint / 1e6))
         ON CONFLICT (system) DO UPDATE SET next_call_at = GREATEST(lanes.next_call_at, $2::timestamptz) + make_interval(secs => $3::bigint / 1e6)
         RETURNING next_call_at - make_interval(secs => $3::bigint / 1e6) AS call_at",
    );
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    let pace = i64::try_from(pace.as_micros()).unwrap_or(i64::MAX / 4);
    let row = tx.fetch_optional(RESERVE, &params![system, now, pace]).await?;
    let call_at = row
        .ok_or_else(|| DbError::other("statement `reserve_lane` gave no row"))?
        .get("call_at")?;
    tx.commit().await?;
    Ok((now, call_at))
}
