use std::path::PathBuf;

use super::*;
use crate::domain::sql::Statement;

fn lookup(sql: &str) -> BTreeMap<String, SqlLookup> {
    let how = SqlLookup {
        statement: Statement::parse(sql).unwrap(),
        is_list: false,
    };
    [("order".to_owned(), how)].into()
}

fn new(url: &str, sql: &str) -> Result<SqlRecords, SqlRecordsError> {
    SqlRecords::new("shop", &SqlRecordsConfig::new(Secret::new(url)), lookup(sql))
}

#[test]
fn an_address_that_cannot_be_read_is_not_repeated() {
    for url in [
        "postgres://u:very-secret@[::",
        "postgres://u:very-secret@host:99999999/db",
        "mysql://u:very-secret@host:port/db",
        "mysql://u:very-secret@host/db?ssl-mode=sometimes",
        "sqlite:very-secret.db?mode=sometimes",
        "very-secret",
    ] {
        let error = new(url, "SELECT 1").unwrap_err();
        assert!(matches!(error, SqlRecordsError::Url { .. }), "{url}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("very-secret"), "{shown}");
    }
}

#[test]
fn neither_address_nor_password_is_printed() {
    for url in [
        "postgres://u:very-secret@host/db",
        "mysql://u:very-secret@host/db",
        "sqlite:very-secret.db",
    ] {
        let config = SqlRecordsConfig {
            password: (!url.starts_with("sqlite")).then(|| Secret::new("very-secret")),
            ..SqlRecordsConfig::new(Secret::new(url))
        };
        let records = SqlRecords::new("shop", &config, lookup("SELECT 1")).unwrap();
        let shown = format!("{config:?} {records:?}");
        assert!(!shown.contains("very-secret"), "{shown}");
    }
}

#[test]
fn a_statement_with_another_databases_placeholders_is_refused() {
    let sql = "SELECT id FROM orders WHERE data ? 'k' AND id = :id";
    assert!(new("postgres://host/db", sql).is_ok());
    for url in ["mysql://host/db", "mariadb://host/db", "sqlite:x.db"] {
        let error = new(url, sql).unwrap_err().to_string();
        assert!(
            error.starts_with("record `order`: lookup.sql: `?` is a placeholder"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_path_of_a_file_is_relative_to_the_configurations_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = SqlRecordsConfig::new(Secret::new("sqlite:shop%20%231.db"));
    let asked = Lookup {
        system: "shop".to_owned(),
        record: "order".to_owned(),
        id: Some("x".to_owned()),
        keys: BTreeMap::new(),
    };
    for (place, is_there) in [(folder.path().to_owned(), true), (PathBuf::new(), false)] {
        if is_there {
            std::fs::write(folder.path().join("shop #1.db"), "").unwrap();
        }
        config.folder = place;
        let records = SqlRecords::new("shop", &config, lookup("SELECT 1 AS one WHERE :id = 'x'")).unwrap();
        let answer = records.look_up(&asked).await;
        assert_eq!(answer.is_ok(), is_there, "{answer:?}");
    }
}
