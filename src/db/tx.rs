//! A transaction that may write.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::{DbError, Row, Sql, Value, clock, postgres, sqlite};

/// An open transaction. Dropping it rolls everything back.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
    now: Option<DateTime<Utc>>,
    jobs_changed: Arc<Notify>,
    statements: Arc<AtomicU64>,
    wake_on_commit: bool,
    announce_on_commit: bool,
}

#[derive(Debug)]
pub(super) enum Inner {
    Sqlite(sqlite::Writing),
    Postgres(postgres::Transaction, Arc<postgres::Announcer>),
}

impl Tx {
    pub(super) fn new(inner: Inner, jobs_changed: Arc<Notify>, statements: Arc<AtomicU64>) -> Self {
        Self {
            inner,
            now: None,
            jobs_changed,
            statements,
            wake_on_commit: false,
            announce_on_commit: false,
        }
    }

    /// Whether it is on a server: where each statement is a round trip.
    pub(crate) fn is_on_server(&self) -> bool {
        matches!(self.inner, Inner::Postgres(..))
    }

    /// The database's clock, read once per transaction.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn now(&mut self) -> Result<DateTime<Utc>, DbError> {
        if let Some(now) = self.now {
            return Ok(now);
        }
        let row = self.fetch_optional(clock::NOW, &[]).await?;
        let now = clock::read(row)?;
        self.now = Some(now);
        Ok(now)
    }

    /// Takes the clock from a row that read it on the way, as `now`.
    ///
    /// # Errors
    /// When the row has no such column.
    pub(crate) fn take_now(&mut self, row: &Row) -> Result<DateTime<Utc>, DbError> {
        let now = row.get("now")?;
        self.now = Some(now);
        Ok(now)
    }

    /// Runs a statement; answers how many rows it changed.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn execute(&mut self, sql: impl Into<Sql>, params: &[Value]) -> Result<u64, DbError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let sql = sql.into();
        match &mut self.inner {
            Inner::Sqlite(writing) => sqlite::execute(writing.connection()?, sql.sqlite, params).await,
            Inner::Postgres(transaction, _) => transaction.execute(sql.postgres, params).await,
        }
    }

    /// Runs a statement and reads all its rows.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn fetch_all(&mut self, sql: impl Into<Sql>, params: &[Value]) -> Result<Vec<Row>, DbError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let sql = sql.into();
        match &mut self.inner {
            Inner::Sqlite(writing) => sqlite::fetch_all(writing.connection()?, sql.sqlite, params).await,
            Inner::Postgres(transaction, _) => transaction.fetch_all(sql.postgres, params).await,
        }
    }

    /// Runs a statement and reads its first row.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn fetch_optional(&mut self, sql: impl Into<Sql>, params: &[Value]) -> Result<Option<Row>, DbError> {
        Ok(self.fetch_all(sql, params).await?.into_iter().next())
    }

    /// On commit, tells the claimer of this process that there may be work.
    pub fn wake_claimer(&mut self) {
        self.wake_on_commit = true;
    }

    /// On commit, tells the claimers of all processes that there may be work.
    pub fn wake_fleet(&mut self) {
        self.wake_on_commit = true;
        self.announce_on_commit = true;
    }

    /// Makes all of it visible at once.
    ///
    /// # Errors
    /// When the database refuses it: then nothing of it happened. When it cannot be reached any more, it may have happened.
    pub async fn commit(self) -> Result<(), DbError> {
        match self.inner {
            // Other processes see the file change.
            Inner::Sqlite(writing) => writing.commit().await?,
            Inner::Postgres(transaction, announcer) => {
                transaction.commit().await?;
                if self.announce_on_commit {
                    announcer.announce();
                }
            }
        }
        if self.wake_on_commit {
            self.jobs_changed.notify_one();
        }
        Ok(())
    }
}
