//! Jobs that a change is for, taken in windows going on in time.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::JobFilter;
use crate::{
    db::{DbError, Row, Sql, Tx, Value},
    params,
};

/// A job that an operator's change may touch. Until the end of the transaction it stays as it is.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Candidate {
    pub(in crate::queue) id: Uuid,
    pub(in crate::queue) queue: String,
    pub(in crate::queue) state: String,
    pub(in crate::queue) unique_key: Option<String>,
    pub(in crate::queue) args: String,
}

/// Part of a table, for a change.
#[derive(Debug)]
pub(in crate::queue) struct Taken {
    /// Those of its jobs that match.
    pub(in crate::queue) jobs: Vec<Candidate>,
    /// Those that match as well, and whose rows other transactions have at this moment: they are just claimed, renewed or
    /// ended.
    pub(in crate::queue) locked: Vec<Uuid>,
    /// Where it ends.
    pub(in crate::queue) end: Uuid,
}

/// Those of a [`Candidate`].
macro_rules! columns {
    () => {
        "j.id, j.queue, j.state, j.unique_key, j.args"
    };
}

/// The ids of a JSON array.
macro_rules! postgres_list {
    () => {
        "(SELECT value::uuid FROM jsonb_array_elements_text($11) AS value)"
    };
}

/// Going on in time from `$11` to `$12`: those that match, `$13` at most.
macro_rules! forward {
    ($name:literal, $columns:expr, $which:literal, $matches:expr, $lock:literal) => {
        concat!(
            "-- ",
            $name,
            "\nSELECT ",
            $columns,
            " FROM jobs AS j WHERE ",
            $which,
            "j.id > $11 AND j.id <= $12 AND ",
            $matches,
            " ORDER BY j.id LIMIT $13",
            $lock
        )
    };
}

/// The same of jobs that are named in the list `$11`.
macro_rules! named {
    ($name:literal, $columns:expr, $list:expr, $matches:expr, $lock:literal) => {
        concat!(
            "-- ",
            $name,
            "\nSELECT ",
            $columns,
            " FROM jobs AS j WHERE j.id IN ",
            $list,
            " AND ",
            $matches,
            " ORDER BY j.id",
            $lock
        )
    };
}

/// Nobody is waited for: a transaction may hold a job for minutes, and may want another that this one has.
macro_rules! take {
    ($name:literal, $which:literal) => {
        Sql::each(
            forward!($name, columns!(), $which, sqlite_matches!(), ""),
            forward!(
                $name,
                columns!(),
                $which,
                postgres_matches!(),
                " FOR NO KEY UPDATE OF j SKIP LOCKED"
            ),
        )
    };
}

const FORWARD: Sql = take!("candidates", "");
const FORWARD_DISCARDED: Sql = take!("discarded_candidates", "j.state = 'discarded' AND ");
const NAMED: Sql = Sql::each(
    named!(
        "named_candidates",
        columns!(),
        "(SELECT value FROM json_each($11))",
        sqlite_matches!(),
        ""
    ),
    named!(
        "named_candidates",
        columns!(),
        postgres_list!(),
        postgres_matches!(),
        " FOR NO KEY UPDATE OF j SKIP LOCKED"
    ),
);

/// Which match, whoever has their rows. At a server alone: in a file nobody has any while this transaction writes.
const THERE: &str = forward!("candidates_there", "j.id", "", postgres_matches!(), "");
const DISCARDED_THERE: &str = forward!(
    "discarded_candidates_there",
    "j.id",
    "j.state = 'discarded' AND ",
    postgres_matches!(),
    ""
);
const NAMED_THERE: &str = named!(
    "named_candidates_there",
    "j.id",
    postgres_list!(),
    postgres_matches!(),
    ""
);

macro_rules! end_forward {
    ($which:literal) => {
        concat!(
            "-- window_forward
             SELECT id FROM jobs WHERE ",
            $which,
            "id > $1 AND id <= $2 ORDER BY id LIMIT 1 OFFSET $3"
        )
    };
}

/// How much of a table one batch takes.
#[derive(Debug, Clone, Copy)]
pub(in crate::queue) struct Size {
    /// Rows that are looked at.
    pub(in crate::queue) look: u32,
    /// Those of them that are taken, at most.
    pub(in crate::queue) take: u32,
}

/// The next window after `after`, up to `upto`.
pub(in crate::queue) async fn forward(
    tx: &mut Tx,
    filter: &JobFilter,
    after: Uuid,
    upto: Uuid,
    size: Size,
) -> Result<Taken, DbError> {
    if !filter.ids.is_empty() {
        return named(tx, filter, after, upto, size.take).await;
    }
    let (end, take, there) = if filter.discarded_only() {
        (
            end_forward!("state = 'discarded' AND "),
            FORWARD_DISCARDED,
            DISCARDED_THERE,
        )
    } else {
        (end_forward!(""), FORWARD, THERE)
    };
    let end = tx.fetch_optional(end, &params![after, upto, size.look - 1]).await?;
    let end: Uuid = end.map_or(Ok(upto), |row| row.get("id"))?;
    let values = |upto: Uuid, most: u32| {
        let mut values = filter.params();
        values.extend(params![after, upto, most]);
        values
    };
    let jobs = candidates(&tx.fetch_all(take, &values(end, size.take)).await?)?;
    let cut = jobs.len() >= size.take as usize;
    let end = jobs.last().map(|job| job.id).filter(|_| cut).unwrap_or(end);
    let locked = locked(tx, there, &values(end, size.look), &jobs).await?;
    Ok(Taken { jobs, locked, end })
}

/// The next of the jobs that are named.
async fn named(tx: &mut Tx, filter: &JobFilter, after: Uuid, upto: Uuid, rows: u32) -> Result<Taken, DbError> {
    let mut next: Vec<Uuid> = filter
        .ids
        .iter()
        .copied()
        .filter(|id| *id > after && *id <= upto)
        .collect();
    next.sort_unstable();
    next.dedup();
    let cut = next.len() > rows as usize;
    next.truncate(rows as usize);
    let end = next.last().copied().filter(|_| cut).unwrap_or(upto);
    let list: Vec<String> = next.iter().map(Uuid::to_string).collect();
    let mut values = filter.params();
    values.extend(params![serde_json::json!(list)]);
    let jobs = candidates(&tx.fetch_all(NAMED, &values).await?)?;
    let locked = locked(tx, NAMED_THERE, &values, &jobs).await?;
    Ok(Taken { jobs, locked, end })
}

/// Those that match and are not among the jobs that were taken.
async fn locked(tx: &mut Tx, there: &'static str, values: &[Value], taken: &[Candidate]) -> Result<Vec<Uuid>, DbError> {
    if !tx.is_on_server() {
        return Ok(Vec::new());
    }
    let taken: BTreeSet<Uuid> = taken.iter().map(|job| job.id).collect();
    let mut locked = Vec::new();
    for row in tx.fetch_all(there, values).await? {
        let id = row.get("id")?;
        if !taken.contains(&id) {
            locked.push(id);
        }
    }
    Ok(locked)
}

fn candidates(rows: &[Row]) -> Result<Vec<Candidate>, DbError> {
    rows.iter()
        .map(|row| {
            Ok(Candidate {
                id: row.get("id")?,
                queue: row.get("queue")?,
                state: row.get("state")?,
                unique_key: row.get("unique_key")?,
                args: row.get("args")?,
            })
        })
        .collect()
}
