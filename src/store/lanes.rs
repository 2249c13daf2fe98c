//! The pace of a system of record, held across jobs and processes.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    db::{Db, DbError, Sql},
    params,
};

/// Reserves the lane's next call: answers when it may be made. The pause is thereby kept between any two calls, also when
/// the process that made the first one is gone. A clock that was set back delays the lane by a hundred pauses at most.
///
/// # Errors
/// When the database refuses it.
pub async fn reserve(db: &Db, system: &str, pace: Duration) -> Result<(DateTime<Utc>, DateTime<Utc>), DbError> {
    const RESERVE: Sql = Sql::each(
        "-- reserve_lane
         INSERT INTO lanes (system, next_call_at) VALUES ($1, $2 + $3)
         ON CONFLICT (system) DO UPDATE SET next_call_at = MIN(MAX(lanes.next_call_at, $2), $2 + 100 * $3) + $3
         RETURNING next_call_at - $3 AS call_at",
        "-- reserve_lane
         INSERT INTO lanes (system, next_call_at) VALUES ($1, $2::timestamptz + make_interval(secs => $3::bigint / 1e6))
         ON CONFLICT (system) DO UPDATE SET next_call_at = 
             LEAST(GREATEST(lanes.next_call_at, $2::timestamptz), $2::timestamptz + make_interval(secs => $3::bigint / 1e4))
             + make_interval(secs => $3::bigint / 1e6)
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

#[cfg(all(test, feature = "fault-points"))]
mod tests {
    use super::*;
    use crate::db::Location;

    const PACE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn calls_are_a_pace_apart_and_a_clock_set_back_does_not_stop_the_lane() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::sqlite(directory.path().join("lanes.db")))
            .await
            .unwrap();
        let (_, first) = reserve(&db, "practice", PACE).await.unwrap();
        let (_, second) = reserve(&db, "practice", PACE).await.unwrap();
        assert!(second >= first + PACE);

        let mut tx = db.begin().await.unwrap();
        let far = tx.now().await.unwrap() + chrono::Duration::days(1);
        tx.execute("UPDATE lanes SET next_call_at = $1", &params![far])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let (now, call_at) = reserve(&db, "practice", PACE).await.unwrap();
        assert!(call_at <= now + PACE * 100, "{call_at} is far after {now}");
    }
}
