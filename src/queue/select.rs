//! Which jobs: a filter, and how it is walked in windows, so that no statement reads all of a large table.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    db::{Db, DbError, Row, Sql, Tx, Value},
    params,
};

/// Rows that one statement looks at.
pub const WINDOW: u32 = 20_000;

/// Which jobs. What is not said matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JobFilter {
    /// Of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// In this partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Whose unique key contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_contains: Option<String>,
    /// Whose last error contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_contains: Option<String>,
    /// Whose arguments hold this value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arg: Option<ArgIs>,
    /// Enqueued at this instant or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_since: Option<DateTime<Utc>>,
    /// Enqueued at this instant or before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_until: Option<DateTime<Utc>>,
    /// With so many attempts, or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Just these; none: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<Uuid>,
}

impl JobFilter {
    /// Whether it says nothing: then it matches every job there is. A text that is empty is contained in all.
    pub fn is_empty(&self) -> bool {
        let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let said = Self {
            key_contains: said(&self.key_contains),
            error_contains: said(&self.error_contains),
            ..self.clone()
        };
        said == Self::default()
    }

    fn params(&self) -> Vec<Value> {
        let (path, value) = self
            .arg
            .as_ref()
            .map(|arg| (arg.path.as_str(), arg.value.as_str()))
            .unzip();
        params![
            self.queue.as_deref(),
            self.state.as_deref(),
            self.partition.as_deref(),
            self.key_contains.as_deref(),
            self.error_contains.as_deref(),
            self.created_since,
            self.created_until,
            self.attempts,
            path,
            value
        ]
        .to_vec()
    }

    /// Those that were given up have an index of their own: they are few among many.
    fn discarded_only(&self) -> bool {
        self.state.as_deref() == Some("discarded")
    }
}

/// A member of the arguments and what it is, as text: `session_id` is `call-7`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "RawArg", deny_unknown_fields)]
pub struct ArgIs {
    #[schema(pattern = r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$")]
    path: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawArg {
    path: String,
    value: String,
}

impl TryFrom<RawArg> for ArgIs {
    type Error = String;

    fn try_from(raw: RawArg) -> Result<Self, Self::Error> {
        Self::new(&raw.path, &raw.value)
    }
}

impl ArgIs {
    /// `path` names a member, `a.b` one inside another.
    ///
    /// # Errors
    /// When it is no such path.
    pub fn new(path: &str, value: &str) -> Result<Self, String> {
        let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !path.split('.').all(is_name) {
            return Err(format!(
                "`{}` is no path into arguments: write names with points between them, such as session_id",
                path.escape_debug()
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// As `PATH=VALUE`.
impl FromStr for ArgIs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, value) = text
            .split_once('=')
            .ok_or("write PATH=VALUE, such as session_id=call-7")?;
        Self::new(path, value)
    }
}

impl fmt::Display for ArgIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path, self.value)
    }
}

