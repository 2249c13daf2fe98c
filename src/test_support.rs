//! What unit tests share with the others.

use chrono::{DateTime, Utc};

pub(crate) use crate as lib;
use crate::{
    db::{Db, Location},
    sandbox::postgres::Cluster,
};

#[path = "../tests/support/database.rs"]
#[expect(dead_code, reason = "the other tests need more of it")]
pub(crate) mod database;

pub(crate) use self::database::{Engine, TestDb};

/// Makes a test per database of each listed function `async fn name(database: TestDb)`.
macro_rules! on_each_database {
    ($($name:ident,)+) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name($crate::test_support::TestDb::new($crate::test_support::Engine::Sqlite).await).await;
                }
            )+
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name($crate::test_support::TestDb::new($crate::test_support::Engine::Postgres).await).await;
                }
            )+
        }
    };
}

pub(crate) use on_each_database;

/// How a statement is to be run: by an index of each database, which may go by another name there.
pub(crate) struct Planned {
    pub(crate) steps: Vec<String>,
    /// In SQLite and in PostgreSQL.
    pub(crate) index: [&'static str; 2],
}

impl Planned {
    /// It goes by its index, and reads no table of these from end to end.
    #[track_caller]
    pub(crate) fn reads_by_index(&self, db: &Db, tables: &[&str]) {
        let Self { steps, index } = self;
        let index = index[usize::from(db.is_server())];
        assert!(steps.iter().any(|step| step.contains(index)), "{index}: {steps:#?}");
        for table in tables {
            let of_all = |step: &&String| {
                let whole = step.trim_start_matches([' ', '-', '>']).trim_start_matches("Parallel ");
                [format!("Seq Scan on {table}"), format!("SCAN {table}")]
                    .iter()
                    .any(|scan| whole == scan || whole.starts_with(&format!("{scan} ")))
            };
            assert_eq!(steps.iter().find(of_all), None, "{index}: {steps:#?}");
        }
    }
}

/// Rows for PostgreSQL, whose planner looks at how many there are: few are read from end to end, whatever indexes there are.
pub(crate) async fn fill(db: &Db, statements: &[&'static str]) {
    if !db.is_server() {
        return;
    }
    for statement in statements.iter().chain([&"ANALYZE"]) {
        let mut tx = db.begin().await.unwrap();
        tx.execute(*statement, &[]).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// A database on a server that sorts like a dictionary, `a` before `B`, as servers do that were not told otherwise. `None`:
/// this one knows no dictionary. It goes with the server.
pub(crate) async fn sorting_like_a_dictionary() -> Option<Db> {
    let cluster = Cluster::shared().unwrap_or_else(|error| panic!("{error}"));
    let made = "CREATE DATABASE dictionary TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
    cluster.psql("postgres", made).ok()?;
    Some(Db::open(&Location::postgres(cluster.url("dictionary"))).await.unwrap())
}

/// So many seconds after 1970.
pub(crate) fn second(number: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(number, 0).unwrap()
}
