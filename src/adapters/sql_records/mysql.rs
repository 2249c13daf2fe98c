//! MySQL and MariaDB.
//!
//! Parameters are sent as text, and where a column is a number the server turns the text into one: `12abc` becomes 12, with no
//! more than a warning. Such an answer is about another record, so the warning is looked for.
//!
//! Where a column is a date, `26-05-04`, `260504` and `2026.5.4` become one without even that, and the server does not say of which
//! type a parameter is. So where a value is such a text, the statement is run once more with a text in its place that is no date:
//! only where a date was expected does the server complain.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, MySqlConnection, Row as _,
    SqlSafeStr as _, Statement as _, TypeInfo as _, ValueRef as _,
    mysql::{MySqlArguments, MySqlColumn, MySqlConnectOptions, MySqlRow, types::MySqlTime},
};

use super::{
    answer::{Bounds, Rows, a_large_row, check_names, read_row, too_large, unreadable},
    moment::Moment,
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
    /// By the statement, how many columns it has, where some of them are wide.
    wide: HashMap<String, Option<usize>>,
}

impl std::fmt::Debug for MySql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MySql")
    }
}

fn failed(error: &sqlx::Error) -> Trouble {
    Trouble::of(error, Dialect::MySql)
}

/// Whether the server may read a date or a time in it that nobody wrote so. Digits alone are one of six, eight, twelve or fourteen.
fn may_be_guessed_at(value: &str) -> bool {
    let begins = value.trim_start().trim_start_matches(['+', '-']);
    let of_a_date = |letter: char| {
        letter.is_ascii_digit()
            || letter.is_ascii_punctuation()
            || letter.is_whitespace()
            || matches!(letter, 'T' | 't' | 'Z' | 'z')
    };
    let is_digits = value.bytes().all(|byte| byte.is_ascii_digit());
    begins.starts_with(|first: char| first.is_ascii_digit())
        && value.chars().all(of_a_date)
        && (!is_digits || matches!(value.len(), 6 | 8 | 12 | 14))
        && !Moment::DayOrLocal.takes(value)
}

/// A text that is no date, in place of a value.
fn marker(number: usize) -> String {
    format!("aftercall:{number}:")
}

/// Whether a column may be larger than a row of other columns can be.
fn is_wide(kind: &str) -> bool {
    kind.ends_with("TEXT") || kind.ends_with("BLOB") || kind == "JSON"
}

fn bind(sql: &str, values: &[impl AsRef<str>]) -> sqlx::query::Query<'static, sqlx::MySql, MySqlArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
    for value in values {
        query = query.bind(value.as_ref().to_owned());
    }
    query
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
            wide: HashMap::new(),
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
        self.refuse_a_large_row(&sql, values, bounds.bytes).await?;
        let mut rows = Rows::within(bounds);
        let mut answer = bind(&sql, values).fetch(&mut self.inner);
        while let Some(row) = answer.try_next().await.map_err(|error| failed(&error))? {
            let (row, bytes) = read_row(&row, value)?;
            rows.push(row, bytes)?;
        }
        drop(answer);
        self.refuse_what_was_cut().await?;
        self.refuse_what_was_guessed(statement, &sql, values).await?;
        self.command("ROLLBACK".to_owned()).await?;
        Ok(rows.into_rows())
    }

    /// What the server says of values that it turned into something else. It repeats them: not to be shown.
    async fn warnings_of_cuts(&mut self) -> Result<Vec<String>, Trouble> {
        let warnings = sqlx::raw_sql("SHOW WARNINGS").fetch_all(&mut self.inner).await;
        let warnings = warnings.map_err(|error| failed(&error))?;
        let cuts = warnings.iter().filter(|warning| {
            warning
                .try_get_unchecked::<u32, _>(1)
                .is_ok_and(|code| code == CUT_TO_FIT)
        });
        Ok(cuts
            .map(|warning| warning.try_get_unchecked::<String, _>(2).unwrap_or_default())
            .collect())
    }

    async fn refuse_what_was_cut(&mut self) -> Result<(), Trouble> {
        if self.warnings_of_cuts().await?.is_empty() {
            return Ok(());
        }
        Err(Trouble::Refused(format!(
            "a value was cut to fit the type that it is compared with (warning {CUT_TO_FIT}): compare as text, such as \
             CAST(id AS CHAR) = :id; a date is taken as 2026-05-04"
        )))
    }

    async fn refuse_what_was_guessed(
        &mut self,
        statement: &Statement,
        sql: &str,
        values: &[&str],
    ) -> Result<(), Trouble> {
        if !values.iter().any(|value| may_be_guessed_at(value)) {
            return Ok(());
        }
        let marked = values.iter().enumerate().map(|(number, value)| {
            if may_be_guessed_at(value) {
                marker(number)
            } else {
                (*value).to_owned()
            }
        });
        let marked: Vec<String> = marked.collect();
        let mut answer = bind(sql, &marked).fetch(&mut self.inner);
        let refused = loop {
            match answer.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                // MySQL refuses where MariaDB warns.
                Err(sqlx::Error::Database(refused)) if refused.message().contains("aftercall:") => {
                    break Some(refused.message().to_owned());
                }
                Err(error) => return Err(failed(&error)),
            }
        };
        drop(answer);
        let said = match refused {
            Some(refused) => vec![refused],
            None => self.warnings_of_cuts().await?,
        };
        for (number, (name, value)) in statement.parameters().zip(values).enumerate() {
            let said = said.iter().find(|said| said.contains(&marker(number)));
            let said = said.map(|said| said.to_lowercase()).unwrap_or_default();
            let moment = if said.contains("date") {
                Moment::DayOrLocal
            } else if said.contains("time") {
                Moment::Clock
            } else {
                continue;
            };
            if !moment.takes(value) {
                return Err(Trouble::Refused(moment.refusal(name)));
            }
        }
        Ok(())
    }

    async fn refuse_a_large_row(&mut self, sql: &str, values: &[&str], most: usize) -> Result<(), Trouble> {
        // Before its version 8 MySQL has no WITH.
        if self.version.starts_with("5.") {
            return Ok(());
        }
        if !self.wide.contains_key(sql) {
            let described = (&mut self.inner)
                .prepare(AssertSqlSafe(sql.to_owned()).into_sql_str())
                .await
                .map_err(|error| failed(&error))?;
            let columns = described.columns();
            let is_wide = columns.iter().any(|column| is_wide(column.type_info().name()));
            self.wide.insert(sql.to_owned(), is_wide.then_some(columns.len()));
        }
        let Some(columns) = self.wide.get(sql).copied().flatten() else {
            return Ok(());
        };
        let large = a_large_row(sql, columns, "LENGTH", most);
        let found = bind(&large, values).fetch_optional(&mut self.inner).await;
        match found.map_err(|error| failed(&error))? {
            None => Ok(()),
            Some(_) => Err(too_large(most)),
        }
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
