//! What tests share: a database per test, and waiting without sleeping.

pub(crate) mod bakery;
pub(crate) mod chaos_proxy;
pub(crate) mod child;
pub(crate) mod compose;
pub(crate) mod database;
pub(crate) mod engine;
pub(crate) mod fhir;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod langfuse;
pub(crate) mod mariadb;
pub(crate) mod nexhealth;
pub(crate) mod otlp;
pub(crate) mod plans;
pub(crate) mod practice;
pub(crate) mod shop;
pub(crate) mod state;
pub(crate) mod window;
pub(crate) mod world;

use std::{future::Future, time::Duration};

pub(crate) use aftercall as lib;

pub(crate) use self::database::{Engine, TestDb};

/// Makes a test per database of each listed function `async fn name(database: TestDb)`.
#[macro_export]
macro_rules! on_each_database {
    ($($name:ident,)+) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::support::TestDb::new($crate::support::Engine::Sqlite).await).await;
                }
            )+
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::support::TestDb::new($crate::support::Engine::Postgres).await).await;
                }
            )+
        }
    };
}

/// How long a condition may take to come true: long, since the machine may be busy; nobody waits for it in a good run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Whether tests take their real time and size (`scripts/soak`).
pub(crate) fn is_soak() -> bool {
    std::env::var_os("AFTERCALL_SOAK").is_some()
}

/// Waits until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl FnMut() -> F) {
    let patience = if is_soak() { 4 * PATIENCE } else { PATIENCE };
    until_within(patience, what, holds).await;
}

/// The same with a patience of one's own.
pub(crate) async fn until_within<F: Future<Output = bool>>(
    patience: Duration,
    what: &str,
    mut holds: impl FnMut() -> F,
) {
    let deadline = tokio::time::Instant::now() + patience;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "it did not happen that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
