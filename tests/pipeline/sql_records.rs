//! Sessions whose orders are kept in a database: from the file of observations to the verdict.

use serde_json::json;

use crate::{
    on_each_engine,
    support::{
        bakery::{Session, one_order},
        shop::{Kind, Shop, cluster},
        state::{broken_promises, count, document, verdict, waiting},
        until,
        world::{Plan, World, idle},
    },
};

on_each_engine! {
    sessions_end_by_what_sqlite_holds,
    sessions_end_by_what_postgres_holds,
    sessions_end_by_what_mariadb_holds,
    a_list_of_rows_is_searched_for_the_order,
    a_database_that_is_not_there_is_waited_for,
}

const BY_ID: &str = "SELECT id, cake, state FROM orders WHERE id = :id AND session = :session";

/// The bakery, whose kitchen keeps its orders in a database.
fn bakery(lookup: &str) -> String {
    let playbook = include_str!("../support/bakery.toml");
    let by_path = "[record.lookup]\npath = \"/{{ session }}/orders/{{ id }}\"\n";
    assert!(playbook.contains(by_path));
    playbook.replace(by_path, lookup)
}

fn by_id(sql: &str) -> String {
    bakery(&format!(
        "cancelled = \"record.state == 'cancelled'\"\n[record.lookup]\nsql = \"\"\"{sql}\"\"\"\n"
    ))
}

/// Ordered, and the tool gave the order this id.
fn ordered_as(session: &str, id: &str) -> Session {
    Session::new(session)
        .turn("I would like to order a plum cake.", "Your plum cake is ordered.")
        .call(
            "order_cake",
            json!({"action": "place", "cake": "plum"}),
            json!({"orderId": id}),
        )
}

async fn kitchen(kind: Kind) -> Shop {
    let shop = Shop::empty(kind).await;
    shop.run(
        "CREATE TABLE orders (id VARCHAR(40), session VARCHAR(40), cake VARCHAR(40), state VARCHAR(20));
         INSERT INTO orders VALUES ('o-s-there', 's-there', 'plum', 'new'), ('o-s-other', 's-other', 'nut', 'new'),
           ('o-s-cancelled', 's-cancelled', 'plum', 'cancelled'), ('o-s-twice', 's-twice', 'plum', 'new'),
           ('o-s-twice', 's-twice', 'nut', 'new'), ('o-s-theirs', 's-there', 'plum', 'new')",
    )
    .await;
    shop
}

async fn world(shop: &Shop, playbook: String, sessions: &[Session]) -> World {
    Plan::of(sessions)
        .files(&[("bakery.toml", &playbook)])
        .kept_in("kitchen", &shop.url())
        .start()
        .await
}

async fn sessions_end_by_what_the_database_holds(kind: Kind) {
    let shop = kitchen(kind).await;
    let mut sessions: Vec<Session> = ["s-there", "s-gone", "s-other", "s-cancelled", "s-twice", "s-theirs"]
        .into_iter()
        .map(one_order)
        .collect();
    let hostile = [
        "'; DROP TABLE orders; --",
        "o-s-there' OR '1'='1",
        "o-s-there\0",
        "$1 ?1 :id",
    ];
    for (number, id) in hostile.into_iter().enumerate() {
        sessions.push(ordered_as(&format!("s-hostile-{number}"), id));
    }
    sessions.push(ordered_as("s-large", &"x".repeat(1_000_000)));
    let world = world(&shop, by_id(BY_ID), &sessions).await;
    let db = world.db().await;
    world.run_until_idle(&db).await;

    for (session, status, reason) in [
        ("s-there", "pass", "all_confirmed"),
        ("s-gone", "fail", "said_done_not_there"),
        ("s-other", "fail", "fields_wrong"),
        ("s-cancelled", "fail", "said_done_not_there"),
        ("s-theirs", "fail", "said_done_not_there"),
        ("s-hostile-0", "fail", "said_done_not_there"),
        ("s-hostile-1", "fail", "said_done_not_there"),
        ("s-hostile-3", "fail", "said_done_not_there"),
    ] {
        assert_eq!(
            verdict(&db, session).await,
            (status.to_owned(), reason.to_owned()),
            "{kind:?}: {session}: {}",
            document(&db, session).await
        );
    }
    let twice = document(&db, "s-twice").await;
    assert_eq!(twice["status"], "error", "{kind:?}: {twice}");
    assert!(twice.to_string().contains("gave 2 rows"), "{kind:?}: {twice}");
    let nul = document(&db, "s-hostile-2").await;
    assert_ne!(nul["status"], "pass", "{kind:?}: {nul}");
    assert!(
        nul.to_string().contains("U+0000, which is no text to a database"),
        "{kind:?}: {nul}"
    );
    assert_ne!(verdict(&db, "s-large").await.0, "pass");
    let requests = "SELECT COUNT(*) AS n FROM lookups WHERE request NOT IN
        ('SELECT id, cake, state FROM orders WHERE id = :id AND session = :session', 'not sent')";
    assert_eq!(count(&db, requests).await, 0, "what was asked is kept without values");
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    shop.run("INSERT INTO orders VALUES ('still', 'there', NULL, NULL)")
        .await;
}

async fn sessions_end_by_what_sqlite_holds() {
    sessions_end_by_what_the_database_holds(Kind::Sqlite).await;
}

async fn sessions_end_by_what_postgres_holds() {
    sessions_end_by_what_the_database_holds(Kind::Postgres).await;
}

async fn sessions_end_by_what_mariadb_holds() {
    sessions_end_by_what_the_database_holds(Kind::MariaDb).await;
}

async fn a_list_of_rows_is_searched_for_the_order() {
    let shop = kitchen(Kind::Sqlite).await;
    let playbook = bakery(
        "each = \"$[*]\"\n[record.lookup]\nsql = \"SELECT id, cake FROM orders WHERE session = :session ORDER BY id\"\n",
    );
    let sessions = ["s-there", "s-gone", "s-theirs"].map(one_order);
    let world = world(&shop, playbook, &sessions).await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_eq!(verdict(&db, "s-there").await.0, "pass");
    assert_eq!(verdict(&db, "s-gone").await.0, "fail");
    assert_eq!(verdict(&db, "s-theirs").await.0, "fail");
}

async fn a_database_that_is_not_there_is_waited_for() {
    let shop = kitchen(Kind::Postgres).await;
    let later = format!("later_{}", shop.name());
    let world = Plan::of(&["s-there"].map(one_order))
        .files(&[("bakery.toml", &by_id(BY_ID))])
        .kept_in("kitchen", &cluster().url(&later))
        .start()
        .await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("the session waits for the kitchen", async || {
        let waits = waiting(&db).await;
        waits.iter().any(|(_, why)| {
            why.starts_with("records:kitchen is not available (unreachable)") && why.contains("no database of the name")
        })
    })
    .await;
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await,
        0,
        "an outage is no verdict"
    );
    cluster().create_database_from(shop.name(), &later).unwrap();
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(verdict(&db, "s-there").await.0, "pass");
    assert_eq!(
        count(&db, "SELECT MAX(attempt) AS n FROM jobs").await,
        1,
        "no attempt is burnt"
    );
}
