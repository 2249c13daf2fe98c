//! How many rows there are.

use aftercall::{
    adapters::sql_records::SqlRecordsConfig,
    domain::lookup::{Fact, Lookup},
    ports::SystemOfRecord as _,
};
use serde_json::json;

use super::{ask, ask_for, on_each_kind, refused};
use crate::support::shop::{Shop, by_id, config, records};

on_each_kind! {
    one_row_is_the_record_and_none_is_absent,
    several_rows_are_unknown_where_one_is_expected_and_a_list_where_a_list_is,
    parameters_are_the_lookups_id_and_keys,
    an_answer_has_bounds,
    columns_of_one_name_are_refused,
}

const BY_ID: &str = "SELECT id, cake, price FROM orders WHERE id = :id";

async fn one_row_is_the_record_and_none_is_absent(shop: Shop) {
    let found = ask(&shop, BY_ID, "o-1").await.unwrap();
    let record = json!({"id": "o-1", "cake": "plum", "price": 12.5});
    assert_eq!(found, Fact::Found { record });
    let found = ask(&shop, BY_ID, "o-3").await.unwrap();
    let record = json!({"id": "o-3", "cake": null, "price": null});
    assert_eq!(found, Fact::Found { record });
    assert_eq!(ask(&shop, BY_ID, "o-4").await.unwrap(), Fact::Absent);
}

async fn several_rows_are_unknown_where_one_is_expected_and_a_list_where_a_list_is(shop: Shop) {
    let sql = "SELECT id FROM orders WHERE number > 11 AND id <> :id ORDER BY id;";
    let reason = refused(&shop, sql, "x").await;
    assert_eq!(
        reason,
        "gave 2 rows where one record was expected: narrow the WHERE, or set `each`"
    );
    let records = records(&config(shop.url()), &[("order", sql, true)]);
    let list = records.look_up(&by_id("order", "x")).await.unwrap();
    let record = json!([{"id": "o-2"}, {"id": "o-3"}]);
    assert_eq!(list.fact, Fact::Found { record });
    assert_eq!(list.request, sql);
    let one = records.look_up(&by_id("order", "o-2")).await.unwrap();
    let record = json!([{"id": "o-3"}]);
    assert_eq!(one.fact, Fact::Found { record }, "a list of one is a list");
}

async fn parameters_are_the_lookups_id_and_keys(shop: Shop) {
    let sql = "-- one_order :nothing\nSELECT id, ':id' AS text FROM orders
               WHERE cake = :cake AND id = :id /* :no */ AND (:cake = cake)";
    let lookup = |keys: &[(&str, &str)]| Lookup {
        keys: keys
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..by_id("order", "o-2")
    };
    let found = ask_for(&shop, sql, &lookup(&[("cake", "nut"), ("session", "s-1")])).await;
    let record = json!({"id": "o-2", "text": ":id"});
    assert_eq!(found.unwrap(), Fact::Found { record });
    assert_eq!(
        ask_for(&shop, sql, &lookup(&[("cake", "plum")])).await.unwrap(),
        Fact::Absent
    );

    let records = records(&config(shop.url()), &[("order", sql, false)]);
    let unasked = records.look_up(&lookup(&[])).await.unwrap();
    assert_eq!(unasked.request, "not sent");
    let Fact::Unknown { reason } = unasked.fact else {
        panic!()
    };
    assert!(reason.contains("needs `:cake`"), "{reason}");
    let asked = records.look_up(&lookup(&[("cake", "nut")])).await.unwrap();
    assert_eq!(asked.request, "-- one_order :nothing");
    let unknown = records.look_up(&by_id("bread", "b")).await.unwrap();
    assert!(matches!(unknown.fact, Fact::Unknown { .. }));
}

async fn an_answer_has_bounds(shop: Shop) {
    let pairs = "SELECT a.id AS one, b.id AS other FROM orders a, orders b WHERE :id = 'x'";
    let mut small = config(shop.url());
    small.most_rows = 8;
    let records_of = |config: &SqlRecordsConfig| records(config, &[("order", pairs, true)]);
    let reason = |fact| match fact {
        Fact::Unknown { reason } => reason,
        other => panic!("{other:?}"),
    };
    let answer = records_of(&small).look_up(&by_id("order", "x")).await.unwrap();
    assert_eq!(reason(answer.fact), "gave more than 8 rows: narrow the WHERE");
    small.most_rows = 9;
    let answer = records_of(&small).look_up(&by_id("order", "x")).await.unwrap();
    assert!(matches!(answer.fact, Fact::Found { .. }));
    small.most_bytes = 60;
    let answer = records_of(&small).look_up(&by_id("order", "x")).await.unwrap();
    let said = reason(answer.fact);
    assert!(said.contains("larger than 60 bytes"), "{said}");

    // One value that is too large by itself.
    let wide = records(&small, &[("order", "SELECT :id AS id", false)]);
    let answer = wide.look_up(&by_id("order", &"x".repeat(100))).await.unwrap();
    let said = reason(answer.fact);
    assert!(said.contains("larger than 60 bytes"), "{said}");
    let answer = wide.look_up(&by_id("order", "x")).await.unwrap();
    assert!(
        matches!(answer.fact, Fact::Found { .. }),
        "the next question is answered"
    );
}

async fn columns_of_one_name_are_refused(shop: Shop) {
    let sql = "SELECT a.id, b.id FROM orders a, orders b WHERE a.id = :id";
    let reason = refused(&shop, sql, "o-1").await;
    assert!(reason.contains("two columns are called `id`"), "{reason}");
}
