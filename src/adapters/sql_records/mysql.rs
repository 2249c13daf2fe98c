//! MySQL and MariaDB.
//!
//! Parameters are sent as text, and where a column is a number the server turns the text into one: `12abc` becomes 12, with no
//! more than a warning. Such an answer is about another record, so the warning is looked for.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, MySqlConnection, Row as _,
    SqlSafeStr as _, Statement as _, TypeInfo as _, ValueRef as _,
    mysql::{MySqlColumn, MySqlConnectOptions, MySqlRow, types::MySqlTime},
};

use super::{
    answer::{Bounds, Rows, check_names, read_row, unreadable},
    number,
    probe::About,
    trouble::Trouble,
};
use crate::domain::{
    hex::hex,
    sql::{Dialect, Statement},
};

/// Only a part of a text became a number, or a date.
const CUT_TO_FIT: u32 = 1292;

/// Rights by which a role changes something.
const WRITING_RIGHTS: [&str; 9] = [
    "ALL PRIVILEGES",
    "INSERT",
    "UPDATE",
    "DELETE",
    "DROP",
    "ALTER",
    "CREATE",
    "SUPER",
    "FILE",
];

pub(super) fn prepared(options: MySqlConnectOptions) -> MySqlConnectOptions {
    options
        // A TIMESTAMP is an instant: it is read in UTC, whatever the server's zone is.
        .timezone("+00:00".to_owned())
        // The server's own way to read a statement.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .disable_statement_logging()
}

pub(super) struct MySql {
    inner: MySqlConnection,
    is_mariadb: bool,
    version: String,
}

impl std::fmt::Debug for MySql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MySql")
    }
}

fn failed(error: &sqlx::Error) -> Trouble {
    Trouble::of(error, Dialect::MySql)
}

/// Digits, perhaps with a sign and a fraction: what the server reads as the same number. "NaN" and "1e1" are other words for it.
fn is_plain_number(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = value.strip_prefix(['+', '-']).unwrap_or(value);
    match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    }
}

impl MySql {
    pub(super) async fn new(mut inner: MySqlConnection) -> Result<Self, Trouble> {
        let version: String = sqlx::query_scalar("SELECT VERSION()")
            .fetch_one(&mut inner)
            .await
            .map_err(|error| failed(&error))?;
        Ok(Self {
            inner,
            is_mariadb: version.contains("MariaDB"),
            version,
        })
    }

    async fn command(&mut self, sql: String) -> Result<(), Trouble> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.inner).await;
        done.map(drop).map_err(|error| failed(&error))
    }

    async fn begin(&mut self, bounds: Bounds) -> Result<(), Trouble> {
        let bound = self.bound_of_a_statement(bounds.timeout);
        self.command(format!(
            "SET SESSION {bound}, SESSION max_error_count = 64, SESSION sql_select_limit = {}, SESSION lock_wait_timeout = {}",
            bounds.rows + 1,
            bounds.timeout.as_secs().max(1)
        ))
        .await?;
        self.command("START TRANSACTION READ ONLY".to_owned()).await
    }

    fn bound_of_a_statement(&self, timeout: Duration) -> String {
        if self.is_mariadb {
            format!("max_statement_time = {}", timeout.as_secs_f64())
        } else {
            format!("max_execution_time = {}", timeout.as_millis())
        }
    }

    pub(super) async fn ask(
        &mut self,
        statement: &Statement,
        values: &[&str],
        bounds: Bounds,
    ) -> Result<Vec<Value>, Trouble> {
        self.begin(bounds).await?;
        let sql = statement.with_placeholders(|_| "?".to_owned());
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for value in values {
            query = query.bind(*value);
        }
        let mut rows = Rows::within(bounds);
        let mut answer = query.fetch(&mut self.inner);
        while let Some(row) = answer.try_next().await.map_err(|error| failed(&error))? {
            let (row, bytes) = read_row(&row, value)?;
            rows.push(row, bytes)?;
        }
        drop(answer);
        if !values.iter().all(|value| is_plain_number(value)) {
            self.refuse_what_was_cut().await?;
        }
        self.command("ROLLBACK".to_owned()).await?;
        Ok(rows.into_rows())
    }

    async fn refuse_what_was_cut(&mut self) -> Result<(), Trouble> {
        let warnings = sqlx::raw_sql("SHOW WARNINGS").fetch_all(&mut self.inner).await;
        for warning in warnings.map_err(|error| failed(&error))? {
            if warning
                .try_get_unchecked::<u32, _>(1)
                .is_ok_and(|code| code == CUT_TO_FIT)
            {
                return Err(Trouble::Refused(format!(
                    "a value was cut to fit the type that it is compared with (warning {CUT_TO_FIT}): compare as text, such as \
                     CAST(id AS CHAR) = :id"
                )));
            }
        }
        Ok(())
    }

    pub(super) async fn check(&mut self, statement: &Statement) -> Result<(), Trouble> {
        let sql = statement.with_placeholders(|_| "?".to_owned());
        let described = (&mut self.inner)
            .prepare(AssertSqlSafe(sql).into_sql_str())
            .await
            .map_err(|error| failed(&error))?;
        check_names(described.columns().iter().map(sqlx::Column::name))
    }

    pub(super) async fn about(&mut self) -> Result<About, Trouble> {
        let now: NaiveDateTime = sqlx::query_scalar("SELECT UTC_TIMESTAMP()")
            .fetch_one(&mut self.inner)
            .await
            .map_err(|error| failed(&error))?;
        let grants = sqlx::raw_sql("SHOW GRANTS").fetch_all(&mut self.inner).await;
        let grants = grants.map_err(|error| failed(&error))?;
        let right = grants.iter().find_map(|row| {
            let grant: String = row.try_get_unchecked(0).ok()?;
            let rights = grant.strip_prefix("GRANT ")?.split(" ON ").next()?.to_owned();
            rights
                .split(',')
                .map(str::trim)
                .find_map(|right| WRITING_RIGHTS.into_iter().find(|writing| right.starts_with(writing)))
        });
        let kind = if self.is_mariadb { "MariaDB" } else { "MySQL" };
        Ok(About {
            server: format!("{kind} {}", self.version),
            now: Some(now.and_utc()),
            may_write: right.map(|right| format!("it is granted {right}")),
        })
    }

    pub(super) async fn close(self) {
        let _ = self.inner.close().await;
    }
}

