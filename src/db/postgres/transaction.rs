//! A transaction on a connection of the pool.

use super::{
    connection::Use,
    pool::{Pool, Used},
};
use crate::db::{DbError, DbErrorKind, Row, Value};

/// Dropped without a commit, it rolls back.
pub(in crate::db) struct Transaction {
    /// `None` only while it is dropped.
    connection: Option<Used>,
    /// The statement that the server refused: it refuses all that follow, and a commit would be a rollback without a word.
    failed: Option<DbError>,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}

impl Transaction {
    pub(super) async fn begin(pool: &Pool) -> Result<Self, DbError> {
        let mut connection = pool.acquire(Use::Work).await?;
        loop {
            match connection.command("BEGIN").await {
                Ok(()) => {
                    return Ok(Self {
                        connection: Some(connection),
                        failed: None,
                    });
                }
                Err(error) if error.kind == DbErrorKind::Unavailable && connection.was_idle() => {
                    drop(connection);
                    connection = pool.acquire_anew(Use::Work).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn connection(&mut self) -> Result<&mut Used, DbError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.connection
            .as_mut()
            .ok_or_else(|| DbError::new(DbErrorKind::Unavailable, "the transaction has ended"))
    }

    fn noted<T>(&mut self, done: Result<T, DbError>) -> Result<T, DbError> {
        if let Err(error) = &done {
            self.failed = Some(error.clone());
        }
        done
    }

    pub(in crate::db) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError> {
        let done = self.connection()?.execute(sql, params).await;
        self.noted(done)
    }

    pub(in crate::db) async fn fetch_all(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let done = self.connection()?.fetch_all(sql, params).await;
        self.noted(done)
    }

    pub(in crate::db) async fn commit(mut self) -> Result<(), DbError> {
        let done = self.connection()?.command("COMMIT").await;
        self.noted(done)?;
        self.connection = None;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        match tokio::runtime::Handle::try_current() {
            // The place in the pool is taken until it is rolled back, or cut off because it cannot be.
            Ok(runtime) if connection.is_clean() => {
                runtime.spawn(async move {
                    if connection.command("ROLLBACK").await.is_err() {
                        connection.cut_off();
                    }
                });
            }
            // In the middle of a statement, or no runtime left: the server rolls back when the connection ends.
            _ => connection.cut_off(),
        }
    }
}
