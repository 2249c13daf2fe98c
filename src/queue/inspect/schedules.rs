//! When each schedule was fired last.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::db::{Db, DbError};

/// The latest tick of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastTick {
    /// The schedule.
    pub name: String,
    /// The tick's time.
    pub tick: DateTime<Utc>,
    /// How long after its time it was fired, in microseconds.
    pub late_us: i64,
    /// Ticks before it that nobody fired.
    pub missed: u64,
}

/// The latest tick of each schedule that was ever fired, by name. Reads the names one by one off the index, and not the ticks.
///
/// # Errors
/// When the database cannot answer.
pub async fn last_ticks(db: &Db) -> Result<Vec<LastTick>, DbError> {
    db.fetch_all(
        "-- last_ticks
         WITH RECURSIVE names (name) AS (
             SELECT min(name) FROM cron_ticks
             UNION ALL
             SELECT (SELECT min(t.name) FROM cron_ticks t WHERE t.name > names.name) FROM names WHERE names.name IS NOT NULL)
         SELECT t.name, t.tick, t.late_us, t.missed
         FROM names JOIN cron_ticks t ON t.name = names.name
            AND t.tick = (SELECT max(latest.tick) FROM cron_ticks latest WHERE latest.name = names.name)
         WHERE names.name IS NOT NULL ORDER BY t.name",
        &[],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(LastTick {
            name: row.get("name")?,
            tick: row.get("tick")?,
            late_us: row.get("late_us")?,
            missed: row.get("missed")?,
        })
    })
    .collect()
}
