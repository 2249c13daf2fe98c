//! `[database]`: where everything is kept.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{database_url, secret::Secret, section::Section};
use crate::db::{Durability, Location, PostgresLocation};

/// `[database]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Database {
    /// The embedded file, made when absent. Default `aftercall-data/aftercall.db` below the working directory.
    pub path: PathBuf,
    /// `normal` (default): survives the death of the process at any moment, a power loss may take the last commits.
    /// `full`: survives a power loss as well; every commit waits for the disk.
    pub durability: Durability,
    /// A PostgreSQL database in place of the file, for a fleet: `postgres://user@host:5432/database?sslmode=require`. With a
    /// password in it, only as a reference (`env:DATABASE_URL`). Default: none.
    pub url: Option<Secret>,
    /// The password, where the address has none.
    pub password: Option<Secret>,
    /// Connections to the server that the jobs of this process share. Default 10.
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            path: PathBuf::from("aftercall-data/aftercall.db"),
            durability: Durability::Normal,
            url: None,
            password: None,
            max_connections: PostgresLocation::MAX_CONNECTIONS,
        }
    }
}

impl Database {
    /// What to open.
    pub fn location(&self) -> Location {
        match &self.url {
            None => Location::Sqlite {
                path: self.path.clone(),
                durability: self.durability,
            },
            Some(url) => Location::Postgres(PostgresLocation {
                url: url.expose().to_owned(),
                password: self.password.as_ref().map(|password| password.expose().to_owned()),
                max_connections: self.max_connections,
            }),
        }
    }

    /// What a flag names: a file, or the address of a server.
    pub fn choose(&mut self, named: &Path) {
        if let Some(url) = named.to_str().filter(|text| is_address(text)) {
            self.url = Some(Secret::new("--db", url));
        } else {
            named.clone_into(&mut self.path);
            self.url = None;
        }
    }

    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            path: section.path("path").unwrap_or(default.path),
            durability: section.choice(
                "durability",
                default.durability,
                &[("normal", Durability::Normal), ("full", Durability::Full)],
            ),
            url: url(&mut section),
            password: section.own_secret("password"),
            max_connections: section.whole("max_connections", default.max_connections, 2, 1_000),
        };
        section.finish();
        read
    }
}

fn is_address(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

fn url(section: &mut Section<'_>) -> Option<Secret> {
    const SHAPE: &str = "is no address of a PostgreSQL database: postgres://user@host:5432/database, or a reference to one such as \
                         \"env:DATABASE_URL\"; an embedded file is named by `path`";
    let check = |text: &str| {
        if is_address(text) {
            Ok(())
        } else {
            Err(SHAPE.to_owned())
        }
    };
    database_url::read(section, "DATABASE_URL", check, |section| section.own_secret("url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_names_a_file_or_a_server() {
        let mut database = Database::default();
        database.choose(Path::new("postgres://user:pw@host/db"));
        assert!(matches!(database.location(), Location::Postgres(_)));
        assert!(!format!("{database:?}").contains("pw"));
        database.choose(Path::new("x.db"));
        assert_eq!(database.location(), Location::sqlite("x.db"));
    }
}
