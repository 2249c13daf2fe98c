//! Where the database is, and a connection to it of one of three kinds.

use std::str::FromStr as _;

use serde_json::Value;
use sqlx::{ConnectOptions as _, mysql::MySqlConnectOptions, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

use super::{
    SqlRecordsConfig, answer::Bounds, mysql::MySql, postgres::Postgres, probe::About, sqlite::Sqlite, trouble::Trouble,
};
use crate::domain::{
    lookup::SqlLookup,
    sql::{Dialect, Statement},
};

/// The options hold the password: not to be printed.
pub(super) enum Server {
    Postgres(PgConnectOptions),
    MySql(MySqlConnectOptions),
    Sqlite(SqliteConnectOptions),
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.dialect().name())
    }
}

impl Server {
    /// Reads the address; in the error, what to look at.
    pub(super) fn of(config: &SqlRecordsConfig) -> Result<Self, &'static str> {
        const UNREADABLE: &str =
            ": look at its port and options, and write signs of a user or password as %40 and the like";
        let url = config.url.expose();
        let password = config.password.as_ref();
        match Dialect::of_address(url) {
            Some(Dialect::Postgres) => {
                let options = PgConnectOptions::from_str(url).map_err(|_| UNREADABLE)?;
                let options = match password {
                    Some(password) => options.password(password.expose()),
                    None => options,
                };
                Ok(Self::Postgres(super::postgres::prepared(options)))
            }
            Some(Dialect::MySql) => {
                let options = MySqlConnectOptions::from_str(url).map_err(|_| UNREADABLE)?;
                let options = match password {
                    Some(password) => options.password(password.expose()),
                    None => options,
                };
                Ok(Self::MySql(super::mysql::prepared(options)))
            }
            Some(Dialect::Sqlite) => {
                let options = SqliteConnectOptions::from_str(url).map_err(|_| ": look at its options")?;
                let name = options.get_filename().to_string_lossy();
                // Databases in memory are named like this, and addresses within the address, which the engine would follow.
                if name.is_empty() || name.starts_with(':') || name.starts_with("file:") {
                    return Err(": it names no file");
                }
                let file = config.folder.join(options.get_filename());
                Ok(Self::Sqlite(super::sqlite::prepared(
                    options.filename(file),
                    config.timeout,
                )))
            }
            None => Err(": it begins with postgres://, mysql://, mariadb:// or sqlite:"),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::MySql(_) => Dialect::MySql,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    pub(super) async fn connect(&self) -> Result<Connection, Trouble> {
        let failed = |error: sqlx::Error| Trouble::of(&error, self.dialect());
        Ok(match self {
            Self::Postgres(options) => Connection::Postgres(Postgres::new(options.connect().await.map_err(failed)?)),
            Self::MySql(options) => Connection::MySql(MySql::new(options.connect().await.map_err(failed)?).await?),
            Self::Sqlite(options) => Connection::Sqlite(Sqlite::new(options.connect().await.map_err(failed)?).await?),
        })
    }
}

/// One connection.
#[derive(Debug)]
pub(super) enum Connection {
    Postgres(Postgres),
    MySql(MySql),
    Sqlite(Sqlite),
}

impl Connection {
    pub(super) fn is_a_file(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Runs a statement in a transaction that only reads, and rolls it back. After an error the connection is not used again.
    pub(super) async fn ask(
        &mut self,
        how: &SqlLookup,
        values: &[&str],
        bounds: Bounds,
    ) -> Result<Vec<Value>, Trouble> {
        match self {
            Self::Postgres(inner) => inner.ask(&how.statement, values, bounds).await,
            Self::MySql(inner) => inner.ask(&how.statement, values, bounds).await,
            Self::Sqlite(inner) => inner.ask(how, values, bounds).await,
        }
    }

    /// Has the database read a statement, without running it.
    pub(super) async fn check(&mut self, statement: &Statement, bounds: Bounds) -> Result<(), Trouble> {
        match self {
            Self::Postgres(inner) => inner.check(statement, bounds).await,
            Self::MySql(inner) => inner.check(statement).await,
            Self::Sqlite(inner) => inner.check(statement).await,
        }
    }

    pub(super) async fn about(&mut self) -> Result<About, Trouble> {
        match self {
            Self::Postgres(inner) => inner.about().await,
            Self::MySql(inner) => inner.about().await,
            Self::Sqlite(inner) => inner.about().await,
        }
    }

    /// Says goodbye, where the server listens.
    pub(super) async fn close(self) {
        match self {
            Self::Postgres(inner) => inner.close().await,
            Self::MySql(inner) => inner.close().await,
            Self::Sqlite(inner) => inner.close().await,
        }
    }
}
