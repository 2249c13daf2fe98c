//! The embedded engine.

use std::{
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, Connection, Executor, Sqlite, SqliteConnection, SqlitePool,
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    DbError, DbErrorKind, Durability, Row, Value,
    turn::{self, Turn},
};

/// How long a write waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a write waits for the writes of its own process.
const WRITER_TIMEOUT: Duration = Duration::from_mins(1);
const BEGIN: &str = "BEGIN IMMEDIATE";
/// Between two tries to open a file that another process is making.
const OPEN_AGAIN: Duration = Duration::from_millis(20);
/// Readers of one process.
const READERS: u32 = 4;

#[derive(Debug)]
pub(super) struct SqliteDb {
    path: PathBuf,
    durability: Durability,
    /// The one connection that writes. A fair lock: writes happen in the order in which they were asked for.
    writer: Arc<Mutex<Writer>>,
    readers: SqlitePool,
    /// A connection that never commits: only such a one sees `PRAGMA data_version` move.
    watcher: SqlitePool,
    /// Whether it was opened beside another one of this process, for a thread of its own.
    beside: bool,
    turn: Turn,
    /// Which file was opened: device and inode.
    file: Option<(u64, u64)>,
}

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once closed.
    connection: Option<SqliteConnection>,
    /// A transaction was begun and neither committed nor rolled back yet.
    dirty: bool,
    /// Whether it is refused at once while another process writes, instead of trying again by itself in ever longer steps.
    hasty: bool,
}

impl Writer {
    pub(super) fn connection(&mut self) -> Result<&mut SqliteConnection, DbError> {
        self.connection.as_mut().ok_or_else(closed)
    }

    async fn rollback(&mut self) {
        // Fails when there is nothing to roll back, which is as good.
        if let Some(connection) = &mut self.connection {
            let _ = sqlx::query("ROLLBACK").execute(connection).await;
        }
        self.dirty = false;
    }
}

/// A new database is its owner's alone: it will hold what callers said. `SQLite` gives `-wal` and `-shm` the same mode. What
/// is there keeps the mode that somebody gave it, and what goes wrong is reported by the opening that follows.
fn make_private(path: &Path) {
    let _ = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
}

/// An open transaction on the writing connection. Dropped without a commit, it rolls back.
#[derive(Debug)]
pub(super) struct Writing {
    /// `None` only while it is dropped.
    writer: Option<OwnedMutexGuard<Writer>>,
}

impl Writing {
    pub(super) fn connection(&mut self) -> Result<&mut SqliteConnection, DbError> {
        self.writer.as_mut().ok_or_else(closed)?.connection()
    }

    pub(super) async fn commit(mut self) -> Result<(), DbError> {
        execute(self.connection()?, "COMMIT", &[]).await?;
        self.is_over();
        Ok(())
    }

    fn is_over(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.dirty = false;
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(mut writer) = self.writer.take()
            && writer.dirty
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // The lock goes along: whoever writes next comes after the rollback. Where no runtime is left to do it, the
            // next to begin does.
            runtime.spawn(async move { writer.rollback().await });
        }
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

fn closed() -> DbError {
    DbError::new(DbErrorKind::Unavailable, "the database was closed")
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
        make_private(path);
        let options = SqliteConnectOptions::new()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        Self::connect(path, durability, options).await
    }

    /// Opens what is there and changes nothing of it, not even its journal mode.
    pub(super) async fn open_as_is(path: &Path, durability: Durability) -> Result<Self, DbError> {
        Self::connect(path, durability, SqliteConnectOptions::new()).await
    }

