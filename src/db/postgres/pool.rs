//! The connections of a process: so many at most, kept while they are in use.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::postgres::PgConnectOptions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Connection, Use};
use crate::db::{DbError, DbErrorKind, Row, Value};

/// How long a caller waits until one is free.
const FREE: Duration = Duration::from_secs(10);
/// One that nobody used for so long is closed: firewalls forget such ones without a word.
const IDLE: Duration = Duration::from_mins(4);

#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    most: u32,
    patience: Duration,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

/// A connection in use. Dropped, it is kept for the next one if nothing is under way on it, else cut off.
pub(super) struct Used {
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    was_idle: bool,
    pool: Pool,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(options: PgConnectOptions, most: u32, patience: Duration) -> Self {
        Self(Arc::new(Inner {
            options,
            most,
            patience,
            places: Arc::new(Semaphore::new(most as usize)),
            idle: Mutex::default(),
        }))
    }

    /// A connection, kept from before where there is one.
    pub(super) async fn acquire(&self, used_for: Use) -> Result<Used, DbError> {
        let place = self.place().await?;
        match self.take_idle(used_for) {
            Some(connection) => Ok(self.used(connection, true, place)),
            None => self.open(used_for, place).await,
        }
    }

    /// A new connection. Those that are idle go: one of them was dead, and what killed it killed them all.
    pub(super) async fn acquire_anew(&self, used_for: Use) -> Result<Used, DbError> {
        self.close_idle();
        let place = self.place().await?;
        self.open(used_for, place).await
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, DbError> {
        let places = Arc::clone(&self.0.places);
        match tokio::time::timeout(FREE, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(DbError::new(DbErrorKind::Unavailable, "the database was closed")),
            Err(_) => Err(DbError::new(
                DbErrorKind::Busy,
                format!(
                    "statement `connect`: all {} connections of this process are in use: it is tried again; \
                     `database.max_connections` allows more",
                    self.0.most
                ),
            )),
        }
    }

    async fn open(&self, used_for: Use, place: OwnedSemaphorePermit) -> Result<Used, DbError> {
        self.make_room();
        let connection = Connection::open(&self.0.options, used_for, self.0.patience).await?;
        Ok(self.used(connection, false, place))
    }

    fn used(&self, connection: Connection, was_idle: bool, place: OwnedSemaphorePermit) -> Used {
        Used {
            connection: Some(connection),
            was_idle,
            pool: self.clone(),
            _place: place,
        }
    }

    /// The one that was used last; those that nobody used for long are closed on the way.
    fn take_idle(&self, used_for: Use) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        let at = idle
            .iter()
            .rposition(|(connection, _)| connection.used_for == used_for)?;
        Some(idle.remove(at).0)
    }

    /// Closes idle ones of the other use, so that there are never more connections than places.
    fn make_room(&self) {
        let free = self.0.places.available_permits();
        let mut idle = self.idle();
        let too_many = idle.len().saturating_sub(free);
        idle.drain(..too_many);
    }

    pub(super) fn close_idle(&self) {
        let closed = std::mem::take(&mut *self.idle());
        drop(closed);
    }

    /// Nobody gets one any more, and those in use are not kept.
    pub(super) fn close(&self) {
        self.0.places.close();
        self.close_idle();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Connection, Instant)>> {
        // A panic while it was held leaves a list that is still whole: every change is one push or pop.
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    /// Whether it was open before: then it may have died in the meantime.
    pub(super) fn was_idle(&self) -> bool {
        self.was_idle
    }

    pub(super) fn is_clean(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_clean)
    }

    fn connection(&mut self) -> Result<&mut Connection, DbError> {
        self.connection
            .as_mut()
            .ok_or_else(|| DbError::new(DbErrorKind::Unavailable, "the connection was given back"))
    }

    pub(super) async fn command(&mut self, sql: &'static str) -> Result<(), DbError> {
        self.connection()?.command(sql).await
    }

    pub(super) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError> {
        self.connection()?.execute(sql, params).await
    }

    pub(super) async fn fetch_all(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        self.connection()?.fetch_all(sql, params).await
    }

    /// Closes it instead of keeping it.
    pub(super) fn cut_off(mut self) {
        self.connection = None;
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(Connection::is_clean)
            && !self.pool.0.places.is_closed()
        {
            self.pool.idle().push((connection, Instant::now()));
        }
    }
}
