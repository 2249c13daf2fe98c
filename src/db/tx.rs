//! A transaction that may write.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::{DbError, Row, Sql, Value, clock, sqlite};

/// An open transaction. Dropping it rolls everything back.
#[derive(Debug)]
pub struct Tx {
    inner: sqlite::Writing,
    now: Option<DateTime<Utc>>,
    jobs_changed: Arc<Notify>,
    statements: Arc<AtomicU64>,
    wake_on_commit: bool,
}

impl Tx {
    pub(super) fn new(inner: sqlite::Writing, jobs_changed: Arc<Notify>, statements: Arc<AtomicU64>) -> Self {
        Self {
            inner,
            now: None,
            jobs_changed,
            statements,
            wake_on_commit: false,
        }
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
        sqlite::execute(self.inner.connection()?, sql.into().sqlite, params).await
    }

    /// Runs a statement and reads all its rows.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn fetch_all(&mut self, sql: impl Into<Sql>, params: &[Value]) -> Result<Vec<Row>, DbError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        sqlite::fetch_all(self.inner.connection()?, sql.into().sqlite, params).await
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

    /// Makes all of it visible at once.
    ///
    /// # Errors
    /// When the database refuses it: then nothing of it happened.
    pub async fn commit(self) -> Result<(), DbError> {
        self.inner.commit().await?;
        if self.wake_on_commit {
            self.jobs_changed.notify_one();
        }
        Ok(())
    }
}
