//! Dates and times that a session says: no server guesses at them.

use aftercall::domain::lookup::Fact;

use super::{ask, refused};
use crate::support::shop::{Kind, Shop};

/// Of each of these there is a record at 2026-05-04, at 10:00 where it is a time; and one of today, tomorrow and never.
async fn calendar(kind: Kind) -> Shop {
    let shop = Shop::empty(kind).await;
    if kind == Kind::Postgres {
        shop.run(
            "CREATE DOMAIN workday AS date; CREATE DOMAIN shift AS workday;
             CREATE TABLE visits (day date, local timestamp, instant timestamptz, clock time, zoned timetz, shift shift,
               days date[], open daterange, word text, year int);
             INSERT INTO visits SELECT d, d + time '10:00', (d + time '10:00') AT TIME ZONE 'UTC', '10:00', '10:00+00', d, ARRAY[d],
               daterange(d, d + 1), d::text, 2026 FROM unnest(ARRAY[date '2026-05-04']) AS t(d);
             INSERT INTO visits (day, local, instant) VALUES ('infinity', 'infinity', 'infinity'), ('today', 'today', 'now'),
               ('tomorrow', 'tomorrow', 'tomorrow')",
        )
        .await;
    } else {
        shop.run(
            "CREATE TABLE visits (day DATE, local DATETIME, instant TIMESTAMP NULL, clock TIME, word VARCHAR(40), number BIGINT);
             INSERT INTO visits VALUES
               ('2026-05-04', '2026-05-04 10:00:00', '2026-05-04 10:00:00', '10:00:00', '26-05-04', 260504)",
        )
        .await;
    }
    shop
}

fn is_found(fact: &Fact) -> bool {
    matches!(fact, Fact::Found { .. })
}

#[tokio::test]
async fn postgres_is_sent_what_is_whole_by_iso_8601() {
    let shop = calendar(Kind::Postgres).await;
    // Its own conventions, by which the words below would be read.
    shop.run(&format!("ALTER DATABASE {} SET datestyle = 'SQL, DMY'", shop.name()))
        .await;
    for (condition, taken, not_there) in [
        ("day = :id", "2026-05-04", "2026-05-05"),
        ("local::date = :id", "2026-05-04", "2026-05-05"),
        ("word = :id::date::text", "2026-05-04", "2026-05-05"),
        ("local = :id", "2026-05-04T10:00", "2026-05-04T10:01"),
        (
            "local >= :id::date AND local < :id::date + 1",
            "2026-05-04",
            "2026-05-05",
        ),
        ("instant = :id", "2026-05-04T12:00:00+02:00", "2026-05-04T12:00:00Z"),
        ("clock = :id", "10:00:00", "10:01"),
        ("zoned = :id", "10:00Z", "10:01Z"),
        ("shift = :id::shift", "2026-05-04", "2026-05-05"),
        ("days @> ARRAY[:id]::date[]", "2026-05-04", "2026-05-05"),
        ("open @> daterange(:id, :id, '[]')", "2026-05-04", "2026-05-05"),
    ] {
        let sql = format!("SELECT year FROM visits WHERE {condition} AND year = 2026");
        let found = ask(&shop, &sql, taken).await.unwrap();
        assert!(
            is_found(&found) || condition.starts_with("word"),
            "{condition}: {found:?}"
        );
        assert_eq!(ask(&shop, &sql, not_there).await.unwrap(), Fact::Absent, "{condition}");
        for guessed in [
            "05/04/2026",
            "04/05/2026",
            "4.5.2026",
            "tomorrow",
            "today",
            "now",
            "infinity",
            "-infinity",
            "epoch",
            "26-05-04",
            "20260504",
            "May 4, 2026",
            "2026-5-4",
            "2026-05-04 BC",
            "2026-02-30",
            "allballs",
            "10",
            "",
            "2026-05-04T10:00:00 America/New_York",
        ] {
            let reason = refused(&shop, &sql, guessed).await;
            assert!(
                reason.starts_with("the value for `:id` is compared with ") && reason.contains("only"),
                "{condition}: {guessed}: {reason}"
            );
        }
    }
}

