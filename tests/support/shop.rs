//! A shop's database, of each kind that records may be kept in.

use std::path::PathBuf;

use aftercall::{
    adapters::{
        secret::Secret,
        sql_records::{SqlRecords, SqlRecordsConfig},
    },
    domain::{
        lookup::{Lookup, SqlLookup},
        sql::Statement,
    },
    sandbox::postgres::{Cluster, FreshDatabase},
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::mariadb;

/// Whose database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MariaDb,
}

/// A database of one's own.
pub(crate) struct Shop {
    pub(crate) kind: Kind,
    place: Place,
}

enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(FreshDatabase<'static>),
    MariaDb(String),
}

/// The cluster of this process.
pub(crate) fn cluster() -> &'static Cluster {
    Cluster::shared().unwrap_or_else(|error| panic!("{error}"))
}

impl Shop {
    /// With nothing in it.
    pub(crate) async fn empty(kind: Kind) -> Self {
        let place = match kind {
            Kind::Sqlite => Place::Sqlite(tempfile::tempdir().unwrap()),
            Kind::Postgres => Place::Postgres(cluster().fresh_database().unwrap()),
            Kind::MariaDb => Place::MariaDb(mariadb::shared().fresh_database().await),
        };
        Self { kind, place }
    }

    /// With three orders.
    pub(crate) async fn open(kind: Kind) -> Self {
        let shop = Self::empty(kind).await;
        shop.run(
            "CREATE TABLE orders (id VARCHAR(40) PRIMARY KEY, number INTEGER NOT NULL, cake VARCHAR(40), price NUMERIC(10, 2));
             INSERT INTO orders VALUES ('o-1', 11, 'plum', 12.50), ('o-2', 12, 'nut', 20.00), ('o-3', 13, NULL, NULL)",
        )
        .await;
        shop
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Sqlite(_) => format!("sqlite://{}", self.file().display()),
            Place::Postgres(database) => database.url(),
            Place::MariaDb(name) => mariadb::shared().url(name),
        }
    }

    /// Its name on its server.
    pub(crate) fn name(&self) -> &str {
        match &self.place {
            Place::Sqlite(_) => "main",
            Place::Postgres(database) => database.name(),
            Place::MariaDb(name) => name,
        }
    }

    /// The file.
    pub(crate) fn file(&self) -> PathBuf {
        match &self.place {
            Place::Sqlite(folder) => folder.path().join("shop.db"),
            Place::Postgres(_) | Place::MariaDb(_) => panic!("it is no file"),
        }
    }

    /// A connection that may write to the file.
    pub(crate) async fn connect_to_file(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(self.file())
            .create_if_missing(true);
        options.connect().await.unwrap()
    }

    /// Runs statements as who may do everything.
    pub(crate) async fn run(&self, sql: &str) {
        match &self.place {
            Place::Sqlite(_) => {
                let options = SqliteConnectOptions::new()
                    .filename(self.file())
                    .create_if_missing(true);
                let mut connection = options.connect().await.unwrap();
                let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                    .execute(&mut connection)
                    .await;
                done.unwrap_or_else(|error| panic!("{sql}: {error}"));
                sqlx::Connection::close(connection).await.unwrap();
            }
            Place::Postgres(database) => {
                let done = cluster().psql(database.name(), sql);
                done.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
            Place::MariaDb(name) => mariadb::shared().run(name, sql).await,
        }
    }

    /// A role that may only read, named after the database: an address of its own.
    pub(crate) async fn reader(&self) -> String {
        let name = format!("reader_{}", self.name());
        match &self.place {
            Place::Sqlite(_) => self.url(),
            Place::Postgres(_) => {
                self.run(&format!(
                    "CREATE ROLE {name} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}"
                ))
                .await;
                self.url().replace("postgres@", &format!("{name}@"))
            }
            Place::MariaDb(database) => {
                self.run(&format!(
                    "CREATE USER {name}@'127.0.0.1'; GRANT SELECT ON {database}.* TO {name}@'127.0.0.1'"
                ))
                .await;
                mariadb::shared().url_of(&name, database)
            }
        }
    }
}

/// The adapter with these lookups: name, statement, and whether the answer is a list.
pub(crate) fn records(config: &SqlRecordsConfig, lookups: &[(&str, &str, bool)]) -> SqlRecords {
    let lookups = lookups.iter().map(|(name, sql, is_list)| {
        let lookup = SqlLookup {
            statement: Statement::parse(sql).unwrap_or_else(|reason| panic!("{sql}: {reason}")),
            is_list: *is_list,
        };
        ((*name).to_owned(), lookup)
    });
    SqlRecords::new("shop", config, lookups.collect()).unwrap_or_else(|error| panic!("{error}"))
}

/// How the adapter is configured for an address.
pub(crate) fn config(url: impl Into<String>) -> SqlRecordsConfig {
    SqlRecordsConfig::new(Secret::new(url))
}

/// A question for one record by its id.
pub(crate) fn by_id(record: &str, id: &str) -> Lookup {
    Lookup {
        system: "shop".to_owned(),
        record: record.to_owned(),
        id: Some(id.to_owned()),
        keys: [].into(),
    }
}
