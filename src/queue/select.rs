//! Which jobs: a filter, and how it is walked in windows, so that no statement reads all of a large table.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(super) use self::take::{Candidate, Size, Taken, forward};
use crate::{
    db::{Db, DbError, Row, Sql, Value},
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

mod take;

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
