//! The adapter of databases, against each of them: what they say becomes the fact that it is, and nothing that a session says
//! can do anything.

mod bounds;
mod by_number;
mod columns;
mod hostile;
mod moments;
mod outages;
mod probe;
mod rows;
mod statements;

use aftercall::{
    domain::lookup::{Fact, Lookup},
    ports::{SystemOfRecord as _, UpstreamError},
};

use crate::support::shop::{Kind, Shop, by_id, config, records};

/// Makes a test per kind of database of each listed function `async fn name(shop: Shop)`; the shop has three orders.
macro_rules! on_each_kind {
    ($($name:ident,)+) => {
        on_each_kind!(@of sqlite Sqlite $($name,)+);
        on_each_kind!(@of postgres Postgres $($name,)+);
        on_each_kind!(@of mariadb MariaDb $($name,)+);
    };
    (@of $module:ident $kind:ident $($name:ident,)+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::support::shop::Shop::open($crate::support::shop::Kind::$kind).await).await;
                }
            )+
        }
    };
}

use on_each_kind;

/// What one statement answers to the id.
async fn ask(shop: &Shop, sql: &str, id: &str) -> Result<Fact, UpstreamError> {
    ask_for(shop, sql, &by_id("order", id)).await
}

async fn ask_for(shop: &Shop, sql: &str, lookup: &Lookup) -> Result<Fact, UpstreamError> {
    let records = records(&config(shop.url()), &[("order", sql, false)]);
    records.look_up(lookup).await.map(|answer| answer.fact)
}

/// The reason for which a statement has no answer.
async fn refused(shop: &Shop, sql: &str, id: &str) -> String {
    match ask(shop, sql, id).await {
        Ok(Fact::Unknown { reason }) => reason,
        other => panic!("{:?}: {sql} for {id}: {other:?}", shop.kind),
    }
}

/// What the doctor's look says of a statement, in the database's own words.
async fn diagnosed(url: String, sql: &str) -> String {
    let probe = records(&config(url), &[("order", sql, false)]).probe().await.unwrap();
    let notes: Vec<String> = probe.notes.into_iter().map(|note| note.text).collect();
    notes.join("\n")
}

/// Whether the three orders are as they were.
async fn is_unchanged(shop: &Shop) {
    let sql = "SELECT COUNT(*) AS orders, SUM(number) AS numbers FROM orders WHERE :id = 'x'";
    let found = ask(shop, sql, "x").await.unwrap();
    let Fact::Found { record } = found else {
        panic!("{found:?}")
    };
    assert_eq!(record["orders"], 3, "{:?}", shop.kind);
    assert_eq!(record["numbers"].to_string().trim_matches('"'), "36", "{:?}", shop.kind);
}

/// By kind.
fn of<T>(kind: Kind, sqlite: T, postgres: T, mariadb: T) -> T {
    match kind {
        Kind::Sqlite => sqlite,
        Kind::Postgres => postgres,
        Kind::MariaDb => mariadb,
    }
}
