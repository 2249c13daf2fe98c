//! `[[records]]` of kind `sql`: a database that is read.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    database::holds_password,
    nearest::nearest,
    secret::Secret,
    section::{Given, Section},
};

const SHAPE: &str = "should be the address of a database: postgres://user@host/database, mysql://user@host/database or \
                     sqlite:FILE; one with a password in it is named, not written: url = \"env:NAME\"";

/// What an address may begin with.
const SCHEMES: [&str; 5] = ["postgres", "postgresql", "mysql", "mariadb", "sqlite"];

/// What `[[records]]` of kind `sql` has of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SqlConfig {
    /// The database: `postgres://…`, `mysql://…`, `mariadb://…` or `sqlite:FILE`, with the driver's options behind `?`. With
    /// a password in it, only as a reference (`env:RECORDS_URL`).
    pub url: Secret,
    /// The password, where the address has none.
    pub password: Option<Secret>,
    /// What the path of an SQLite file is relative to.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl SqlConfig {
    /// Without a password beside the address; files are relative to the working directory.
    pub fn new(url: Secret) -> Self {
        Self {
            url,
            password: None,
            folder: PathBuf::new(),
        }
    }

    /// `None` when something that must be there is not.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let url = url(section);
        let password = section.secret("password");
        let is_file = url.as_ref().is_some_and(|url| url.expose().starts_with("sqlite:"));
        if is_file && password.is_some() {
            section.fault_at("password", "an SQLite file has no password: take it out");
        }
        Some(Self {
            password,
            folder: section.secrets().base.to_owned(),
            ..Self::new(url?)
        })
    }
}

fn url(section: &mut Section<'_>) -> Option<Secret> {
    let literal = match section.given("url") {
        Some((Given::File(value), place)) => value.as_str().map(|text| (text.to_owned(), place)),
        Some((Given::Env(_), _)) | None => None,
    };
    let is_reference = |text: &str| text.starts_with("env:") || text.starts_with("file:");
    if let Some((text, place)) = literal.filter(|(text, _)| !is_reference(text)) {
        section.know("url");
        if !is_address(&text) {
            let scheme = text.split(':').next().unwrap_or_default();
            let meant = nearest(scheme, SCHEMES).filter(|meant| *meant != scheme);
            let hint = meant
                .map(|name| format!("; did you mean `{name}:`?"))
                .unwrap_or_default();
            section.fault(place, "url", format!("{SHAPE}{hint}"));
            return None;
        }
        if holds_password(&text) {
            section.fault(
                place,
                "url",
                "a password is not written here: take it out and write password = \"env:NAME\", or name the whole address: \
                 url = \"env:RECORDS_URL\"",
            );
            return None;
        }
        return Some(Secret::new("the configuration", text));
    }
    let url = section.required_secret(
        "url",
        "the address of the database, or a reference to it such as \"env:RECORDS_URL\"",
    )?;
    // Where secrets are left alone there is nothing to look at.
    if !url.expose().is_empty() && !is_address(url.expose()) {
        section.fault_at("url", SHAPE);
        return None;
    }
    Some(url)
}

/// Whether it is an address of a database that can be asked. The driver reads the rest.
fn is_address(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    match scheme {
        "sqlite" => !rest.trim_start_matches('/').is_empty() && !rest.contains(":memory:"),
        other => SCHEMES.contains(&other) && rest.len() > 2 && rest.starts_with("//"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_database_that_can_be_asked() {
        for (text, expected) in [
            ("postgres://reader@host/db", true),
            ("postgresql://host", true),
            ("mysql://reader@host:3306/db?ssl-mode=REQUIRED", true),
            ("mariadb://host/db", true),
            ("sqlite:records.db", true),
            ("sqlite:///var/records.db", true),
            ("sqlite:", false),
            ("sqlite::memory:", false),
            ("sqlite://", false),
            ("postgres:", false),
            ("postgres://", false),
            ("mssql://host/db", false),
            ("https://host/db", false),
            ("records.db", false),
        ] {
            assert_eq!(is_address(text), expected, "{text}");
        }
    }
}
