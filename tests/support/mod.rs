//! What tests share: a database per test, and waiting without sleeping.

pub(crate) mod bakery;
pub(crate) mod chaos_proxy;
pub(crate) mod child;
pub(crate) mod history;
pub(crate) mod langfuse;
pub(crate) mod practice;
pub(crate) mod state;
pub(crate) mod window;
pub(crate) mod world;

use std::{future::Future, time::Duration};

use aftercall::db::{Db, Location};

/// A database of its own for one test, gone afterwards.
pub(crate) struct TestDb {
    pub(crate) db: Db,
    _directory: Option<tempfile::TempDir>,
}

impl TestDb {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::sqlite(directory.path().join("aftercall.db")))
            .await
            .unwrap();
        Self {
            db,
            _directory: Some(directory),
        }
    }

    pub(crate) async fn postgres() -> Self {
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        let url = format!("postgres://postgres@127.0.0.1:54991/{name}");
        assert!(
            std::process::Command::new("psql")
                .args([
                    "-qh",
                    "127.0.0.1",
                    "-p",
                    "54991",
                    "-U",
                    "postgres",
                    "-c",
                    &format!("create database {name}")
                ])
                .status()
                .unwrap()
                .success()
        );
        Self {
            db: Db::open(&Location::postgres(url)).await.unwrap(),
            _directory: None,
        }
    }

    /// The same database as another process sees it.
    pub(crate) async fn seen_from_outside(&self) -> Db {
        self.db.reopen(Duration::from_secs(30)).await.unwrap()
    }
}

/// Makes a test per database of each listed function `async fn name(database: TestDb)`.
#[macro_export]
macro_rules! on_each_database {
    ($($name:ident,)+) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::support::TestDb::sqlite().await).await;
                }
            )+
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::support::TestDb::postgres().await).await;
                }
            )+
        }
    };
}

/// How long a condition may take to come true: long, since the machine may be busy; nobody waits for it in a good run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "it did not happen that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
