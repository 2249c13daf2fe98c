//! SQLite: a file that is opened for reading only.
//!
//! There is no server that ends a statement, so the engine asks us every so often whether it may go on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _,
    SqliteConnection, Statement as _, TypeInfo as _, ValueRef as _,
    sqlite::{SqliteArguments, SqliteColumn, SqliteConnectOptions, SqliteRow},
};

use super::{
    answer::{Bounds, Rows, a_large_row, check_names, read_row, too_large, unreadable},
    by_number::{self, Bound},
    number,
    probe::About,
    trouble::Trouble,
};
use crate::{
    domain::{
        hex::hex,
        lookup::SqlLookup,
        sql::{Dialect, Statement},
    },
    ports::UpstreamReason,
};

/// Steps of the engine between two questions whether it may go on: a fraction of a millisecond.
const STEPS: i32 = 10_000;

pub(super) fn prepared(options: SqliteConnectOptions, timeout: Duration) -> SqliteConnectOptions {
    options
        .read_only(true)
        .create_if_missing(false)
        // Whatever the address says: neither a database that is made now, nor locks that are shared with who writes.
        .in_memory(false)
        .shared_cache(false)
        // Rows wait for us one at a time: how large they are is known only when they are here.
        .row_buffer_size(1)
        .busy_timeout(timeout)
        .pragma("query_only", "on")
        .disable_statement_logging()
}

pub(super) struct Sqlite {
    inner: SqliteConnection,
    /// When a statement is ended.
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sqlite")
    }
}

fn failed(error: &sqlx::Error) -> Trouble {
    Trouble::of(error, Dialect::Sqlite)
}

/// The statement itself was fast enough: the file is not down.
fn not_in_time(error: &sqlx::Error) -> Trouble {
    match failed(error) {
        Trouble::Down(UpstreamReason::Unreachable, _) => Trouble::Refused(
            "`timeout` was over before it was known whether a number finds what its digits do not: let the statement find its rows by \
             an index, or raise `timeout`"
                .to_owned(),
        ),
        other => other,
    }
}

