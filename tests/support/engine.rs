//! On which kind of database a test's world lives: the tests of the whole pipeline run on each.
//!
//! The kind belongs to the test's task: whatever makes a world in it reads it from there. Who says nothing gets a file.

use std::{future::Future, path::Path};

use aftercall::db::Location;

use super::database::{Engine, Place};

tokio::task_local! {
    static ENGINE: Engine;
}

/// Makes a test per database of each listed function `async fn name()`.
#[macro_export]
macro_rules! on_each_engine {
    ($($name:ident,)+) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::support::engine::on($crate::support::Engine::Sqlite, super::$name()).await;
                }
            )+
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::support::engine::on($crate::support::Engine::Postgres, super::$name()).await;
                }
            )+
        }
    };
}

/// The same of functions `fn name()`, which run the program and wait for it.
#[macro_export]
macro_rules! program_on_each_engine {
    ($($name:ident,)+) => {
        mod sqlite {
            $(
                #[test]
                fn $name() {
                    $crate::support::engine::program_on($crate::support::Engine::Sqlite, super::$name);
                }
            )+
        }

        mod postgres {
            $(
                #[test]
                fn $name() {
                    $crate::support::engine::program_on($crate::support::Engine::Postgres, super::$name);
                }
            )+
        }
    };
}

/// Runs a test whose worlds live on such a database.
pub(crate) async fn on(engine: Engine, test: impl Future<Output = ()>) {
    // On the heap: the tests' futures are large.
    ENGINE.scope(engine, Box::pin(test)).await;
}

/// The same for one that does not wait.
pub(crate) fn program_on(engine: Engine, test: impl FnOnce()) {
    ENGINE.sync_scope(engine, test);
}

/// The kind of the running test.
pub(crate) fn engine() -> Engine {
    ENGINE.try_with(|engine| *engine).unwrap_or(Engine::Sqlite)
}

/// A world's database: `aftercall.db` in its folder, or one on the server that the tests share.
pub(crate) struct Home {
    /// The setting in `[database]` that names it.
    pub(crate) key: &'static str,
    /// The file or the address: what `--db` takes as well.
    pub(crate) named: String,
    _place: Option<Place>,
}

impl Home {
    pub(crate) async fn of(folder: &Path) -> Self {
        match engine() {
            Engine::Sqlite => Self::empty(folder),
            Engine::Postgres => Self::on_server(Place::new(Engine::Postgres).await),
        }
    }

    /// Where nobody has been yet.
    pub(crate) fn empty(folder: &Path) -> Self {
        match engine() {
            Engine::Sqlite => Self {
                key: "path",
                named: folder.join("aftercall.db").to_str().unwrap().to_owned(),
                _place: None,
            },
            Engine::Postgres => Self::on_server(Place::empty(Engine::Postgres)),
        }
    }

    fn on_server(place: Place) -> Self {
        let Location::Postgres(server) = &place.location else {
            unreachable!("it was asked for a server")
        };
        Self {
            key: "url",
            named: server.url.clone(),
            _place: Some(place),
        }
    }
}
