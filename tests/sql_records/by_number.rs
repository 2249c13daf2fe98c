//! Numbers in SQLite, which keeps a type with each value: none is taken for absent because it was asked for by its digits.

use aftercall::{
    domain::lookup::{Fact, Lookup},
    ports::SystemOfRecord as _,
};
use serde_json::json;

use super::{ask, ask_for, refused};
use crate::support::shop::{Kind, Shop, by_id, config, records};

async fn shop() -> Shop {
    let shop = Shop::empty(Kind::Sqlite).await;
    shop.run(
        "CREATE TABLE kinds (name TEXT, bare, whole INTEGER, word TEXT, data);
         INSERT INTO kinds VALUES ('n', 12, 12, '0123', '{\"id\": 12, \"price\": 20.0, \"weight\": 2.5}'), ('t', '12', 13, '12', '{\"id\": \"12\"}'),
           ('r', 7.5, 14, '7.5', '{}')",
    )
    .await;
    shop
}

#[tokio::test]
async fn a_number_without_a_type_is_not_absent_and_the_reason_says_what_to_write() {
    let shop = shop().await;
    for (condition, id) in [
        ("name = 'n' AND bare = :id", "12"),
        ("name = 'n' AND data ->> 'id' = :id", "12"),
        ("name = 'n' AND json_extract(data, '$.id') = :id", "12"),
        ("whole + 0 = :id", "12"),
        ("coalesce(bare, whole) = :id AND name = 'n'", "12"),
        ("data ->> 'price' = :id", "20"),
        ("data ->> 'price' = :id", "20.0"),
        ("data ->> 'weight' = :id", "2.5"),
        ("name = 'r' AND bare = :id", "7.5"),
        ("name = 'n' AND :id IN (bare)", "12"),
        ("EXISTS (SELECT 1 FROM json_each('[5]') WHERE value = :id)", "5"),
        ("whole + 0 >= :id", "14"),
        // One use as a number, the other as a text.
        ("name = 'n' AND bare = :id AND word || '' <> :id", "12"),
    ] {
        let sql = format!("SELECT name FROM kinds WHERE {condition}");
        let reason = refused(&shop, &sql, id).await;
        assert!(
            reason.contains("`:id`") && reason.contains("CAST(… AS TEXT) = :id"),
            "{condition}: {reason}"
        );
        assert!(!reason.contains(&format!("{id} ")), "{reason}");
    }
}

#[tokio::test]
async fn with_a_type_it_is_found_and_what_is_not_there_is_absent() {
    let shop = shop().await;
    for condition in [
        "name = 'n' AND CAST(bare AS TEXT) = :id",
        "CAST(data ->> 'id' AS TEXT) = :id AND name = 'n'",
        "data ->> 'id' = CAST(:id AS INTEGER) AND name = 'n'",
        "whole = :id",
        "name = 't' AND bare = :id",
        "word = :id",
    ] {
        let sql = format!("SELECT name FROM kinds WHERE {condition}");
        let found = ask(&shop, &sql, "12").await.unwrap();
        assert!(matches!(found, Fact::Found { .. }), "{condition}: {found:?}");
        for absent in ["99", "-12", "0", "x", "99.5"] {
            assert_eq!(
                ask(&shop, &sql, absent).await.unwrap(),
                Fact::Absent,
                "{condition}: {absent}"
            );
        }
    }
}

#[tokio::test]
async fn a_text_is_met_by_no_other_text_of_the_same_number() {
    let shop = shop().await;
    for (condition, id) in [
        ("word = :id", "123"),
        ("word = :id", "00123"),
        ("word = :id", "7.50"),
        ("word || '' = :id", "123"),
        ("CAST(word AS TEXT) = :id", "123"),
        ("bare = :id AND name = 't'", "0012"),
    ] {
        let sql = format!("SELECT name FROM kinds WHERE {condition}");
        assert_eq!(ask(&shop, &sql, id).await.unwrap(), Fact::Absent, "{condition}: {id}");
    }
}

/// What `by_number` rests on: bound as a number, a value is the same text that it was.
#[tokio::test]
async fn sqlite_writes_these_numbers_as_they_were_said() {
    let shop = Shop::empty(Kind::Sqlite).await;
    shop.run("CREATE TABLE words (word TEXT)").await;
    let numbers = [
        "0",
        "-1",
        "12",
        "9223372036854775807",
        "-9223372036854775808",
        "12.5",
        "0.1",
        "-0.25",
        "20.0",
        "0.0",
        "99999999999999.9",
        "123456789.123456",
        "0.0001",
        "100000.0",
        "3.14159265358979",
    ];
    for number in numbers {
        // By a text it is not found, by the number neither: else the reason would be one.
        let sql = "SELECT 'x' AS x FROM (SELECT 1) WHERE CAST(:id AS TEXT) <> :id || ''";
        assert_eq!(ask(&shop, sql, number).await.unwrap(), Fact::Absent, "{number}");
        let said = format!(
            "SELECT 'x' AS x FROM words WHERE word = :id UNION ALL SELECT 'x' WHERE CAST(:id AS TEXT) <> '{number}'"
        );
        assert_eq!(ask(&shop, &said, number).await.unwrap(), Fact::Absent, "{number}");
    }
}

#[tokio::test]
async fn a_list_that_lacks_what_a_number_finds_is_no_list() {
    let shop = shop().await;
    let sql = "SELECT name FROM kinds WHERE bare = :id";
    let list = records(&config(shop.url()), &[("order", sql, true)]);
    let Fact::Unknown { reason } = list.look_up(&by_id("order", "12")).await.unwrap().fact else {
        panic!("the list lacks the number")
    };
    assert!(reason.contains("without a type"), "{reason}");
    let sql = "SELECT name FROM kinds WHERE CAST(bare AS TEXT) = :id ORDER BY name";
    let list = records(&config(shop.url()), &[("order", sql, true)]);
    let record = json!([{"name": "n"}, {"name": "t"}]);
    assert_eq!(
        list.look_up(&by_id("order", "12")).await.unwrap().fact,
        Fact::Found { record }
    );
}

#[tokio::test]
async fn each_of_several_values_may_be_a_text_or_a_number() {
    let shop = shop().await;
    let sql =
        "SELECT a.name FROM kinds a, kinds b WHERE a.name = 'n' AND a.bare = :id AND b.name = 't' AND b.bare = :other";
    let lookup = Lookup {
        keys: [("other".to_owned(), "12".to_owned())].into(),
        ..by_id("order", "12")
    };
    let Fact::Unknown { reason } = ask_for(&shop, sql, &lookup).await.unwrap() else {
        panic!("it is there")
    };
    assert!(reason.starts_with("the value for `:id` is"), "{reason}");
    let many = "SELECT name FROM kinds WHERE :id IN (1, 2) AND whole IN (:id, :id, :id, :id, :id, :id)";
    let reason = refused(&shop, many, "3").await;
    assert!(reason.contains("name every value once, as in WITH"), "{reason}");
    let once = "WITH asked AS (SELECT CAST(:id AS TEXT) AS id) SELECT name FROM kinds, asked WHERE whole IN (asked.id, asked.id) OR word = asked.id";
    assert_eq!(ask(&shop, once, "3").await.unwrap(), Fact::Absent);
    assert!(matches!(ask(&shop, once, "13").await.unwrap(), Fact::Found { .. }));
}
