//! What `doctor` is told.

use aftercall::ports::SystemOfRecord as _;

use super::{of, on_each_kind};
use crate::support::shop::{Kind, Shop, config, records};

on_each_kind! {
    a_reader_whose_statements_hold_is_all_well,
    who_may_write_and_what_does_not_hold_is_warned_of,
}

const GOOD: (&str, &str, bool) = (
    "order",
    "SELECT id FROM orders WHERE id = :id AND number = :number",
    false,
);

async fn a_reader_whose_statements_hold_is_all_well(shop: Shop) {
    let probe = records(&config(shop.reader().await), &[GOOD]).probe().await.unwrap();
    let notes: Vec<&str> = probe.notes.iter().map(|note| note.text.as_str()).collect();
    assert!(probe.notes.iter().all(|note| !note.warning), "{notes:?}");
    let server = of(shop.kind, "SQLite 3.", "PostgreSQL 1", "MariaDB 1");
    assert!(notes[0].contains(server), "{notes:?}");
    assert!(
        notes
            .concat()
            .contains("statements of the playbooks, number of these: 1"),
        "{notes:?}"
    );
    assert_eq!(probe.server_date.is_some(), shop.kind != Kind::Sqlite);
}

async fn who_may_write_and_what_does_not_hold_is_warned_of(shop: Shop) {
    let lookups = [
        ("a_table", "SELECT id FROM ordres WHERE id = :id", false),
        ("b_twins", "SELECT id, id FROM orders WHERE id = :id", false),
        GOOD,
    ];
    let probe = records(&config(shop.url()), &lookups).probe().await.unwrap();
    let warnings: Vec<&str> = probe
        .notes
        .iter()
        .filter(|note| note.warning)
        .map(|note| note.text.as_str())
        .collect();
    let expected = of(shop.kind, 2, 3, 3);
    assert_eq!(warnings.len(), expected, "{warnings:?}");
    if shop.kind != Kind::Sqlite {
        assert!(warnings[0].contains("may write"), "{warnings:?}");
    }
    let rest = warnings[expected - 2..].concat();
    assert!(rest.contains("`a_table`") && rest.contains("ordres"), "{rest}");
    assert!(rest.contains("`b_twins`") && rest.contains("two columns"), "{rest}");
}

#[tokio::test]
async fn a_role_that_may_write_to_a_table_is_told_which() {
    let shop = Shop::open(Kind::Postgres).await;
    let reader = shop.reader().await;
    shop.run(&format!("GRANT UPDATE ON orders TO reader_{}", shop.name()))
        .await;
    let probe = records(&config(reader), &[GOOD]).probe().await.unwrap();
    let warned = probe.notes.iter().find(|note| note.warning).unwrap();
    assert!(warned.text.contains("such as to orders"), "{}", warned.text);
}
