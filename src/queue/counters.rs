//! Counters in place of counts: what triggers note of every change of state (`queue_transitions`) is added up here, beside the
//! claims of whoever worked, and can be compared with the jobs themselves and set right by them.
//!
//! A note is moved, in one transaction: at every moment the counters and the notes together are exactly the jobs, however many
//! processes add up and whenever one of them dies.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    db::{Db, DbError, Sql},
    params,
};

/// Notes that are added up in one transaction: some 10 ms.
const AT_ONCE: u32 = 5_000;

/// States in which a job still waits or runs.
macro_rules! live {
    () => {
        "('available', 'scheduled', 'running', 'retryable')"
    };
}

/// What notes say of depths.
macro_rules! depths {
    ($notes:expr) => {
        concat!(
            "SELECT queue, to_state AS state, COALESCE(to_held_by, '') AS held_by, n FROM ",
            $notes,
            " WHERE to_state IS NOT NULL
             UNION ALL
             SELECT queue, from_state, COALESCE(from_held_by, ''), -n FROM ",
            $notes,
            " WHERE from_state IS NOT NULL"
        )
    };
}

/// What notes say happened, by minute.
macro_rules! events {
    ($notes:expr, $minute:literal) => {
        concat!(
            "SELECT ",
            $minute,
            " AS minute, queue, 'in' AS event, -1 AS wait, n FROM ",
            $notes,
            " WHERE to_state IN ",
            $crate::queue::counters::live!(),
            " AND (from_state IS NULL OR from_state NOT IN ",
            $crate::queue::counters::live!(),
            ")
             UNION ALL
             SELECT ",
            $minute,
            ", queue, 'out', -1, n FROM ",
            $notes,
            " WHERE from_state IN ",
            $crate::queue::counters::live!(),
            " AND (to_state IS NULL OR to_state NOT IN ",
            $crate::queue::counters::live!(),
            ")
             UNION ALL
             SELECT ",
            $minute,
            ", queue, 'start', wait, n FROM ",
            $notes,
            " WHERE wait IS NOT NULL"
        )
    };
}

pub(super) use {events, live};

/// In the order of their keys, so that two who add up at once never wait for each other in a circle.
macro_rules! add_up {
    ($depths:expr, $events:expr, $between:literal) => {
        concat!(
            "INSERT INTO queue_counts (queue, state, held_by, n)
             SELECT queue, state, held_by, CAST(sum(n) AS bigint) FROM (",
            $depths,
            ") AS noted WHERE true GROUP BY queue, state, held_by HAVING sum(n) <> 0 ORDER BY queue, state, held_by
             ON CONFLICT (queue, state, held_by) DO UPDATE SET n = queue_counts.n + excluded.n",
            $between,
            "INSERT INTO queue_minutes (minute, queue, event, wait, n)
             SELECT minute, queue, event, wait, CAST(sum(n) AS bigint) FROM (",
            $events,
            ") AS noted WHERE true GROUP BY minute, queue, event, wait ORDER BY minute, queue, event, wait
             ON CONFLICT (minute, queue, event, wait) DO UPDATE SET n = queue_minutes.n + excluded.n"
        )
    };
}

macro_rules! first_notes {
    () => {
        "(SELECT rowid AS id, * FROM queue_transitions ORDER BY rowid LIMIT $1)"
    };
}

/// Passed over on a server: what another process adds up at this moment.
const ADD_UP: Sql = Sql::each(
    concat!(
        "-- add_up_notes
         BEGIN IMMEDIATE;",
        add_up!(
            depths!(first_notes!()),
            events!(first_notes!(), "at - at % 60000000"),
            ";"
        ),
        ";DELETE FROM queue_transitions WHERE rowid <= (SELECT max(id) FROM ",
        first_notes!(),
        ");
         SELECT EXISTS (SELECT 1 FROM queue_transitions) AS more;
         COMMIT"
    ),
    concat!(
        "-- add_up_notes
         WITH notes AS (
            DELETE FROM queue_transitions WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM queue_transitions LIMIT $1 FOR UPDATE SKIP LOCKED))
            RETURNING at, queue, from_state, from_held_by, to_state, to_held_by, wait, n),
         depths AS (",
        add_up!(
            depths!("notes"),
            events!("notes", "date_trunc('minute', at)"),
            "), minutes AS ("
        ),
        ")
         SELECT count(*) >= $1 AS more FROM notes"
    ),
);

/// Adds up what was noted and committed so far.
///
/// # Errors
/// When the database refuses it: then all of the last batch is as before.
pub async fn add_up(db: &Db) -> Result<(), DbError> {
    loop {
        let rows = db.write_whole(ADD_UP, &params![AT_ONCE]).await?;
        let more = rows.first().map_or(Ok(false), |row| row.get("more"))?;
        if !more {
            return Ok(());
        }
    }
}

/// A counter that is not what a count says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The queue.
    pub queue: String,
    /// The state.
    pub state: String,
    /// The gate that holds them, where one does.
    pub held_by: Option<String>,
    /// What the counter says.
    pub counter: i64,
    /// How many there are.
    pub jobs: i64,
}

