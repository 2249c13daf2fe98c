//! Statements that the database does not take: the reason says what to change.

use aftercall::{
    domain::lookup::Fact,
    ports::{SystemOfRecord as _, UpstreamReason},
};

use super::{ask, diagnosed, of, on_each_kind, refused};
use crate::support::shop::{Kind, Shop, by_id, config, records};

on_each_kind! {
    what_is_not_there_is_named,
    a_statement_that_takes_too_long_is_ended_by_the_database,
}

async fn what_is_not_there_is_named(shop: Shop) {
    for (sql, names) in [
        ("SELECT id FROM ordres WHERE id = :id", "ordres"),
        ("SELECT id, cakke FROM orders WHERE id = :id", "cakke"),
        ("SELECT id FROM orders WHRE id = :id", "id"),
        (
            "SELECT no_such_function(id) AS x FROM orders WHERE id = :id",
            "no_such_function",
        ),
    ] {
        let reason = refused(&shop, sql, "secret-id").await;
        assert!(
            reason.contains("correct the playbook's lookup.sql") && reason.contains("aftercall doctor"),
            "{:?}: {reason}",
            shop.kind
        );
        assert!(!reason.contains("secret-id"), "{reason}");
        // The database's words may hold what was bound: they are shown where nothing is.
        let words = diagnosed(shop.url(), sql).await;
        assert!(words.contains(names), "{:?}: {words}", shop.kind);
    }
    // The next question is answered all the same.
    assert_eq!(
        ask(&shop, "SELECT id FROM orders WHERE id = :id", "x").await.unwrap(),
        Fact::Absent
    );
}

#[tokio::test]
async fn what_may_not_be_read_in_postgres_is_named() {
    let shop = Shop::open(Kind::Postgres).await;
    let reader = shop.reader().await;
    shop.run("CREATE TABLE salaries (id text)").await;
    what_may_not_be_read_is_named(reader).await;
}

#[tokio::test]
async fn what_may_not_be_read_in_mariadb_is_named() {
    let shop = Shop::open(Kind::MariaDb).await;
    let reader = shop.reader().await;
    let (name, all) = (shop.name().to_owned(), format!("reader_{}@'127.0.0.1'", shop.name()));
    shop.run(&format!(
        "CREATE TABLE salaries (id VARCHAR(9)); REVOKE SELECT ON {name}.* FROM {all}; GRANT SELECT ON {name}.orders TO {all}"
    ))
    .await;
    // PostgreSQL asks for the right only when the statement runs.
    let words = diagnosed(reader.clone(), "SELECT id FROM salaries WHERE id = :id").await;
    assert!(words.contains("salaries"), "{words}");
    what_may_not_be_read_is_named(reader).await;
}

async fn what_may_not_be_read_is_named(reader: String) {
    let both = [
        ("order", "SELECT id FROM orders WHERE id = :id", false),
        ("salary", "SELECT id FROM salaries WHERE id = :id", false),
    ];
    let records = records(&config(reader), &both);
    let Fact::Unknown { reason } = records.look_up(&by_id("salary", "x")).await.unwrap().fact else {
        panic!("it was read")
    };
    assert!(reason.contains("grant it SELECT on what the lookup reads"), "{reason}");
    let found = records.look_up(&by_id("order", "o-1")).await.unwrap().fact;
    assert!(matches!(found, Fact::Found { .. }), "{found:?}");
}

#[tokio::test]
async fn what_a_session_said_is_in_no_reason() {
    for (kind, sql) in [
        (Kind::Sqlite, "SELECT json_extract(cake, '$.' || :id) AS id FROM orders"),
        (
            Kind::Postgres,
            "SELECT id FROM orders WHERE to_tsvector(cake) @@ to_tsquery(:id)",
        ),
    ] {
        let shop = Shop::open(kind).await;
        let said = "Zoe's secret (";
        let reason = refused(&shop, sql, said).await;
        assert!(
            !reason.contains("Zoe") && !reason.contains("secret"),
            "{kind:?}: {reason}"
        );
    }
}

async fn a_statement_that_takes_too_long_is_ended_by_the_database(shop: Shop) {
    let sql = of(
        shop.kind,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) AS c FROM n WHERE i > :id",
        "SELECT pg_sleep(600), :id AS id",
        "SELECT SLEEP(600) AS s, :id AS id",
    );
    let mut hasty = config(shop.url());
    hasty.timeout = std::time::Duration::from_millis(300);
    let both = [
        ("slow", sql, false),
        ("order", "SELECT id FROM orders WHERE id = :id", false),
    ];
    let records = records(&hasty, &both);
    let error = records.look_up(&by_id("slow", "1")).await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::Unreachable, "{error}");
    assert!(error.detail.contains("longer than `timeout`"), "{error}");
    let found = records.look_up(&by_id("order", "o-1")).await.unwrap().fact;
    assert!(matches!(found, Fact::Found { .. }), "{found:?}");
}
