//! `[database]`: where everything is kept.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    secret::Secret,
    section::{Given, Section},
};
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

/// Whether an address has a password in it: between the user and the host, or as a parameter.
pub(super) fn holds_password(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || rest.contains("?password=") || rest.contains("&password=")
}

fn url(section: &mut Section<'_>) -> Option<Secret> {
    let literal = match section.given("url") {
        Some((Given::File(value), place)) => value.as_str().map(|text| (text.to_owned(), place)),
        Some((Given::Env(_), _)) | None => None,
    };
    if let Some((text, place)) = literal.filter(|(text, _)| is_address(text)) {
        section.know("url");
        if holds_password(&text) {
            section.fault(
                place,
                "url",
                "a password is not written here: take it out and write password = \"env:NAME\", or name the whole address: \
                 url = \"env:DATABASE_URL\"",
            );
            return None;
        }
        return Some(Secret::new("the configuration", text));
    }
    let url = section.own_secret("url")?;
    if !is_address(url.expose()) {
        section.fault_at(
            "url",
            "is no address of a PostgreSQL database: postgres://user@host:5432/database, or a reference to one such as \
             \"env:DATABASE_URL\"; an embedded file is named by `path`",
        );
        return None;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_wherever_an_address_may_hold_one() {
        for (address, holds) in [
            ("postgres://user@host/db", false),
            ("postgres://user:pw@host/db", true),
            ("postgres://user@host:5432/db?sslmode=require", false),
            ("postgres://host/db?user=a&password=b", true),
            ("postgres://host/db?password=b", true),
            ("postgres:///db?host=/run/postgresql", false),
        ] {
            assert_eq!(holds_password(address), holds, "{address}");
        }
    }

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