/// The filter over a window `j`. Its parameters are the first ten.
macro_rules! matches {
    ($arg:literal) => {
        concat!(
            "j.queue = COALESCE($1, j.queue) AND j.state = COALESCE($2, j.state) AND j.partition = COALESCE($3, j.partition)
             AND (COALESCE($4, '') = '' OR replace(COALESCE(j.unique_key, ''), $4, '') <> COALESCE(j.unique_key, ''))
             AND (COALESCE($5, '') = '' OR replace(COALESCE(j.last_error, ''), $5, '') <> COALESCE(j.last_error, ''))
             AND j.created_at >= COALESCE($6, j.created_at) AND j.created_at <= COALESCE($7, j.created_at)
             AND j.attempt >= COALESCE($8, 0) AND (COALESCE($9, '') = '' OR ",
            $arg,
            " = $10)"
        )
    };
}

macro_rules! sqlite_matches {
    () => {
        matches!("CAST(json_extract(j.args, '$.' || $9) AS TEXT)")
    };
}

macro_rules! postgres_matches {
    () => {
        matches!("(j.args #>> string_to_array($9, '.'))")
    };
}

/// A window going back in time from `$11`, and of it the newest `$13` that match.
macro_rules! newest {
    ($name:literal, $which:literal, $matches:expr) => {
        concat!(
            "-- ",
            $name,
            "\nSELECT * FROM (SELECT * FROM jobs WHERE ",
            $which,
            "id < $11 ORDER BY id DESC LIMIT $12) AS j WHERE ",
            $matches,
            " ORDER BY j.id DESC LIMIT $13"
        )
    };
}

const NEWEST: Sql = Sql::each(
    newest!("jobs_by_filter", "", sqlite_matches!()),
    newest!("jobs_by_filter", "", postgres_matches!()),
);
const NEWEST_DISCARDED: Sql = Sql::each(
    newest!("discarded_by_filter", "state = 'discarded' AND ", sqlite_matches!()),
    newest!("discarded_by_filter", "state = 'discarded' AND ", postgres_matches!()),
);

/// How many of a window match.
macro_rules! count {
    ($which:literal, $matches:expr) => {
        concat!(
            "-- count_jobs_by_filter
             SELECT count(*) AS n FROM (SELECT * FROM jobs WHERE ",
            $which,
            "id < $11 ORDER BY id DESC LIMIT $12) AS j WHERE ",
            $matches
        )
    };
}

const COUNT: Sql = Sql::each(count!("", sqlite_matches!()), count!("", postgres_matches!()));
const COUNT_DISCARDED: Sql = Sql::each(
    count!("state = 'discarded' AND ", sqlite_matches!()),
    count!("state = 'discarded' AND ", postgres_matches!()),
);

/// Where a window going back in time ends: its last row.
macro_rules! end_back {
    ($which:literal) => {
        concat!(
            "-- window_back
             SELECT id FROM jobs WHERE ",
            $which,
            "id < $1 ORDER BY id DESC LIMIT 1 OFFSET $2"
        )
    };
}

/// The newest jobs that match, before `after`.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) rows: Vec<Row>,
    /// Where to go on; `None`: nothing is left.
    pub(super) next: Option<Uuid>,
}

/// One window going back in time from `before` (the newest, where there is none), with at most `most` rows.
pub(super) async fn newest(db: &Db, filter: &JobFilter, before: Option<Uuid>, most: u32) -> Result<Window, DbError> {
    let before = before.unwrap_or(Uuid::max());
    let mut values = filter.params();
    values.extend(params![before, WINDOW, most]);
    let sql = if filter.discarded_only() {
        NEWEST_DISCARDED
    } else {
        NEWEST
    };
    let rows = db.fetch_all(sql, &values).await?;
    let next = if rows.len() >= most as usize {
        rows.last().map(|row| row.get("id")).transpose()?
    } else {
        end_of_window(db, filter, before).await?
    };
    Ok(Window { rows, next })
}

async fn end_of_window(db: &Db, filter: &JobFilter, before: Uuid) -> Result<Option<Uuid>, DbError> {
    let sql = if filter.discarded_only() {
        end_back!("state = 'discarded' AND ")
    } else {
        end_back!("")
    };
    let row = db.fetch_optional(sql, &params![before, WINDOW - 1]).await?;
    row.map(|row| row.get("id")).transpose()
}

/// How many jobs match: counted window by window, so that no statement takes long. Of jobs that are named, as many as were.
///
/// # Errors
/// When the database cannot answer.
pub async fn count(db: &Db, filter: &JobFilter) -> Result<u64, DbError> {
    if !filter.ids.is_empty() {
        return Ok(filter.ids.iter().collect::<BTreeSet<_>>().len() as u64);
    }
    let sql = if filter.discarded_only() {
        COUNT_DISCARDED
    } else {
        COUNT
    };
    let mut before = Uuid::max();
    let mut total = 0;
    loop {
        let mut values = filter.params();
        values.extend(params![before, WINDOW]);
        let row = db.fetch_optional(sql, &values).await?;
        total += row.map_or(Ok(0), |row| row.get::<u64>("n"))?;
        match end_of_window(db, filter, before).await? {
            Some(end) => before = end,
            None => return Ok(total),
        }
    }
}

/// A job that an operator's change may touch. Until the end of the transaction it stays as it is.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) id: Uuid,
    pub(super) queue: String,
    pub(super) state: String,
    pub(super) unique_key: Option<String>,
    pub(super) args: String,
}