    async fn connect(path: &Path, durability: Durability, options: SqliteConnectOptions) -> Result<Self, DbError> {
        let options = options
            .filename(path)
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
        // Processes that make the file at the same time all want to switch it to WAL, and SQLite's own patience does not
        // cover that.
        let give_up_at = Instant::now() + BUSY_TIMEOUT;
        let writer = loop {
            match options.connect().await.map_err(opened) {
                Ok(writer) => break writer,
                Err(error) if error.kind == DbErrorKind::Busy && Instant::now() < give_up_at => {
                    tokio::time::sleep(OPEN_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        };
        // Reading connections are made when first needed: on a full disk or a read-only file the writer's error, with its
        // advice, comes first. By then the file may be gone: they make none.
        let options = options.create_if_missing(false);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.clone().pragma("query_only", "on"));
        let watcher = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.pragma("query_only", "on"));
        Ok(Self {
            path: path.to_owned(),
            durability,
            writer: Arc::new(Mutex::new(Writer {
                connection: Some(writer),
                dirty: false,
                hasty: false,
            })),
            readers,
            watcher,
            beside: false,
            turn: Turn::beside(path),
            file: identity(path),
        })
    }

    pub(super) async fn reopen(&self) -> Result<Self, DbError> {
        self.is_still_there()?;
        let mut beside = Self::open(&self.path, self.durability).await?;
        beside.beside = true;
        Ok(beside)
    }

    /// The writing connection, for migrations.
    pub(super) async fn writer(&self) -> OwnedMutexGuard<Writer> {
        Arc::clone(&self.writer).lock_owned().await
    }

    /// What is written to a file that was removed or replaced is lost without a word when the process ends: nothing is
    /// written until the file is back.
    fn is_still_there(&self) -> Result<(), DbError> {
        if identity(&self.path) == self.file {
            return Ok(());
        }
        Err(DbError::new(
            DbErrorKind::Unavailable,
            format!(
                "the database file {} is gone or was replaced while in use: nothing is written until it is back; put it back, or \
                 stop aftercall and start it again",
                self.path.display()
            ),
        ))
    }

    pub(super) async fn begin(&self) -> Result<Writing, DbError> {
        Ok(self.begin_with(BEGIN, &[]).await?.0)
    }

    /// Runs statements from their `BEGIN IMMEDIATE` to their `COMMIT` in one go, and reads their rows. Each visit to the
    /// connection's thread takes as long as a small statement.
    pub(super) async fn write_script(&self, script: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let (mut written, rows) = self.begin_with(script, params).await?;
        written.is_over();
        Ok(rows)
    }

    /// Waits for the turn to write, and runs what begins with `BEGIN IMMEDIATE`.
    async fn begin_with(&self, script: &'static str, params: &[Value]) -> Result<(Writing, Vec<Row>), DbError> {
        self.is_still_there()?;
        let mut writer = tokio::time::timeout(WRITER_TIMEOUT, self.writer()).await.map_err(|_| {
            DbError::new(
                DbErrorKind::Busy,
                "statement `begin`: this process's own writes queue for a minute: it is tried again",
            )
        })?;
        if !self.beside {
            self.turn.step_back().await;
        }
        if writer.dirty {
            writer.rollback().await;
        }
        if !writer.hasty {
            execute(writer.connection()?, "-- hasty\nPRAGMA busy_timeout = 0", &[]).await?;
            writer.hasty = true;
        }
        // From here on: a begin whose answer nobody waits for any more may have begun.
        writer.dirty = true;
        let mut begun = Writing { writer: Some(writer) };
        let asked_at = Instant::now();
        let mut held = None;
        loop {
            let error = match fetch_all(begun.connection()?, script, params).await {
                Ok(rows) => return Ok((begun, rows)),
                Err(error) => error,
            };
            let waited = asked_at.elapsed();
            if error.kind != DbErrorKind::Busy || waited >= BUSY_TIMEOUT {
                return Err(error);
            }
            // Jobs are lost when a heartbeat comes late: it does not wait before it asks for its turn.
            if held.is_none() && (self.beside || waited >= turn::PATIENCE) {
                held = self.turn.take();
            }
            tokio::time::sleep(turn::AGAIN).await;
        }
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
        if let Some(writer) = self.writer().await.connection.take() {
            let _ = writer.close().await;
        }
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
    Ok(rows.into_iter().map(|row| Row::of_sqlite(row, sql)).collect())
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
            Value::Null(_) => query.bind(None::<i64>),
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
