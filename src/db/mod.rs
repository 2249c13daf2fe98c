//! The database: the one seam below which SQLite and PostgreSQL differ.
//!
//! [`Db`] opens and reads, [`Tx`] writes, [`Row`] and [`Value`] carry values of the types that both have natively
//! (instants are integer microseconds UTC in SQLite, `timestamptz` in PostgreSQL). Statements are `&'static str` with `$1`
//! placeholders: one text for both wherever the dialect allows, else one each ([`Sql::each`]).
//!
//! SQLite has one writer at a time. All writes of a process go through one connection, so they queue here, in order, and
//! not in SQLite's busy handler (between processes: `turn`); reads have their own connections and never wait for a writer (WAL).

pub mod clock;
pub mod condition;
mod error;
mod migrate;
mod row;
mod sqlite;
mod turn;
mod tx;
mod value;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use self::sqlite::SqliteDb;
pub use self::{
    error::{DbError, DbErrorKind},
    migrate::{applied_version, latest_version},
    row::Row,
    tx::Tx,
    value::Value,
};

/// How much of the last moments a power loss may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// `synchronous=NORMAL`: survives the death of the process at any moment; a power loss may take the last commits, never
    /// the consistency of the file.
    #[default]
    Normal,
    /// `synchronous=FULL`: every commit also survives a power loss; each waits for the disk.
    Full,
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An embedded database file; made when absent.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What a commit waits for.
        durability: Durability,
    },
}

impl Location {
    /// An embedded file with the default durability.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite {
            path: path.into(),
            durability: Durability::Normal,
        }
    }
}

/// One statement, in one text for both databases or one each.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    sqlite: &'static str,
    #[expect(dead_code, reason = "the PostgreSQL engine reads it")]
    postgres: &'static str,
}

impl Sql {
    /// A statement whose dialects differ.
    pub const fn each(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self {
            sqlite: text,
            postgres: text,
        }
    }
}

/// The parameters of a statement: `params![a, b]` is `[Value::from(a), Value::from(b)]`.
#[macro_export]
macro_rules! params {
    () => { [] as [$crate::db::Value; 0] };
    ($($value:expr),+ $(,)?) => { [$($crate::db::Value::from($value)),+] };
}

/// An open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    engine: Arc<Engine>,
    jobs_changed: Arc<Notify>,
    statements: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Engine {
    Sqlite(SqliteDb),
}

impl Db {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// When the file or its directory cannot be written, is not a database, or was written by a newer version.
    pub async fn open(location: &Location) -> Result<Self, DbError> {
        let Location::Sqlite { path, durability } = location;
        let sqlite = SqliteDb::open(path, *durability).await?;
        migrate::run_sqlite(sqlite.writer().await.connection()?, path).await?;
        let db = Self {
            engine: Arc::new(Engine::Sqlite(sqlite)),
            jobs_changed: Arc::new(Notify::new()),
            statements: Arc::default(),
        };
        clock::prepare(&db).await?;
        Ok(db)
    }

    /// Opens a database as it is, to look at it: makes none, and neither migrates nor converts it.
    ///
    /// # Errors
    /// When there is none, or the file is not a database.
    pub async fn open_as_is(location: &Location) -> Result<Self, DbError> {
        let Location::Sqlite { path, durability } = location;
        Ok(Self {
            engine: Arc::new(Engine::Sqlite(SqliteDb::open_as_is(path, *durability).await?)),
            jobs_changed: Arc::new(Notify::new()),
            statements: Arc::default(),
        })
    }

    /// Opens one more set of connections to the same database, for a thread with a runtime of its own. Does not migrate.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn reopen(&self) -> Result<Self, DbError> {
        let Engine::Sqlite(sqlite) = &*self.engine;
        Ok(Self {
            engine: Arc::new(Engine::Sqlite(sqlite.reopen().await?)),
            jobs_changed: Arc::clone(&self.jobs_changed),
            statements: Arc::clone(&self.statements),
        })
    }

    /// Begins a transaction that may write. On SQLite it holds the write lock from here on: keep it short, and never hold
    /// one across the network.
    ///
    /// # Errors
    /// When the database cannot be reached or another process holds the write lock for too long.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        let Engine::Sqlite(sqlite) = &*self.engine;
        Ok(Tx::new(
            sqlite.begin().await?,
            Arc::clone(&self.jobs_changed),
            Arc::clone(&self.statements),
        ))
    }

    /// Reads all rows of a statement, outside any transaction.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn fetch_all(&self, sql: impl Into<Sql>, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let Engine::Sqlite(sqlite) = &*self.engine;
        self.statements.fetch_add(1, Ordering::Relaxed);
        sqlite.fetch_all(sql.into().sqlite, params).await
    }

    /// Reads the first row of a statement, outside any transaction.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn fetch_optional(&self, sql: impl Into<Sql>, params: &[Value]) -> Result<Option<Row>, DbError> {
        Ok(self.fetch_all(sql, params).await?.into_iter().next())
    }

    /// The database's clock.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn now(&self) -> Result<DateTime<Utc>, DbError> {
        let row = self.fetch_optional(clock::NOW, &[]).await?;
        clock::read(row)
    }

    /// How the embedded engine would run a statement.
    #[cfg(test)]
    pub(crate) async fn plan_of(&self, sql: impl Into<Sql>, params: &[Value]) -> Vec<String> {
        // Statements live as long as the program; a test's program is short.
        let text: &'static str = Box::leak(format!("EXPLAIN QUERY PLAN {}", sql.into().sqlite).into_boxed_str());
        let rows = self.fetch_all(text, params).await.unwrap();
        rows.iter().map(|row| row.get("detail").unwrap()).collect()
    }

    /// Resolves when a job may have become runnable in this process since the last call.
    pub async fn jobs_changed(&self) {
        self.jobs_changed.notified().await;
    }

    /// Tells the claimer of this process to look.
    pub fn wake(&self) {
        self.jobs_changed.notify_one();
    }

    /// A number that changes whenever another connection commits to an embedded file. `None` where the database notifies by
    /// itself.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn change_counter(&self) -> Result<Option<i64>, DbError> {
        let Engine::Sqlite(sqlite) = &*self.engine;
        sqlite.data_version().await.map(Some)
    }

    /// How many statements this process has sent so far, on all its connections: what idling costs. Begin, commit and looks
    /// at the change counter are not among them.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Closes all connections; waits for transactions under way.
    pub async fn close(&self) {
        let Engine::Sqlite(sqlite) = &*self.engine;
        sqlite.close().await;
    }
}
