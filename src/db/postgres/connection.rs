//! One connection, and the bound that each of its statements has.

use std::time::Duration;

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use super::types::bind;
use crate::db::{DbError, DbErrorKind, Row, Value};

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// Settings of a session. What the server does for us should we fall silent: it ends the transaction of a process that was
/// frozen in the middle of it, and with it the locks that everybody else waits for, and it notices that our machine is gone.
/// Where a setting is not known to the server, the rest still holds.
///
/// And what a lock means: each statement sees what was committed before it. Counted under a lock, it is as others left it; a
/// stricter isolation, which an administrator may have made the default, would count what was there before the lock.
macro_rules! settings {
    // Those of every session, and what else this one's are.
    ($($name:literal = $value:literal),*) => {
        settings!(@all
            "idle_in_transaction_session_timeout" = "10s",
            "tcp_keepalives_idle" = "10",
            "tcp_keepalives_interval" = "3",
            "tcp_keepalives_count" = "3",
            "client_connection_check_interval" = "5s",
            "default_transaction_isolation" = "read committed"
            $(, $name = $value)*
        )
    };
    (@all $($name:literal = $value:literal),+) => {
        concat!(
            "-- settings\nSELECT set_config(name, CASE name",
            $(" WHEN '", $name, "' THEN '", $value, "'",)+
            " END, false) FROM pg_settings WHERE name IN (''",
            $(", '", $name, "'",)+
            ")"
        )
    };
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::db) enum Use {
    /// Questions over whole tables, for people.
    Reading,
    /// What the queue and the store do all the time: each of these statements is served by an index. A plan is kept with its
    /// statement, and one that was made while the table was small reads all of it: for minutes after it has grown to a hundred
    /// thousand rows, until the server's statistics follow. So the planner is told.
    Work,
}

impl Use {
    fn settings(self) -> &'static str {
        match self {
            Self::Reading => settings!(),
            Self::Work => settings!(
                "enable_seqscan" = "off",
                "enable_bitmapscan" = "off",
                "enable_hashjoin" = "off",
                "enable_mergejoin" = "off",
                "jit" = "off"
            ),
        }
    }
}

/// Connects. `settings` is a statement to begin with.
pub(super) async fn connect(options: &PgConnectOptions, settings: &'static str) -> Result<PgConnection, DbError> {
    let connecting = async {
        let mut connection = options.connect().await?;
        if !settings.is_empty() {
            sqlx::raw_sql(settings).execute(&mut connection).await?;
        }
        Ok(connection)
    };
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|error| DbError::from_sqlx("-- connect", &error)),
        Err(_) => Err(DbError::new(
            DbErrorKind::Unavailable,
            format!("statement `connect`: no answer within {CONNECT:?}: it is tried again"),
        )),
    }
}

/// A connection, and whether its last statement came to its end.
pub(super) struct Connection {
    inner: PgConnection,
    pub(super) used_for: Use,
    patience: Duration,
    /// Nothing is under way on it: the next statement's answer will be its own.
    clean: bool,
}

impl Connection {
    pub(super) async fn open(options: &PgConnectOptions, used_for: Use, patience: Duration) -> Result<Self, DbError> {
        Ok(Self {
            inner: connect(options, used_for.settings()).await?,
            used_for,
            patience,
            clean: true,
        })
    }

    pub(super) fn is_clean(&self) -> bool {
        self.clean
    }

    /// A statement without parameters, such as BEGIN.
    pub(super) async fn command(&mut self, sql: &'static str) -> Result<(), DbError> {
        self.clean = false;
        let ended = tokio::time::timeout(self.patience, sqlx::raw_sql(sql).execute(&mut self.inner)).await;
        self.after(sql, ended).map(drop)
    }

    pub(super) async fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError> {
        self.clean = false;
        let ended = tokio::time::timeout(self.patience, bind(sql, params).execute(&mut self.inner)).await;
        self.after(sql, ended).map(|done| done.rows_affected())
    }

    pub(super) async fn fetch_all(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        self.clean = false;
        let ended = tokio::time::timeout(self.patience, bind(sql, params).fetch_all(&mut self.inner)).await;
        let rows = self.after(sql, ended)?;
        Ok(rows.into_iter().map(|row| Row::of_postgres(row, sql)).collect())
    }

    fn after<T>(
        &mut self,
        sql: &'static str,
        ended: Result<Result<T, sqlx::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, DbError> {
        match ended {
            Ok(Ok(answer)) => {
                self.clean = true;
                Ok(answer)
            }
            Ok(Err(error)) => {
                let refused = DbError::from_sqlx(sql, &error);
                // The server refused it and waits for the next; when it ended the session it will not.
                self.clean = matches!(error, sqlx::Error::Database(_)) && refused.kind != DbErrorKind::Unavailable;
                Err(refused)
            }
            Err(_) => Err(DbError::no_answer(sql, self.patience)),
        }
    }
}