/// How the counters and a count compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Comparison {
    /// There are more jobs than were to be counted.
    TooMany,
    /// Counted, with what differs.
    Counted {
        /// All jobs.
        jobs: u64,
        /// Counters that differ.
        differences: Vec<Difference>,
    },
}

/// Compares the counters with a count of all jobs, unless there are more than `most`. Changes nothing and stops nobody: both are
/// read as of one moment.
///
/// # Errors
/// When the database cannot answer.
pub async fn compare(db: &Db, most: Option<u64>) -> Result<Comparison, DbError> {
    if let Some(most) = most {
        let row = db
            .fetch_optional(
                "-- are_there_more\nSELECT count(*) AS n FROM (SELECT 1 FROM jobs LIMIT $1) AS first_ones",
                &params![most.saturating_add(1)],
            )
            .await?;
        if row.map_or(Ok(0), |row| row.get::<u64>("n"))? > most {
            return Ok(Comparison::TooMany);
        }
    }
    let rows = db
        .fetch_all(
            "-- compare_counters
             SELECT queue, state, held_by, CAST(sum(counter) AS bigint) AS counter, CAST(sum(jobs) AS bigint) AS jobs FROM (
                SELECT queue, state, held_by, n AS counter, 0 AS jobs FROM queue_depths
                UNION ALL
                SELECT queue, state, COALESCE(held_by, ''), 0, count(*) FROM jobs GROUP BY queue, state, held_by
             ) AS both_ways GROUP BY queue, state, held_by ORDER BY queue, state, held_by",
            &[],
        )
        .await?;
    let mut total = 0;
    let mut differences = Vec::new();
    for row in rows {
        let (counter, jobs): (i64, i64) = (row.get("counter")?, row.get("jobs")?);
        total += u64::try_from(jobs).unwrap_or_default();
        if counter != jobs {
            differences.push(Difference {
                queue: row.get("queue")?,
                state: row.get("state")?,
                held_by: Some(row.get::<String>("held_by")?).filter(|gate| !gate.is_empty()),
                counter,
                jobs,
            });
        }
    }
    Ok(Comparison::Counted {
        jobs: total,
        differences,
    })
}

/// Sets the counters by a count of all jobs, in one transaction, while everybody goes on: whatever is noted after the moment of
/// the count is added to it as ever. Answers how many jobs there are by state.
///
/// # Errors
/// When the database refuses it: then nothing changed.
pub async fn recount(db: &Db) -> Result<BTreeMap<String, u64>, DbError> {
    // Who adds up waits until this is committed. What they have taken by then is still noted as this statement sees it.
    const ALONE: Sql = Sql::each(
        "-- alone\nSELECT 1",
        "-- alone\nLOCK TABLE queue_counts IN SHARE ROW EXCLUSIVE MODE",
    );
    // What is noted and not yet added up comes on top.
    const RECOUNT: &str = concat!(
        "-- recount
         INSERT INTO queue_counts (queue, state, held_by, n)
         SELECT queue, state, held_by, CAST(sum(n) AS bigint) FROM (
            SELECT queue, state, COALESCE(held_by, '') AS held_by, count(*) AS n FROM jobs GROUP BY queue, state, held_by
            UNION ALL
            SELECT queue, state, held_by, -n FROM (",
        depths!("queue_transitions"),
        ") AS noted
            UNION ALL
            SELECT queue, state, held_by, 0 FROM queue_counts
         ) AS counted WHERE true GROUP BY queue, state, held_by
         ON CONFLICT (queue, state, held_by) DO UPDATE SET n = excluded.n"
    );
    let mut tx = db.begin().await?;
    tx.execute(ALONE, &[]).await?;
    tx.execute(RECOUNT, &[]).await?;
    let rows = tx
        .fetch_all(
            "-- recounted\nSELECT state, CAST(sum(n) AS bigint) AS n FROM queue_depths GROUP BY state HAVING sum(n) <> 0",
            &[],
        )
        .await?;
    tx.commit().await?;
    rows.iter().map(|row| Ok((row.get("state")?, row.get("n")?))).collect()
}
