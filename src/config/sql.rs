//! `[[records]]` of kind `sql`: a database that is read.

use std::path::PathBuf;

use serde::Serialize;

use super::{database_url, nearest::nearest, secret::Secret, section::Section};

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
    database_url::read(section, "RECORDS_URL", check, |section| {
        section.required_secret(
            "url",
            "the address of the database, or a reference to it such as \"env:RECORDS_URL\"",
        )
    })
}

/// Whether it is an address of a database that can be asked. What of it is said back is nothing that could be a secret. The
/// driver reads the rest.
fn check(text: &str) -> Result<(), String> {
    let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
    if scheme == "sqlite" {
        return check_file(rest);
    }
    if SCHEMES.contains(&scheme) && rest.len() > 2 && rest.starts_with("//") {
        return Ok(());
    }
    let meant = nearest(scheme, SCHEMES).filter(|meant| *meant != scheme);
    let hint = meant
        .map(|name| format!("; did you mean `{name}:`?"))
        .unwrap_or_default();
    Err(format!("{SHAPE}{hint}"))
}

const NAME_IT: &str = "name the file that holds them, as in sqlite:records.db or sqlite:///var/lib/shop/records.db";

/// What stands behind `sqlite:`. A database that would be made when it is opened keeps no records yet.
fn check_file(rest: &str) -> Result<(), String> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
    let path = decoded(path);
    if path.trim().is_empty() || path.trim_matches('/').is_empty() {
        return Err(format!("names no file with records: {NAME_IT}"));
    }
    if path.contains(":memory:") {
        return Err(format!(
            "`:memory:` is a new and empty database, which holds no record: {NAME_IT}"
        ));
    }
    if path.starts_with("file:") {
        return Err("`file:` is not written before the path: write sqlite:records.db".to_owned());
    }
    for option in options.split('&').filter(|option| !option.is_empty()) {
        check_option(option.split_once('=').unwrap_or((option, "")))?;
    }
    Ok(())
}

fn check_option((name, value): (&str, &str)) -> Result<(), String> {
    const KNOWN: [&str; 3] = ["mode", "cache", "immutable"];
    match (name, value) {
        ("mode", "ro") | ("cache", "private" | "shared") | ("immutable", "true" | "false" | "1" | "0") => Ok(()),
        ("mode", "memory") => {
            Err(format!("`mode=memory` is a new and empty database, which holds no record: {NAME_IT}"))
        }
        ("mode", "rwc") => Err(
            "`mode=rwc` would make the file where it is not there, and a system of record that does not exist yet is a mistake: \
             take it out (the file is opened for reading only)"
                .to_owned(),
        ),
        ("mode", _) => Err("`mode` can only be ro: take it out (the file is opened for reading only)".to_owned()),
        ("cache", _) => Err("`cache` can only be private or shared: take it out".to_owned()),
        ("immutable", _) => Err(
            "`immutable` can only be true or false; true is for a file that nobody ever writes, such as one on a read-only disk"
                .to_owned(),
        ),
        (name, _) => {
            let meant = nearest(name, KNOWN).map(|name| format!("; did you mean `{name}`?"));
            Err(format!(
                "has an option that an SQLite file does not have; known: {}{}",
                KNOWN.join(", "),
                meant.unwrap_or_default()
            ))
        }
    }
}

/// With `%3A` and the like as the signs that they are.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
            ("sqlite:records%20of%202026.db?mode=ro", true),
            ("sqlite:///var/records.db?immutable=1&cache=private", true),
            ("postgres:", false),
            ("postgres://", false),
            ("mssql://host/db", false),
            ("https://host/db", false),
            ("records.db", false),
        ] {
            assert_eq!(check(text).is_ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_is_one_that_is_there_already_and_is_only_read() {
        for (text, says) in [
            ("sqlite:", "names no file with records"),
            ("sqlite://", "names no file with records"),
            ("sqlite:///", "names no file with records"),
            ("sqlite:%20", "names no file with records"),
            ("sqlite:?mode=ro", "names no file with records"),
            ("sqlite::memory:", "new and empty"),
            ("sqlite://:memory:", "new and empty"),
            ("sqlite:%3Amemory%3a", "new and empty"),
            ("sqlite:file:records.db%3Fmode=memory", "`file:` is not written"),
            ("sqlite:%66ile:records.db", "`file:` is not written"),
            ("sqlite:records.db?mode=memory", "new and empty"),
            ("sqlite:records.db?cache=shared&mode=rwc", "does not exist yet"),
            ("sqlite:records.db?mode=rw", "can only be ro"),
            ("sqlite:records.db?mode", "can only be ro"),
            ("sqlite:records.db?cache=very", "private or shared"),
            ("sqlite:records.db?immutable=yes", "true or false"),
            ("sqlite:records.db?vfs=memdb", "known: mode, cache, immutable"),
            ("sqlite:records.db?imutable=1", "did you mean `immutable`?"),
            ("sqlite:records.db?m%6Fde=memory", "known: mode, cache, immutable"),
        ] {
            let reason = check(text).expect_err(text);
            assert!(reason.contains(says), "{text}: {reason}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_repeating_it() {
        for text in [
            "very-secret",
            "very-secret://u@host/db",
            "sqlite:r.db?mode=very-secret",
            "sqlite:r.db?very-secret=1",
            "sqlite::memory:?very-secret",
        ] {
            let reason = check(text).expect_err(text);
            assert!(!reason.contains("very-secret"), "{reason}");
        }
    }
}
