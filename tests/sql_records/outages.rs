//! A database that cannot do its part: an error that closes the gate, never an absent record, and no secret in its words.

use std::{net::TcpListener, time::Duration};

use aftercall::{
    domain::lookup::Fact,
    ports::{SystemOfRecord as _, UpstreamError, UpstreamReason},
};

use super::{of, on_each_kind};
use crate::support::{
    self,
    shop::{Kind, Shop, by_id, cluster, config, records},
    until,
};

on_each_kind! {
    a_connection_that_died_is_replaced,
    what_keeps_us_out_is_told_apart,
}

const BY_ID: [(&str, &str, bool); 1] = [("order", "SELECT id FROM orders WHERE id = :id", false)];

async fn down(url: &str) -> UpstreamError {
    down_within(url, Duration::from_secs(2)).await
}

async fn down_within(url: &str, timeout: Duration) -> UpstreamError {
    let mut config = config(url);
    config.timeout = timeout;
    let error = records(&config, &BY_ID)
        .look_up(&by_id("order", "o-1"))
        .await
        .unwrap_err();
    assert_eq!(error.upstream, "records:shop");
    assert!(!error.to_string().contains("very-secret"), "{error}");
    error
}

async fn a_connection_that_died_is_replaced(shop: Shop) {
    let records = records(&config(shop.url()), &BY_ID);
    let asks = async || records.look_up(&by_id("order", "o-1")).await.unwrap().fact;
    assert!(matches!(asks().await, Fact::Found { .. }));
    match shop.kind {
        Kind::Sqlite => {}
        Kind::Postgres => assert_eq!(cluster().kill_backends(shop.name()).unwrap(), 1),
        Kind::MariaDb => {
            let name = shop.name();
            let kill = format!(
                "BEGIN NOT ATOMIC DECLARE one INT; SELECT id INTO one FROM information_schema.processlist WHERE db = '{name}'; KILL one; END"
            );
            support::mariadb::shared().run("mysql", &kill).await;
        }
    }
    assert!(matches!(asks().await, Fact::Found { .. }));
}

async fn what_keeps_us_out_is_told_apart(shop: Shop) {
    let nobody = aftercall::sandbox::postgres::port::free().unwrap();
    let (scheme, password) = of(
        shop.kind,
        ("sqlite", ""),
        ("postgres", ":very-secret"),
        ("mysql", ":very-secret"),
    );
    if shop.kind == Kind::Sqlite {
        let missing = down(&format!("{}-missing", shop.url())).await;
        assert_eq!(missing.reason, UpstreamReason::Unreachable);
        assert!(missing.detail.contains("check the path"), "{missing}");
        let other = shop.file().with_file_name("notes.db");
        std::fs::write(&other, "These are my notes. ".repeat(200)).unwrap();
        let broken = down(&format!("sqlite://{}", other.display())).await;
        assert_eq!(broken.reason, UpstreamReason::BadAnswer);
        assert!(broken.detail.contains("no SQLite database"), "{broken}");
        return;
    }
    let refused = down(&format!("{scheme}://u{password}@127.0.0.1:{nobody}/db")).await;
    assert_eq!(refused.reason, UpstreamReason::Unreachable, "{refused}");
    let (user, rest) = shop
        .url()
        .split_once('@')
        .map(|(user, rest)| (user.to_owned(), rest.to_owned()))
        .unwrap();
    let unknown = down(&format!("{scheme}://stranger{password}@{rest}")).await;
    assert_eq!(unknown.reason, UpstreamReason::AuthInvalid, "{unknown}");
    let address = rest.split('/').next().unwrap();
    let nowhere = down(&format!("{user}{password}@{address}/no_such_database")).await;
    // Root has no password, so that MariaDB refuses the one given before it looks for the database.
    let expected = of(
        shop.kind,
        UpstreamReason::Unreachable,
        UpstreamReason::Unreachable,
        UpstreamReason::AuthInvalid,
    );
    assert_eq!(nowhere.reason, expected, "{nowhere}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    for scheme in ["postgres", "mysql"] {
        let mut config = config(format!("{scheme}://u:very-secret@{address}/db"));
        config.timeout = Duration::from_millis(200);
        let error = records(&config, &BY_ID)
            .look_up(&by_id("order", "o-1"))
            .await
            .unwrap_err();
        assert_eq!(error.reason, UpstreamReason::Unreachable);
        assert!(error.detail.contains("no connection within"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed() {
    let shop = Shop::open(Kind::Postgres).await;
    let mut config = config(shop.url());
    config.idle = Duration::from_millis(50);
    let records = records(&config, &BY_ID);
    records.look_up(&by_id("order", "o-1")).await.unwrap();
    let count = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'",
        shop.name()
    );
    until("the connection is closed", async || {
        cluster().psql("postgres", &count).unwrap() == "0"
    })
    .await;
    let found = records.look_up(&by_id("order", "o-1")).await.unwrap().fact;
    assert!(matches!(found, Fact::Found { .. }));
}

#[tokio::test]
async fn a_file_that_is_written_to_is_read_and_one_that_is_locked_is_waited_for() {
    let shop = Shop::open(Kind::Sqlite).await;
    shop.run("PRAGMA journal_mode = wal").await;
    let mut writer = shop.connect_to_file().await;
    sqlx::raw_sql("BEGIN IMMEDIATE; DELETE FROM orders")
        .execute(&mut writer)
        .await
        .unwrap();
    let records = records(&config(shop.url()), &BY_ID);
    let asked = by_id("order", "o-1");
    assert!(matches!(
        records.look_up(&asked).await.unwrap().fact,
        Fact::Found { .. }
    ));
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    assert_eq!(records.look_up(&asked).await.unwrap().fact, Fact::Absent);
    drop(records);

    let shop = Shop::open(Kind::Sqlite).await;
    let mut writer = shop.connect_to_file().await;
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut writer).await.unwrap();
    let locked = down_within(&shop.url(), Duration::from_secs(1)).await;
    assert_eq!(locked.reason, UpstreamReason::Unreachable);
    assert!(locked.detail.contains("locked"), "{locked}");
}
