//! What an answer may take, and what an address may not do.

use aftercall::{
    adapters::{
        secret::Secret,
        sql_records::{SqlRecords, SqlRecordsConfig},
    },
    domain::lookup::Fact,
    ports::SystemOfRecord as _,
};

use super::{is_unchanged, of, on_each_kind};
use crate::support::shop::{Kind, Shop, by_id, config, records};

on_each_kind! {
    a_large_row_is_refused_by_the_database_and_not_sent,
    reading_stops_at_the_row_that_is_too_much,
}

const MOST: usize = 2_000_000;

async fn reason_within(shop: &Shop, sql: &str) -> String {
    let mut small = config(shop.url());
    small.most_bytes = MOST;
    let records = records(&small, &[("order", sql, true)]);
    match records.look_up(&by_id("order", "x")).await.unwrap().fact {
        Fact::Unknown { reason } => reason,
        other => panic!("{:?}: {sql}: {other:?}", shop.kind),
    }
}

async fn a_large_row_is_refused_by_the_database_and_not_sent(shop: Shop) {
    let text = of(shop.kind, "TEXT", "TEXT", "LONGTEXT");
    let made = of(
        shop.kind,
        "SELECT 1, hex(zeroblob(750000)), hex(zeroblob(750000))",
        "SELECT 1, repeat('x', 1500000), repeat('y', 1500000)",
        "SELECT 1, REPEAT('x', 1500000), REPEAT('y', 1500000)",
    );
    shop.run(&format!(
        "CREATE TABLE wide (id INTEGER, one {text}, other {text}); INSERT INTO wide {made}; INSERT INTO wide VALUES (2, 'a', NULL)"
    ))
    .await;
    let reason = reason_within(&shop, "SELECT one, other FROM wide WHERE :id = 'x'").await;
    assert!(
        reason.contains("larger than 2000000 bytes: select fewer columns"),
        "{reason}"
    );
    // What is not selected takes nothing.
    for sql in [
        "SELECT id, one FROM wide WHERE :id = 'x'",
        "SELECT id, one, other FROM wide WHERE id = 2 AND :id = 'x' ORDER BY id",
        "WITH w AS (SELECT one FROM wide WHERE id = 2) SELECT one, one AS two FROM w WHERE :id = 'x' -- all",
    ] {
        let mut small = config(shop.url());
        small.most_bytes = MOST;
        let records = records(&small, &[("order", sql, true)]);
        let found = records.look_up(&by_id("order", "x")).await.unwrap().fact;
        assert!(matches!(found, Fact::Found { .. }), "{:?}: {sql}", shop.kind);
    }
}

async fn reading_stops_at_the_row_that_is_too_much(shop: Shop) {
    // Each row fits, three do not; the last of a million would take long to come.
    let sql = of(
        shop.kind,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
         SELECT i, hex(zeroblob(450000)) AS t FROM n WHERE :id = 'x'",
        "SELECT i, repeat('x', 900000) AS t FROM generate_series(1, 1000000) AS n(i) WHERE :id = 'x'",
        "SELECT seq AS i, RPAD(:id, 900000, 'x') AS t FROM seq_1_to_1000000",
    );
    let reason = reason_within(&shop, sql).await;
    assert!(reason.contains("larger than 2000000 bytes"), "{reason}");
}

/// Whatever an address asks for, a file is only read, and one that is not there is not made.
#[tokio::test]
async fn no_option_of_an_address_lets_a_file_be_written_or_made() {
    let shop = Shop::open(Kind::Sqlite).await;
    let url = shop.url();
    let delete = "WITH x AS (SELECT :id AS id) DELETE FROM orders WHERE id IN (SELECT id FROM x)";
    for options in [
        "",
        "?mode=rwc",
        "?mode=rw",
        "?mode=memory",
        "?cache=shared",
        "?immutable=1",
        "?mode=rwc&cache=shared&immutable=1",
    ] {
        let records = records(
            &config(format!("{url}{options}")),
            &[
                ("gone", delete, false),
                ("order", "SELECT id FROM orders WHERE id = :id", false),
            ],
        );
        let fact = records.look_up(&by_id("gone", "o-1")).await.unwrap().fact;
        let Fact::Unknown { reason } = fact else {
            panic!("{options}: {fact:?}")
        };
        assert!(reason.contains("the statement writes"), "{options}: {reason}");
        let found = records.look_up(&by_id("order", "o-1")).await.unwrap().fact;
        assert!(matches!(found, Fact::Found { .. }), "{options}: {found:?}");
        is_unchanged(&shop).await;
        let missing = shop.file().with_file_name("missing.db");
        let elsewhere = config(format!("sqlite://{}{options}", missing.display()));
        let answer = crate::support::shop::records(&elsewhere, &[("one", "SELECT 1 AS one WHERE :id = 'x'", false)])
            .look_up(&by_id("one", "x"))
            .await;
        assert!(answer.is_err(), "{options}: {answer:?}");
        assert!(!missing.exists(), "{options}");
    }
}

#[test]
fn a_database_in_memory_is_none_that_keeps_records() {
    for url in [
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite:%3Amemory%3A",
        "sqlite:",
        "sqlite:file:x.db%3Fmode=memory",
    ] {
        let records = SqlRecords::new("shop", &SqlRecordsConfig::new(Secret::new(url)), [].into());
        let error = records.unwrap_err().to_string();
        assert!(error.ends_with("it names no file"), "{url}: {error}");
    }
}