fn value(row: &MySqlRow, column: &MySqlColumn) -> Result<Value, Trouble> {
    let at = column.ordinal();
    let kind = column.type_info().name();
    let unread = |_: sqlx::Error| unreadable(column.name(), kind);
    if row.try_get_raw(at).map_err(unread)?.is_null() {
        return Ok(Value::Null);
    }
    Ok(match kind {
        // TINYINT(1), which may also hold a count.
        "BOOLEAN" => match row.try_get_unchecked::<i64, _>(at).map_err(unread)? {
            0 => false.into(),
            1 => true.into(),
            number => number.into(),
        },
        "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            row.try_get_unchecked::<i64, _>(at).map_err(unread)?.into()
        }
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED" | "BIGINT UNSIGNED"
        | "YEAR" | "BIT" => row.try_get_unchecked::<u64, _>(at).map_err(unread)?.into(),
        "DECIMAL" => number::exact(&row.try_get_unchecked::<String, _>(at).map_err(unread)?),
        // Its own shortest decimal, not that of the double that it is near to.
        "FLOAT" => number::exact(&row.try_get_unchecked::<f32, _>(at).map_err(unread)?.to_string()),
        "DOUBLE" => number::float(row.try_get_unchecked(at).map_err(unread)?),
        "DATE" => row
            .try_get_unchecked::<NaiveDate, _>(at)
            .map_err(unread)?
            .to_string()
            .into(),
        "TIME" => row
            .try_get_unchecked::<MySqlTime, _>(at)
            .map_err(unread)?
            .to_string()
            .into(),
        "DATETIME" => local(row.try_get_unchecked(at).map_err(unread)?).into(),
        "TIMESTAMP" => row
            .try_get_unchecked::<DateTime<Utc>, _>(at)
            .map_err(unread)?
            .to_rfc3339_opts(SecondsFormat::AutoSi, true)
            .into(),
        "JSON" => {
            let text: String = row.try_get_unchecked(at).map_err(unread)?;
            serde_json::from_str(&text).map_err(|_| unreadable(column.name(), kind))?
        }
        "GEOMETRY" => return Err(unreadable(column.name(), kind)),
        // A text with a binary collation bears the name of a type of bytes.
        _ if <String as sqlx::Type<sqlx::MySql>>::compatible(column.type_info()) => {
            row.try_get_unchecked::<String, _>(at).map_err(unread)?.into()
        }
        _ => hex(&row.try_get_unchecked::<Vec<u8>, _>(at).map_err(unread)?).into(),
    })
}

/// A time of which the zone is not known.
fn local(time: NaiveDateTime) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.f").to_string()
}
