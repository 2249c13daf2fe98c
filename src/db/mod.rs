//! The database: the one seam below which SQLite and PostgreSQL differ.
//!
//! [`Db`] opens and reads, [`Tx`] writes, [`Row`] and [`Value`] carry values of the types that both have natively
//! (instants are integer microseconds UTC in SQLite, `timestamptz` in PostgreSQL). Statements are `&'static str` with `$1`
//! placeholders: one text for both wherever the dialect allows, else one each ([`Sql::each`]).
//!
//! [`Db::reopen`] gives a thread with a runtime of its own connections of its own: jobs that block the main runtime, or hold all
//! its connections, then do not stop it.
//!
//! SQLite has one writer at a time. All writes of a process go through one connection, so they queue here, in order, and
//! not in SQLite's busy handler (between processes: `turn`); reads have their own connections and never wait for a writer (WAL).

pub mod clock;
pub mod condition;
mod error;
mod migrate;
mod postgres;
mod row;
mod sqlite;
mod turn;
mod tx;
mod value;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

pub use self::{
    error::{DbError, DbErrorKind},
    migrate::{applied_version, latest_version, may_work_beside},
    row::Row,
    tx::Tx,
    value::{Kind, OfKind, Value},
};
use self::{
    postgres::{PostgresDb, Use},
    sqlite::SqliteDb,
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
    /// A PostgreSQL server.
    Postgres(PostgresLocation),
}

/// A database on a PostgreSQL server. It has to exist; the tables are made in the first schema of the role's `search_path`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresLocation {
    /// `postgres://user@host:5432/database?sslmode=require`. May hold a password, and is never printed.
    pub url: String,
    /// The password, where the address has none.
    pub password: Option<String>,
    /// Connections that the jobs of this process share. The claimer, the heartbeat and the listener have their own: up to six.
    pub max_connections: u32,
}

impl PostgresLocation {
    /// Connections of a process, unless the configuration says otherwise.
    pub const MAX_CONNECTIONS: u32 = 10;

    /// A database with the default settings.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            max_connections: Self::MAX_CONNECTIONS,
        }
    }
}

impl fmt::Debug for PostgresLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&postgres::shown(self))
    }
}

/// For people: the file, or the server without the password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path, .. } => write!(f, "{}", path.display()),
            Self::Postgres(location) => f.write_str(&postgres::shown(location)),
        }
    }
}

impl Location {
    /// A PostgreSQL server with the default settings.
    pub fn postgres(url: impl Into<String>) -> Self {
        Self::Postgres(PostgresLocation::new(url))
    }

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
    postgres: &'static str,
}

impl Sql {
    /// A statement whose dialects differ.
    pub const fn each(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }

    /// A statement in one text for both.
    pub const fn both(text: &'static str) -> Self {
        Self::each(text, text)
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
    Postgres(Box<PostgresDb>),
}

/// Connections of a thread that has its own: one to write, and one that reads beside it.
const BESIDE: u32 = 2;

impl Db {
    fn of(engine: Engine) -> Self {
        Self {
            engine: Arc::new(engine),
            jobs_changed: Arc::new(Notify::new()),
            statements: Arc::default(),
        }
    }

    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// When the file or its directory cannot be written, is not a database, or the server cannot be reached; when the schema
    /// was written by a newer version that this one cannot work beside.
    pub async fn open(location: &Location) -> Result<Self, DbError> {
        let db = match location {
            Location::Sqlite { path, durability } => {
                let sqlite = SqliteDb::open(path, *durability).await?;
                migrate::run_sqlite(sqlite.writer().await.connection()?, location).await?;
                Self::of(Engine::Sqlite(sqlite))
            }
            Location::Postgres(server) => {
                let postgres = PostgresDb::new(server)?;
                migrate::run_postgres(&postgres, location).await?;
                Self::of(Engine::Postgres(Box::new(postgres)))
            }
        };
        clock::prepare(&db).await?;
        Ok(db)
    }

    /// Opens a database as it is, to look at it: makes none, and neither migrates nor converts it.
    ///
    /// # Errors
    /// When there is none, or the file is not a database.
    pub async fn open_as_is(location: &Location) -> Result<Self, DbError> {
        Ok(Self::of(match location {
            Location::Sqlite { path, durability } => Engine::Sqlite(SqliteDb::open_as_is(path, *durability).await?),
            Location::Postgres(server) => Engine::Postgres(Box::new(PostgresDb::new(server)?)),
        }))
    }

    /// Opens one more set of connections to the same database, for a thread with a runtime of its own. Does not migrate.
    /// On a server no statement of theirs takes longer than `patience`.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn reopen(&self, patience: Duration) -> Result<Self, DbError> {
        self.reopen_wide(BESIDE, patience).await
    }

