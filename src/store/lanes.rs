//! The pace of a system of record, held across jobs and processes.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::{
    db::{Db, DbError, Sql},
    params,
};

/// When a call may be made, by the database's clock.
#[derive(Debug, Clone, Copy)]
pub struct Reserved {
    /// When it may be made.
    pub call_at: DateTime<Utc>,
    /// What the clock said.
    now: DateTime<Utc>,
    /// When it said so, on this machine's clock.
    read_at: Instant,
}

impl Reserved {
    /// The database's clock, without asking it again.
    pub fn now(&self) -> DateTime<Utc> {
        self.now + self.read_at.elapsed()
    }

    /// When the call may be made, on this machine's clock.
    pub fn instant(&self) -> Instant {
        self.read_at + (self.call_at - self.now).to_std().unwrap_or_default()
    }
}

/// Reserves the lane's next call: answers when it may be made. The pause is thereby kept between any two calls, also when
/// the process that made the first one is gone. A clock that was set back delays the lane by a hundred pauses at most.
///
/// # Errors
/// When the database refuses it.
pub async fn reserve(db: &Db, system: &str, pace: Duration) -> Result<Reserved, DbError> {
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
    let read_at = Instant::now();
    let pace = micros(pace);
    let row = tx.fetch_optional(RESERVE, &params![system, now, pace]).await?;
    let call_at = row
        .ok_or_else(|| DbError::other("statement `reserve_lane` gave no row"))?
        .get("call_at")?;
    tx.commit().await?;
    Ok(Reserved { call_at, now, read_at })
}

/// Notes when a call really left: a call that left late, on a busy machine, moves the next one, so that no two are ever
/// closer to each other than the pace. A clock that was set back moves nothing.
///
/// # Errors
/// When the database refuses it: then the pause is the reserved one.
pub async fn left_at(db: &Db, system: &str, pace: Duration, at: DateTime<Utc>) -> Result<(), DbError> {
    const LEFT_AT: Sql = Sql::each(
        "-- lane_left_at\nUPDATE lanes SET next_call_at = $2 + $3 WHERE system = $1 AND next_call_at < $2 + $3",
        "-- lane_left_at
         UPDATE lanes SET next_call_at = $2::timestamptz + make_interval(secs => $3::bigint / 1e6)
         WHERE system = $1 AND next_call_at < $2::timestamptz + make_interval(secs => $3::bigint / 1e6)",
    );
    let mut tx = db.begin().await?;
    tx.execute(LEFT_AT, &params![system, at, micros(pace)]).await?;
    tx.commit().await
}

fn micros(pace: Duration) -> i64 {
    i64::try_from(pace.as_micros()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{TestDb, on_each_database};

    on_each_database! {
        calls_are_a_pace_apart_and_a_clock_set_back_does_not_stop_the_lane,
    }

    const PACE: Duration = Duration::from_millis(200);

    async fn calls_are_a_pace_apart_and_a_clock_set_back_does_not_stop_the_lane(database: TestDb) {
        let db = &database.db;
        let first = reserve(db, "practice", PACE).await.unwrap().call_at;
        let second = reserve(db, "practice", PACE).await.unwrap().call_at;
        assert!(second >= first + PACE);

        // The second call left late: the third keeps its distance from that.
        let left = second + PACE / 2;
        left_at(db, "practice", PACE, left).await.unwrap();
        assert!(reserve(db, "practice", PACE).await.unwrap().call_at >= left + PACE);

        let mut tx = db.begin().await.unwrap();
        let far = tx.now().await.unwrap() + chrono::Duration::days(1);
        tx.execute("UPDATE lanes SET next_call_at = $1", &params![far])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let reserved = reserve(db, "practice", PACE).await.unwrap();
        assert!(reserved.call_at <= reserved.now + PACE * 100, "{reserved:?}");
    }
}