/// Going on in time from `$11` to `$12`: those that match, `$13` at most.
macro_rules! forward {
    ($name:literal, $which:literal, $matches:expr, $lock:literal) => {
        concat!(
            "-- ",
            $name,
            "\nSELECT j.id, j.queue, j.state, j.unique_key, j.args FROM jobs AS j WHERE ",
            $which,
            "j.id > $11 AND j.id <= $12 AND ",
            $matches,
            " ORDER BY j.id LIMIT $13",
            $lock
        )
    };
}

const FORWARD: Sql = Sql::each(
    forward!("candidates", "", sqlite_matches!(), ""),
    forward!(
        "candidates",
        "",
        postgres_matches!(),
        " FOR NO KEY UPDATE OF j SKIP LOCKED"
    ),
);
const FORWARD_DISCARDED: Sql = Sql::each(
    forward!(
        "discarded_candidates",
        "j.state = 'discarded' AND ",
        sqlite_matches!(),
        ""
    ),
    forward!(
        "discarded_candidates",
        "j.state = 'discarded' AND ",
        postgres_matches!(),
        " FOR NO KEY UPDATE OF j SKIP LOCKED"
    ),
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
pub(super) struct Size {
    /// Rows that are looked at.
    pub(super) look: u32,
    /// Those of them that are taken, at most.
    pub(super) take: u32,
}

/// The next window after `after`, up to `upto`: those of its jobs that match, and where it ends. A job that is just claimed or
/// ends is passed over.
pub(super) async fn forward(
    tx: &mut Tx,
    filter: &JobFilter,
    after: Uuid,
    upto: Uuid,
    size: Size,
) -> Result<(Vec<Candidate>, Uuid), DbError> {
    if !filter.ids.is_empty() {
        return named(tx, filter, after, upto, size.take).await;
    }
    let end = if filter.discarded_only() {
        end_forward!("state = 'discarded' AND ")
    } else {
        end_forward!("")
    };
    let end = tx.fetch_optional(end, &params![after, upto, size.look - 1]).await?;
    let end: Uuid = end.map_or(Ok(upto), |row| row.get("id"))?;
    let mut values = filter.params();
    values.extend(params![after, end, size.take]);
    let sql = if filter.discarded_only() {
        FORWARD_DISCARDED
    } else {
        FORWARD
    };
    let taken = candidates(&tx.fetch_all(sql, &values).await?)?;
    let cut = taken.len() >= size.take as usize;
    let last = taken.last().map(|job| job.id).filter(|_| cut);
    Ok((taken, last.unwrap_or(end)))
}

/// The next of the jobs that are named.
async fn named(
    tx: &mut Tx,
    filter: &JobFilter,
    after: Uuid,
    upto: Uuid,
    rows: u32,
) -> Result<(Vec<Candidate>, Uuid), DbError> {
    const NAMED: Sql = Sql::each(
        concat!(
            "-- named_candidates
             SELECT j.id, j.queue, j.state, j.unique_key, j.args FROM jobs AS j
             WHERE j.id IN (SELECT value FROM json_each($11)) AND ",
            sqlite_matches!(),
            " ORDER BY j.id"
        ),
        concat!(
            "-- named_candidates
             SELECT j.id, j.queue, j.state, j.unique_key, j.args FROM jobs AS j
             WHERE j.id IN (SELECT value::uuid FROM jsonb_array_elements_text($11) AS value) AND ",
            postgres_matches!(),
            " ORDER BY j.id FOR NO KEY UPDATE OF j"
        ),
    );
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
    let rows = tx.fetch_all(NAMED, &values).await?;
    Ok((candidates(&rows)?, end))
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
