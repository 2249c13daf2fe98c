//! The engine of a fleet.
//!
//! The connections are ours and not the driver's pool: that one asks each connection whether it lives when it is given
//! back, without a bound, so that a few half-open ones take all of its places. Here every statement has a bound, and a
//! connection whose statement did not come to its end is cut off at once.

mod announce;
mod connection;
mod listen;
mod pool;
mod transaction;
mod types;

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::sync::Notify;

pub(super) use self::connection::Use;
use self::pool::Pool;
pub(super) use self::{
    announce::Announcer,
    transaction::Transaction,
    types::{Float, Text, Time, Whole},
};
use super::{DbError, DbErrorKind, PostgresLocation, Row, Value};

/// How long a statement may take before its connection is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Statements that a connection keeps prepared: more than there are.
const PREPARED: usize = 500;

pub(super) struct PostgresDb {
    options: PgConnectOptions,
    pool: Pool,
    /// What questions outside of transactions are.
    reads_as: Use,
    announcer: Arc<Announcer>,
}

/// Without the password that the options hold.
impl std::fmt::Debug for PostgresDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresDb").finish_non_exhaustive()
    }
}

impl PostgresDb {
    pub(super) fn new(location: &PostgresLocation) -> Result<Self, DbError> {
        let options = options(location)?;
        let pool = Pool::new(options.clone(), location.max_connections, PATIENCE);
        Ok(Self {
            announcer: Arc::new(Announcer::new(pool.clone())),
            options,
            pool,
            reads_as: Use::Reading,
        })
    }

    /// Connections of their own, for a thread with a runtime of its own.
    pub(super) fn reopen(&self, connections: u32, patience: Duration, reads_as: Use) -> Self {
        let pool = Pool::new(self.options.clone(), connections, patience);
        Self {
            announcer: Arc::new(Announcer::new(pool.clone())),
            options: self.options.clone(),
            pool,
            reads_as,
        }
    }

    pub(super) async fn begin(&self) -> Result<Transaction, DbError> {
        Transaction::begin(&self.pool).await
    }

    /// One statement that only reads: it is asked again when a connection turns out to be dead that was alive before.
    pub(super) async fn fetch_all(&self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let mut connection = self.pool.acquire(self.reads_as).await?;
        loop {
            match connection.fetch_all(sql, params).await {
                Err(error) if error.kind == DbErrorKind::Unavailable && connection.was_idle() => {
                    drop(connection);
                    connection = self.pool.acquire_anew(self.reads_as).await?;
                }
                done => return done,
            }
        }
    }

    /// One statement that is a transaction of its own.
    pub(super) async fn write_alone(&self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        self.pool.acquire(Use::Work).await?.fetch_all(sql, params).await
    }

    pub(super) fn announcer(&self) -> Arc<Announcer> {
        Arc::clone(&self.announcer)
    }

    /// Wakes whenever another process announces work, and whenever an announcement may have been missed. Never ends.
    pub(super) async fn listen(&self, wake: Arc<Notify>) {
        listen::listen(self.options.clone(), wake).await;
    }

    /// A connection beside the pool, for migrations.
    pub(super) async fn connect(&self) -> Result<sqlx::PgConnection, DbError> {
        connection::connect(&self.options, "").await
    }

    pub(super) async fn close(&self) {
        self.announcer.flush().await;
        self.pool.close();
    }
}

/// Reads the address. What the driver says of one that it cannot read may repeat it, password and all: we do not.
fn options(location: &PostgresLocation) -> Result<PgConnectOptions, DbError> {
    let options: PgConnectOptions = location.url.parse().map_err(|_| {
        DbError::other(
            "`database.url` is no address of a database: write postgres://user@host:5432/database?sslmode=require",
        )
    })?;
    let options = options
        .statement_cache_capacity(PREPARED)
        // Numbers travel in binary, and a pooler such as PgBouncer refuses who begins with a setting that it does not know.
        .extra_float_digits(None)
        .disable_statement_logging();
    let options = match &location.password {
        Some(password) => options.password(password),
        None => options,
    };
    Ok(if options.get_application_name().is_none() {
        options.application_name("aftercall")
    } else {
        options
    })
}

/// The address for people: without the password, and without what else it may carry.
pub(super) fn shown(location: &PostgresLocation) -> String {
    let Ok(options) = options(location) else {
        return "a database whose address cannot be read".to_owned();
    };
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    let place = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let tls = match options.get_ssl_mode() {
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => ", TLS",
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => "",
    };
    format!("postgres://{}@{place}/{database}{tls}", options.get_username())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::{
        params,
        test_support::database::{Engine, TestDb},
    };

    #[test]
    fn an_address_is_shown_without_its_password() {
        let mut location = PostgresLocation::new("postgres://worker:very-secret@db.example:5433/calls?sslmode=require");
        assert_eq!(shown(&location), "postgres://worker@db.example:5433/calls, TLS");
        location.url = "postgres://worker:very-secret@[::".to_owned();
        assert!(!shown(&location).contains("secret"));
        let error = PostgresDb::new(&location).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(!format!("{location:?}").contains("secret"));
    }

    #[tokio::test]
    async fn a_statement_from_before_a_migration_is_prepared_anew() {
        let database = TestDb::new(Engine::Postgres).await;
        let all = "-- all\nSELECT * FROM queues";
        database.db.fetch_all(all, &[]).await.unwrap();
        let newer = database.seen_from_outside().await;
        let migrated = "ALTER TABLE queues ADD COLUMN colour text";
        newer.write_alone(migrated, &[]).await.unwrap();
        database.db.fetch_all(all, &[]).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_counted_under_a_lock_is_as_others_left_it_whatever_the_default_is() {
        let database = TestDb::new(Engine::Postgres).await;
        let strict = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable',
                      current_database()); END $$";
        database.db.write_alone(strict, &[]).await.unwrap();
        let after = database.seen_from_outside().await;
        let mut tx = after.begin().await.unwrap();
        let sql = "SELECT current_setting('transaction_isolation') AS it, current_setting('idle_in_transaction_session_timeout') AS idle";
        let row = tx.fetch_optional(sql, &[]).await.unwrap().unwrap();
        assert_eq!(row.get::<String>("it").unwrap(), "read committed");
        assert_eq!(row.get::<String>("idle").unwrap(), "10s");
    }

    #[tokio::test]
    async fn an_instant_that_never_comes_can_be_read_and_one_that_nobody_can_write_is_named() {
        let database = TestDb::new(Engine::Postgres).await;
        let at = |row: &Row| row.get::<DateTime<chrono::Utc>>("at");
        let sql = "-- instant\nSELECT CAST($1 AS text)::timestamptz AS at";
        for (text, year) in [
            ("infinity", "9999-"),
            ("-infinity", "0001-"),
            ("2026-08-20 UTC", "2026-08-20"),
        ] {
            let rows = database.db.fetch_all(sql, &params![text]).await.unwrap();
            let read = at(&rows[0]).unwrap().to_rfc3339();
            assert!(read.starts_with(year), "{text}: {read}");
        }
        let rows = database.db.fetch_all(sql, &params!["290000-01-01 UTC"]).await.unwrap();
        let error = at(&rows[0]).unwrap_err().to_string();
        assert!(error.contains("`instant`, column `at`"), "{error}");
    }
}