fn bind(sql: &str, values: &[Bound<'_>]) -> sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
    for value in values {
        query = match value {
            Bound::Text(text) => query.bind((*text).to_owned()),
            Bound::Whole(whole) => query.bind(*whole),
            Bound::Real(real) => query.bind(*real),
        };
    }
    query
}

impl Sqlite {
    pub(super) async fn new(mut inner: SqliteConnection) -> Result<Self, Trouble> {
        let deadline = Arc::new(Mutex::new(None::<Instant>));
        let asked = Arc::clone(&deadline);
        let mut handle = inner.lock_handle().await.map_err(|error| failed(&error))?;
        handle.set_progress_handler(STEPS, move || {
            let deadline = *asked.lock().unwrap_or_else(PoisonError::into_inner);
            deadline.is_none_or(|deadline| Instant::now() < deadline)
        });
        drop(handle);
        Ok(Self { inner, deadline })
    }

    fn end_after(&self, timeout: Option<Duration>) {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    async fn command(&mut self, sql: &'static str) -> Result<(), Trouble> {
        let done = sqlx::raw_sql(sql).execute(&mut self.inner).await;
        done.map(drop).map_err(|error| failed(&error))
    }

    pub(super) async fn ask(
        &mut self,
        how: &SqlLookup,
        values: &[&str],
        bounds: Bounds,
    ) -> Result<Vec<Value>, Trouble> {
        self.end_after(Some(bounds.timeout));
        self.command("BEGIN").await?;
        let sql = how.statement.with_placeholders(|number| format!("?{number}"));
        let texts: Vec<Bound<'_>> = values.iter().map(|value| Bound::Text(value)).collect();
        self.refuse_a_large_row(&sql, &texts, bounds.bytes).await?;
        let mut rows = Rows::within(bounds);
        let mut answer = bind(&sql, &texts).fetch(&mut self.inner);
        while let Some(row) = answer.try_next().await.map_err(|error| failed(&error))? {
            let (row, bytes) = read_row(&row, value)?;
            rows.push(row, bytes)?;
        }
        drop(answer);
        let rows = rows.into_rows();
        // A record that is there is not looked for again; of a list any member may be missing.
        if rows.is_empty() || how.is_list {
            self.refuse_what_only_a_number_finds(&how.statement, values, &sql, &rows)
                .await?;
        }
        self.command("ROLLBACK").await?;
        self.end_after(None);
        Ok(rows)
    }

    /// A file of fewer bytes holds no such row.
    async fn refuse_a_large_row(&mut self, sql: &str, values: &[Bound<'_>], most: usize) -> Result<(), Trouble> {
        let size: i64 = sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            .fetch_one(&mut self.inner)
            .await
            .map_err(|error| failed(&error))?;
        if usize::try_from(size).is_ok_and(|size| size <= most) {
            return Ok(());
        }
        let described = (&mut self.inner)
            .prepare(AssertSqlSafe(sql.to_owned()).into_sql_str())
            .await
            .map_err(|error| failed(&error))?;
        let large = a_large_row(sql, described.columns().len(), "octet_length", most);
        let found = bind(&large, values).fetch_optional(&mut self.inner).await;
        match found.map_err(|error| failed(&error))? {
            None => Ok(()),
            Some(_) => Err(too_large(most)),
        }
    }

    async fn refuse_what_only_a_number_finds(
        &mut self,
        statement: &Statement,
        values: &[&str],
        sql: &str,
        rows: &[Value],
    ) -> Result<(), Trouble> {
        let ways = by_number::other_ways(values).ok_or_else(|| Trouble::Refused(by_number::too_many_ways()))?;
        for way in ways {
            let mut answer = bind(sql, &way).fetch(&mut self.inner);
            while let Some(row) = answer.try_next().await.map_err(|error| not_in_time(&error))? {
                let (row, _) = read_row(&row, value)?;
                if !rows.contains(&Value::Object(row)) {
                    return Err(Trouble::Refused(by_number::advice(statement.parameters(), &way)));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn check(&mut self, statement: &Statement) -> Result<(), Trouble> {
        let sql = statement.with_placeholders(|number| format!("?{number}"));
        let described = (&mut self.inner)
            .prepare(AssertSqlSafe(sql).into_sql_str())
            .await
            .map_err(|error| failed(&error))?;
        check_names(described.columns().iter().map(sqlx::Column::name))
    }

    pub(super) async fn about(&mut self) -> Result<About, Trouble> {
        let version: String = sqlx::query_scalar("SELECT sqlite_version()")
            .fetch_one(&mut self.inner)
            .await
            .map_err(|error| failed(&error))?;
        // A file that is no database is noticed only when it is read.
        sqlx::query("SELECT count(*) FROM sqlite_master")
            .fetch_one(&mut self.inner)
            .await
            .map_err(|error| failed(&error))?;
        Ok(About {
            server: format!("SQLite {version}, opened for reading only"),
            now: None,
            may_write: None,
        })
    }

    pub(super) async fn close(self) {
        let _ = self.inner.close().await;
    }
}

/// Each value has a type of its own here, whatever its column is declared as.
fn value(row: &SqliteRow, column: &SqliteColumn) -> Result<Value, Trouble> {
    let at = column.ordinal();
    let unread = |_: sqlx::Error| unreadable(column.name(), column.type_info().name());
    let raw = row.try_get_raw(at).map_err(unread)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "INTEGER" => {
            let whole: i64 = row.try_get_unchecked(at).map_err(unread)?;
            match whole {
                0 | 1 if column.type_info().name() == "BOOLEAN" => (whole == 1).into(),
                whole => whole.into(),
            }
        }
        "REAL" => number::float(row.try_get_unchecked(at).map_err(unread)?),
        "TEXT" => row.try_get_unchecked::<String, _>(at).map_err(unread)?.into(),
        "BLOB" => hex(&row.try_get_unchecked::<Vec<u8>, _>(at).map_err(unread)?).into(),
        other => return Err(unreadable(column.name(), other)),
    })
}