    /// The same with so many connections to a server.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn reopen_wide(&self, connections: u32, patience: Duration) -> Result<Self, DbError> {
        self.reopen_as(connections, patience, Use::Work).await
    }

    /// The same for questions over whole tables, which people ask.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn reopen_for_people(&self, connections: u32, patience: Duration) -> Result<Self, DbError> {
        self.reopen_as(connections, patience, Use::Reading).await
    }

    async fn reopen_as(&self, connections: u32, patience: Duration, reads_as: Use) -> Result<Self, DbError> {
        Ok(Self {
            engine: Arc::new(match &*self.engine {
                Engine::Sqlite(sqlite) => Engine::Sqlite(sqlite.reopen().await?),
                Engine::Postgres(postgres) => {
                    Engine::Postgres(Box::new(postgres.reopen(connections, patience, reads_as)))
                }
            }),
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
        let inner = match &*self.engine {
            Engine::Sqlite(sqlite) => tx::Inner::Sqlite(sqlite.begin().await?),
            Engine::Postgres(postgres) => tx::Inner::Postgres(postgres.begin().await?, postgres.announcer()),
        };
        Ok(Tx::new(
            inner,
            Arc::clone(&self.jobs_changed),
            Arc::clone(&self.statements),
        ))
    }

    /// Reads all rows of a statement, outside any transaction.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn fetch_all(&self, sql: impl Into<Sql>, params: &[Value]) -> Result<Vec<Row>, DbError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let sql = sql.into();
        match &*self.engine {
            Engine::Sqlite(sqlite) => sqlite.fetch_all(sql.sqlite, params).await,
            Engine::Postgres(postgres) => postgres.fetch_all(sql.postgres, params).await,
        }
    }

    /// Reads the first row of a statement, outside any transaction.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn fetch_optional(&self, sql: impl Into<Sql>, params: &[Value]) -> Result<Option<Row>, DbError> {
        Ok(self.fetch_all(sql, params).await?.into_iter().next())
    }

    /// Runs a statement that writes and is a transaction by itself, and reads its rows: one round trip on a server.
    ///
    /// # Errors
    /// When the database refuses it: then nothing of it happened. When it cannot be reached any more, it may have happened.
    pub async fn write_alone(&self, sql: impl Into<Sql>, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let sql = sql.into();
        if let Engine::Postgres(postgres) = &*self.engine {
            self.statements.fetch_add(1, Ordering::Relaxed);
            return postgres.write_alone(sql.postgres, params).await;
        }
        let mut tx = self.begin().await?;
        let rows = tx.fetch_all(sql, params).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Runs what is a whole transaction in one go: on a server one statement, in a file what stands from `BEGIN IMMEDIATE` to
    /// `COMMIT`. Reads the rows of all of it.
    ///
    /// # Errors
    /// As for [`Db::write_alone`].
    pub(crate) async fn write_whole(&self, sql: Sql, params: &[Value]) -> Result<Vec<Row>, DbError> {
        match &*self.engine {
            Engine::Sqlite(sqlite) => {
                self.statements.fetch_add(1, Ordering::Relaxed);
                sqlite.write_script(sql.sqlite, params).await
            }
            Engine::Postgres(_) => self.write_alone(sql, params).await,
        }
    }

    /// The database's clock.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn now(&self) -> Result<DateTime<Utc>, DbError> {
        let row = self.fetch_optional(clock::NOW, &[]).await?;
        clock::read(row)
    }

    /// Whether it is a server, that other machines reach as well and that may be away.
    pub fn is_server(&self) -> bool {
        matches!(&*self.engine, Engine::Postgres(_))
    }

    /// How the engine would run a statement.
    #[cfg(test)]
    pub(crate) async fn plan_of(&self, sql: impl Into<Sql>, params: &[Value]) -> Vec<String> {
        let sql = sql.into();
        // Statements live as long as the program; a test's program is short.
        let leaked = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        if self.is_server() {
            let text = leaked(format!("EXPLAIN (COSTS OFF) {}", sql.postgres));
            // Dropped, it takes back what explaining a write may have done.
            let mut tx = self.begin().await.unwrap();
            let rows = tx.fetch_all(text, params).await.unwrap();
            return rows.iter().map(|row| row.get("QUERY PLAN").unwrap()).collect();
        }
        let text = leaked(format!("EXPLAIN QUERY PLAN {}", sql.sqlite));
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

    /// Tells the claimers of all processes to look.
    pub fn wake_fleet(&self) {
        self.wake();
        if let Engine::Postgres(postgres) = &*self.engine {
            postgres.announcer().announce();
        }
    }

    /// Passes on what other processes announce to [`Db::jobs_changed`]. Never ends; on an embedded file there is nothing to
    /// hear: [`Db::change_counter`] tells.
    pub async fn listen(&self) {
        match &*self.engine {
            Engine::Sqlite(_) => std::future::pending().await,
            Engine::Postgres(postgres) => postgres.listen(Arc::clone(&self.jobs_changed)).await,
        }
    }

    /// How often to look for what nobody announced. On a file that is a look at a number; on a server a question, and only
    /// for what an announcement was missed of or that another process let wait for a time.
    pub fn usual_poll(&self) -> Duration {
        match &*self.engine {
            Engine::Sqlite(_) => Duration::from_millis(100),
            Engine::Postgres(_) => Duration::from_millis(1_500),
        }
    }

    /// A number that changes whenever another connection commits to an embedded file. `None` where the database notifies by
    /// itself.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn change_counter(&self) -> Result<Option<i64>, DbError> {
        match &*self.engine {
            Engine::Sqlite(sqlite) => sqlite.data_version().await.map(Some),
            Engine::Postgres(_) => Ok(None),
        }
    }

    /// How many statements this process has sent so far, on all its connections: what idling costs. Begin, commit and looks
    /// at the change counter are not among them.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Closes all connections; waits for transactions under way.
    pub async fn close(&self) {
        match &*self.engine {
            Engine::Sqlite(sqlite) => sqlite.close().await,
            Engine::Postgres(postgres) => postgres.close().await,
        }
    }
}