#[tokio::test]
async fn postgres_is_sent_no_zone_to_drop_and_none_to_add() {
    let shop = calendar(Kind::Postgres).await;
    for (column, id, says) in [
        (
            "day",
            "2026-05-04T10:00:00",
            "a date, which is taken as 2026-05-04 only",
        ),
        ("local", "2026-05-04T10:00:00Z", "without zone"),
        ("local", "2026-05-04T10:00:00+02:00", "without zone"),
        ("local", "2026-05-04", "`::date`"),
        ("instant", "2026-05-04T10:00:00", "2026-05-04T10:00:00Z"),
        ("instant", "2026-05-04", "`::date`"),
        ("clock", "10:00Z", "10:00:00 only"),
        ("zoned", "10:00", "with a zone"),
    ] {
        let reason = refused(&shop, &format!("SELECT year FROM visits WHERE {column} = :id"), id).await;
        assert!(reason.contains(says), "{column}: {reason}");
    }
}

#[tokio::test]
async fn postgres_reads_no_list_or_range_of_dates_out_of_one_value() {
    let shop = calendar(Kind::Postgres).await;
    for (condition, id) in [
        ("days = :id", "{2026-05-04}"),
        ("open = :id", "[2026-05-04,2026-05-05)"),
        ("ARRAY[open] = :id", "{\"[2026-05-04,2026-05-05)\"}"),
    ] {
        let sql = format!("SELECT year FROM visits WHERE {condition}");
        let reason = refused(&shop, &sql, id).await;
        assert!(reason.contains("daterange(:from, :to)"), "{condition}: {reason}");
    }
}

#[tokio::test]
async fn a_text_that_is_no_date_to_postgres_is_none_to_us() {
    let shop = calendar(Kind::Postgres).await;
    for (condition, id) in [
        ("word = :id", "tomorrow"),
        ("word LIKE :id", "26-05-04"),
        ("year = :id", "20260504"),
    ] {
        let sql = format!("SELECT year FROM visits WHERE {condition}");
        assert_eq!(ask(&shop, &sql, id).await.unwrap(), Fact::Absent, "{condition}");
    }
}

#[tokio::test]
async fn mariadb_is_not_let_guess_at_a_date() {
    let shop = calendar(Kind::MariaDb).await;
    for column in ["day", "local", "instant"] {
        let taken = if column == "day" {
            "2026-05-04"
        } else {
            "2026-05-04T10:00:00"
        };
        let sql = format!("SELECT number FROM visits WHERE {column} = :id");
        assert!(is_found(&ask(&shop, &sql, taken).await.unwrap()), "{column}");
        assert_eq!(ask(&shop, &sql, "2026-05-05").await.unwrap(), Fact::Absent, "{column}");
        // Of these it reads the one day or another without a word.
        for guessed in [
            "26-05-04",
            "26.5.4",
            "260504",
            "20260504",
            "2026-5-4",
            "2026/05/04",
            "2026-05-04 10",
            "10:05:04",
            "20260504100000",
            "260504100000",
            "26-05-04T10:00:00",
            "2026-05-04T10:00:00.0000001",
        ] {
            let reason = refused(&shop, &sql, guessed).await;
            let says = ["taken as 2026-05-04 or 2026-05-04T10:00:00", "was cut to fit"];
            assert!(
                says.iter().any(|says| reason.contains(says)),
                "{column}: {guessed}: {reason}"
            );
        }
        for cut in [
            "tomorrow",
            "now",
            "infinity",
            "05/04/2026",
            "5",
            "2026-05-04T10:00:00Z",
            "2026-05-04T10:00:00+02:00",
            "2026-02-30",
        ] {
            let reason = refused(&shop, &sql, cut).await;
            assert!(reason.contains("2026-05-04"), "{column}: {cut}: {reason}");
        }
    }
    let sql = "SELECT number FROM visits WHERE clock = :id";
    assert!(is_found(&ask(&shop, sql, "10:00").await.unwrap()));
    for guessed in ["100000", "0 10:00", "10:0", "00100000"] {
        let reason = refused(&shop, sql, guessed).await;
        assert!(
            reason.contains("10:00") || reason.contains("cut"),
            "{guessed}: {reason}"
        );
    }
}

#[tokio::test]
async fn a_text_or_a_number_that_looks_like_a_date_is_none_to_mariadb() {
    let shop = calendar(Kind::MariaDb).await;
    for (condition, id) in [
        ("word = :id", "26-05-04"),
        ("number = :id", "260504"),
        ("CAST(number AS CHAR) = :id", "260504"),
    ] {
        let sql = format!("SELECT number FROM visits WHERE {condition}");
        assert!(is_found(&ask(&shop, &sql, id).await.unwrap()), "{condition}");
    }
    // Where no row comes as far as the date, no date is read.
    let sql = "SELECT number FROM visits WHERE word = :id AND DATE(local) = '2026-05-04'";
    assert_eq!(ask(&shop, sql, "27-05-04").await.unwrap(), Fact::Absent);
}
