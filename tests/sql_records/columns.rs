//! What each type of column is as JSON.

use aftercall::domain::lookup::Fact;
use serde_json::{Value, json};

use super::{ask, refused};
use crate::support::shop::{Kind, Shop};

async fn the_row(kind: Kind, made: &str) -> Value {
    let shop = Shop::empty(kind).await;
    shop.run(made).await;
    let found = ask(&shop, "SELECT * FROM kinds WHERE :id = 'x'", "x").await.unwrap();
    let Fact::Found { record } = found else {
        panic!("{found:?}")
    };
    record
}

#[tokio::test]
async fn postgres() {
    let row = the_row(
        Kind::Postgres,
        "CREATE TYPE mood AS ENUM ('sweet', 'sour'); CREATE DOMAIN code AS varchar(8);
         CREATE TABLE kinds AS SELECT
           7::int2 AS small, 2147483647 AS whole, 9007199254740993::int8 AS large, 0.1::float4 AS single, 2.5::float8 AS double,
           'NaN'::float8 AS nan, 12.50::numeric(10,2) AS price, 12345678901234567890.123456789::numeric AS exact, true AS yes,
           'text'::text AS text, 'x'::char(3) AS fixed, 'c'::\"char\" AS letter, DATE '2026-05-04' AS day,
           TIMESTAMP '2026-05-04 10:00:00.25' AS local, TIMESTAMPTZ '2026-05-04 10:00:00+02' AS instant,
           TIME '10:00' AS clock, INTERVAL '1 day 2 hours' AS span,
           'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS guid, '{\"a\": [1, 2.5]}'::json AS json, '{\"b\": null}'::jsonb AS jsonb,
           '\\xdeadBEEF'::bytea AS bytes, ARRAY['a','b'] AS list, 'sweet'::mood AS mood, 'k-1'::code AS code,
           '10.0.0.1'::inet AS host, int4range(1, 5) AS range, NULL::text AS nothing",
    )
    .await;
    assert_eq!(
        row,
        json!({
            "small": 7, "whole": 2_147_483_647, "large": 9_007_199_254_740_993_i64, "single": 0.1, "double": 2.5, "nan": "NaN",
            "price": 12.5, "exact": "12345678901234567890.123456789", "yes": true, "text": "text", "fixed": "x  ",
            "letter": "c", "day": "2026-05-04", "local": "2026-05-04T10:00:00.25", "instant": "2026-05-04T08:00:00+00:00",
            "clock": "10:00:00", "span": "1 day 02:00:00", "guid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "json": {"a": [1, 2.5]}, "jsonb": {"b": null}, "bytes": "deadbeef", "list": ["a", "b"], "mood": "sweet",
            "code": "k-1", "host": "10.0.0.1", "range": "[1,5)", "nothing": null,
        })
    );
}

#[tokio::test]
async fn postgres_compares_a_parameter_with_a_column_of_any_type() {
    let shop = Shop::empty(Kind::Postgres).await;
    shop.run(
        "CREATE TYPE mood AS ENUM ('sweet', 'sour'); CREATE TABLE kinds AS SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS guid,
         12.50::numeric AS price, DATE '2026-05-04' AS day, 'sweet'::mood AS mood, 'abc'::char(5) AS fixed, B'101' AS bits,
         'abc'::varchar(5) AS short, TIMESTAMPTZ '2026-05-04 10:00+02' AS instant, '{\"a\": 1}'::jsonb AS data",
    )
    .await;
    for (condition, id) in [
        ("guid = :id", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
        ("price = :id", "12.5"),
        ("day = :id", "2026-05-04"),
        ("mood = :id", "sweet"),
        ("fixed = :id", "abc"),
        ("bits = :id", "101"),
        ("short = :id", "abc"),
        ("short LIKE :id || '%'", "ab"),
        ("instant = :id", "2026-05-04T08:00:00Z"),
        ("data @> :id", "{\"a\": 1}"),
        ("data ->> 'a' = :id", "1"),
        ("guid = :id::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("short = ANY(string_to_array(:id, ','))", "x,abc"),
        // Each use has a type of its own.
        ("price = :id OR short = :id", "12.50"),
        (":id::text IS NULL OR short = :id", "abc"),
    ] {
        let sql = format!("SELECT price FROM kinds WHERE {condition}");
        let found = ask(&shop, &sql, id).await.unwrap();
        assert!(matches!(found, Fact::Found { .. }), "{condition}: {found:?}");
    }
    for (condition, id) in [
        ("fixed = :id", "abcd"),
        ("short = :id", "abcdefgh"),
        ("bits = :id", "1011"),
    ] {
        let sql = format!("SELECT price FROM kinds WHERE {condition}");
        assert_eq!(
            ask(&shop, &sql, id).await.unwrap(),
            Fact::Absent,
            "{condition}: a value is not cut"
        );
    }
}

#[tokio::test]
async fn postgres_says_where_a_type_is_to_be_written() {
    let shop = Shop::open(Kind::Postgres).await;
    let reason = refused(&shop, "SELECT id FROM orders WHERE :id IS NULL", "x").await;
    assert!(reason.contains("as in :id::text"), "{reason}");
}

#[tokio::test]
async fn mariadb() {
    let row = the_row(
        Kind::MariaDb,
        "CREATE TABLE kinds (tiny TINYINT, flag BOOLEAN, stars TINYINT(1), whole INT, large BIGINT UNSIGNED, single FLOAT, dbl DOUBLE,
           price DECIMAL(10,2), exact DECIMAL(40,20), fixed CHAR(3), word VARCHAR(20), strict VARCHAR(20) COLLATE utf8mb4_bin,
           prose TEXT, day DATE, clock TIME, local DATETIME(3), instant TIMESTAMP NULL, yr YEAR, mood ENUM('sweet','sour'),
           some SET('a','b'), bits BIT(8), raw VARBINARY(4), big BLOB, data JSON, guid UUID, nothing INT);
         SET time_zone = '+02:00';
         INSERT INTO kinds VALUES (-7, true, 5, 2147483647, 18446744073709551615, 0.1, 2.5, 12.50, 12345678901234567890.5, 'x', 'word',
           'Ab', 'prose', '2026-05-04', '10:00:00', '2026-05-04 10:00:00.250', '2026-05-04 10:00:00', 2026, 'sweet', 'a,b', b'101',
           x'dead', x'beef', '{\"a\": [1, 2.5]}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL)",
    )
    .await;
    assert_eq!(
        row,
        json!({
            "tiny": -7, "flag": true, "stars": 5, "whole": 2_147_483_647, "large": u64::MAX, "single": 0.1, "dbl": 2.5,
            "price": 12.5, "exact": "12345678901234567890.50000000000000000000", "fixed": "x", "word": "word", "strict": "Ab",
            "prose": "prose", "day": "2026-05-04", "clock": "10:00:00", "local": "2026-05-04T10:00:00.250",
            "instant": "2026-05-04T08:00:00Z", "yr": 2026, "mood": "sweet", "some": "a,b", "bits": 5, "raw": "dead",
            "big": "beef", "data": "{\"a\": [1, 2.5]}", "guid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "nothing": null,
        })
    );
}

#[tokio::test]
async fn mariadb_names_a_column_that_cannot_be_read() {
    let shop = Shop::empty(Kind::MariaDb).await;
    shop.run("CREATE TABLE kinds (place POINT); INSERT INTO kinds VALUES (POINT(1, 2))")
        .await;
    let reason = refused(&shop, "SELECT place FROM kinds WHERE :id = 'x'", "x").await;
    assert!(reason.contains("`place`") && reason.contains("GEOMETRY"), "{reason}");
}

#[tokio::test]
async fn sqlite() {
    let row = the_row(
        Kind::Sqlite,
        "CREATE TABLE kinds (whole INTEGER, dbl REAL, price NUMERIC, flag BOOLEAN, word TEXT, raw BLOB, at TIMESTAMP, anything, gap);
         INSERT INTO kinds VALUES (9007199254740993, 2.5, 12.50, 1, 'word', x'deadbeef', '2026-05-04T10:00:00Z', 'x', NULL)",
    )
    .await;
    assert_eq!(
        row,
        json!({"whole": 9_007_199_254_740_993_i64, "dbl": 2.5, "price": 12.5, "flag": true, "word": "word", "raw": "deadbeef",
            "at": "2026-05-04T10:00:00Z", "anything": "x", "gap": null})
    );
}
