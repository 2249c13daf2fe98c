//! The embedded engine.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Executor, Sqlite, SqlitePool, Transaction,
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{DbError, DbErrorKind, Durability, Row, Value};

/// How long a write waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers of one process.
const READERS: u32 = 4;

#[derive(Debug)]
pub(super) struct SqliteDb {
    path: PathBuf,
    durability: Durability,
    writer: SqlitePool,
    readers: SqlitePool,
    /// A connection that never commits: only such a one sees `PRAGMA data_version` move.
    watcher: SqlitePool,
}

impl SqliteDb {
    pub(super) async fn open(path: &Path, durability: Durability) -> Result<Self, DbError> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(|error| {
                DbError::new(
                    DbErrorKind::ReadOnly,
                    format!(
                        "cannot make the data directory {}: {error}; choose another with `database.path` or --db",
                        directory.display()
                    ),
                )
            })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match durability {
                Durability::Normal => SqliteSynchronous::Normal,
                Durability::Full => SqliteSynchronous::Full,
            })
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .statement_cache_capacity(256)
            .pragma("temp_store", "memory");
        let opened = |error: sqlx::Error| {
            let error = DbError::from_sqlx("-- open", &error);
            DbError::new(
                error.kind,
                format!("cannot open the database {}: {error}", path.display()),
            )
        };
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .acquire_timeout(Duration::from_mins(1))
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await
            .map_err(opened)?;
        // Reading connections are made when first needed: on a full disk or a read-only file the writer's error, with its
        // advice, comes first.
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.clone().pragma("query_only", "on"));
        let watcher = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.pragma("query_only", "on"));
        Ok(Self {
            path: path.to_owned(),
            durability,
            writer,
            readers,
            watcher,
        })
    }

    pub(super) async fn reopen(&self) -> Result<Self, DbError> {
        Self::open(&self.path, self.durability).await
    }

    pub(super) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, DbError> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|error| DbError::from_sqlx("-- begin", &error))
    }

    pub(super) async fn fetch_all(&self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        fetch_all(&self.readers, sql, params).await
    }

    pub(super) async fn data_version(&self) -> Result<i64, DbError> {
        let rows = fetch_all(&self.watcher, "PRAGMA data_version", &[]).await?;
        rows.first()
            .ok_or_else(|| DbError::other("PRAGMA data_version gave no row"))?
            .get("data_version")
    }

    pub(super) async fn close(&self) {
        self.watcher.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

pub(super) async fn fetch_all<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    sql: &'static str,
    params: &[Value],
) -> Result<Vec<Row>, DbError> {
    let rows = bind(sql, params)
        .fetch_all(executor)
        .await
        .map_err(|error| DbError::from_sqlx(sql, &error))?;
    Ok(rows.into_iter().map(|inner| Row { inner, statement: sql }).collect())
}

pub(super) async fn execute<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    sql: &'static str,
    params: &[Value],
) -> Result<u64, DbError> {
    let done = bind(sql, params)
        .execute(executor)
        .await
        .map_err(|error| DbError::from_sqlx(sql, &error))?;
    Ok(done.rows_affected())
}

fn bind<'q>(sql: &'static str, params: &[Value]) -> Query<'q, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(sql);
    for value in params {
        query = match value {
            Value::Null => query.bind(None::<i64>),
            Value::Int(value) => query.bind(*value),
            Value::Float(value) => query.bind(*value),
            Value::Bool(value) => query.bind(i64::from(*value)),
            Value::Text(value) => query.bind(value.clone()),
            Value::Bytes(value) => query.bind(value.clone()),
            Value::Time(value) => query.bind(value.timestamp_micros()),
            Value::Uuid(value) => query.bind(value.to_string()),
            Value::Json(value) => query.bind(value.to_string()),
        };
    }
    query
}
