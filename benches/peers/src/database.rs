//! An empty database for each measurement, gone when it is over.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

/// A PostgreSQL server where databases may be made.
pub(crate) struct Server(PgConnectOptions);

impl Server {
    /// The server that this URL leads to; the URL's own database is only used to ask it.
    pub(crate) fn at(url: &str) -> anyhow::Result<Self> {
        Ok(Self(
            url.parse().context("--postgres is not a URL of a PostgreSQL server")?,
        ))
    }

    /// Makes a database, in place of the one that an earlier run left behind.
    pub(crate) async fn create(&self, name: &'static str) -> anyhow::Result<Database> {
        let database = Database {
            server: self.0.clone(),
            name,
        };
        database.remove().await?;
        database.tell(format!("CREATE DATABASE {name}")).await?;
        Ok(database)
    }
}

/// A database that was made for one measurement.
pub(crate) struct Database {
    server: PgConnectOptions,
    name: &'static str,
}

impl Database {
    /// How to connect to it.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.server.clone().database(self.name)
    }

    /// Removes it; nothing happens when it is not there.
    pub(crate) async fn remove(&self) -> anyhow::Result<()> {
        self.tell(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name))
            .await
    }

    /// Tells its server something about it, from outside.
    async fn tell(&self, sql: String) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect_with(&self.server)
            .await
            .context("cannot connect to the PostgreSQL server")?;
        connection.execute(AssertSqlSafe(sql)).await?;
        Ok(connection.close().await?)
    }
}

/// A SQLite file that was not there before.
pub(crate) struct File(PathBuf);

impl File {
    /// Refuses to write into a file that somebody may need.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        ensure!(
            !path.exists(),
            "{} exists already: name a file that does not",
            path.display()
        );
        Ok(Self(path.to_owned()))
    }

    /// How to open it: durable as aftercall's default is, and otherwise as `SqliteStorage::setup` asks for.
    pub(crate) fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.0)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("temp_store", "MEMORY")
            .pragma("cache_size", "64000")
            .pragma("journal_size_limit", "67108864")
    }

    /// Removes it, with what SQLite keeps beside it.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(suffix);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
