//! Values that are made to be more than values.

use aftercall::domain::lookup::Fact;

use super::{ask, is_unchanged, of, on_each_kind, refused};
use crate::support::shop::{Kind, Shop};

on_each_kind! {
    a_value_is_never_part_of_the_statement,
    a_value_that_is_no_number_finds_no_number,
    a_statement_that_writes_is_refused_by_the_database,
}

async fn a_value_is_never_part_of_the_statement(shop: Shop) {
    let large = "x".repeat(1_000_000);
    for id in [
        "'; DROP TABLE orders; --",
        "x' OR '1'='1",
        "\\' OR 1=1 -- ",
        "\" OR \"\"=\"",
        "$1",
        "?",
        ":id",
        "$$; DELETE FROM orders; $$",
        "1); DELETE FROM orders; --",
        "/*",
        "%",
        "_-1",
        "",
        "\u{202e}\u{feff}Zo\u{eb} \u{1f370}",
        "o-1\n",
        &large,
    ] {
        let sql = "SELECT id FROM orders WHERE id = :id OR cake = :id";
        let shown = &id[..id.len().min(40)];
        assert_eq!(
            ask(&shop, sql, id).await.unwrap(),
            Fact::Absent,
            "{:?}: {shown:?}",
            shop.kind
        );
        let echoed = ask(&shop, "SELECT :id AS said FROM orders WHERE id = 'o-1'", id)
            .await
            .unwrap();
        let Fact::Found { record } = echoed else {
            panic!("{shown:?}: {echoed:?}")
        };
        assert_eq!(record["said"], id, "{:?}: {shown:?}", shop.kind);
    }
    let reason = refused(&shop, "SELECT id FROM orders WHERE id = :id", "o-1\0").await;
    assert!(reason.contains("U+0000") && !reason.contains("o-1"), "{reason}");
    is_unchanged(&shop).await;
}

async fn a_value_that_is_no_number_finds_no_number(shop: Shop) {
    let sql = "SELECT id FROM orders WHERE number = :id";
    let found = ask(&shop, sql, "12").await.unwrap();
    assert!(matches!(found, Fact::Found { .. }), "{:?}: {found:?}", shop.kind);
    assert_eq!(ask(&shop, sql, "99").await.unwrap(), Fact::Absent);
    for id in ["12abc", "12; DROP TABLE orders", "twelve", "", "12 OR 1=1"] {
        match ask(&shop, sql, id).await.unwrap() {
            Fact::Absent => assert_eq!(shop.kind, Kind::Sqlite, "{id}"),
            Fact::Unknown { reason } => {
                let says = of(shop.kind, "", "does not fit the type", "was cut to fit");
                assert!(reason.contains(says) && reason.contains("compare as text"), "{reason}");
                assert!(!reason.contains("12abc") && !reason.contains("twelve"), "{reason}");
            }
            found @ Fact::Found { .. } => panic!("{:?}: {id} is no number: {found:?}", shop.kind),
        }
    }
    let as_text = of(
        shop.kind,
        "SELECT id FROM orders WHERE CAST(number AS TEXT) = :id",
        "SELECT id FROM orders WHERE number::text = :id",
        "SELECT id FROM orders WHERE CAST(number AS CHAR) = :id",
    );
    assert_eq!(ask(&shop, as_text, "12abc").await.unwrap(), Fact::Absent);
    assert!(matches!(ask(&shop, as_text, "12").await.unwrap(), Fact::Found { .. }));
}

async fn a_statement_that_writes_is_refused_by_the_database(shop: Shop) {
    match shop.kind {
        Kind::Sqlite => {}
        Kind::Postgres => {
            shop.run("CREATE FUNCTION gone() RETURNS bigint LANGUAGE sql AS 'DELETE FROM orders; SELECT 1::bigint'")
                .await;
        }
        Kind::MariaDb => {
            shop.run("CREATE FUNCTION gone() RETURNS INT BEGIN DELETE FROM orders; RETURN 1; END")
                .await;
        }
    }
    let statements: &[&str] = of(
        shop.kind,
        &[
            "WITH x AS (SELECT :id AS id) DELETE FROM orders WHERE id IN (SELECT id FROM x)",
            "WITH x AS (SELECT :id AS id) UPDATE orders SET cake = 'nut' WHERE id IN (SELECT id FROM x)",
        ],
        &[
            "SELECT gone() AS gone WHERE :id = 'o-1'",
            "WITH x AS (SELECT 1) SELECT gone() FROM x WHERE :id = 'o-1'",
        ],
        &["SELECT gone() AS gone FROM orders WHERE id = :id"],
    );
    for sql in statements {
        let reason = refused(&shop, sql, "o-1").await;
        assert!(reason.contains("the statement writes"), "{sql}: {reason}");
        is_unchanged(&shop).await;
    }
    if shop.kind == Kind::Postgres {
        let sql = "WITH gone AS (DELETE FROM orders WHERE id = :id RETURNING id) SELECT id FROM gone";
        let reason = refused(&shop, sql, "o-1").await;
        assert!(reason.contains("0A000"), "{reason}");
        is_unchanged(&shop).await;
    }
}

#[tokio::test]
async fn letters_that_a_column_of_mariadb_cannot_hold_are_said_not_to_fit() {
    let shop = Shop::empty(Kind::MariaDb).await;
    shop.run("CREATE TABLE old (id VARCHAR(40) CHARACTER SET latin1); INSERT INTO old VALUES ('Zo\u{eb}')")
        .await;
    let sql = "SELECT id FROM old WHERE id = :id";
    let found = ask(&shop, sql, "Zo\u{eb}").await.unwrap();
    assert!(matches!(found, Fact::Found { .. }), "{found:?}");
    let reason = refused(&shop, sql, "\u{1f370}").await;
    assert!(reason.contains("does not fit"), "{reason}");
}
