//! A database of its own for one test, of either kind. Unit tests include this file as well.

use std::time::Duration;

use super::lib::{
    db::{Db, DbError, Location},
    sandbox::postgres::{Cluster, ClusterError, FreshDatabase},
};

/// Which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Gone afterwards.
pub(crate) struct TestDb {
    pub(crate) db: Db,
    place: Place,
}

/// Where a database is that is still to be made.
pub(crate) struct Place {
    pub(crate) location: Location,
    kept: Kept,
}

#[expect(dead_code, reason = "held until it is dropped")]
enum Kept {
    File(tempfile::TempDir),
    Server(FreshDatabase<'static>),
}

/// What goes wrong while the template is made.
#[derive(Debug)]
#[expect(dead_code, reason = "printed by the panic")]
enum Failed {
    Cluster(ClusterError),
    Db(DbError),
}

impl From<ClusterError> for Failed {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}

/// With all migrations applied, to be copied.
const TEMPLATE: &str = "migrated";

impl Place {
    /// With all tables, where they can be copied.
    pub(crate) async fn new(engine: Engine) -> Self {
        if engine == Engine::Sqlite {
            return Self::empty(engine);
        }
        let filled = cluster().template(TEMPLATE, async |url| {
            let db = Db::open(&Location::postgres(url)).await.map_err(Failed::Db)?;
            db.close().await;
            Ok::<_, Failed>(())
        });
        filled.await.unwrap();
        Self::on_server(cluster().fresh_database_from(TEMPLATE).unwrap())
    }

    /// Where nobody has been yet.
    pub(crate) fn empty(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let directory = tempfile::tempdir().unwrap();
                Self {
                    location: Location::sqlite(directory.path().join("aftercall.db")),
                    kept: Kept::File(directory),
                }
            }
            Engine::Postgres => Self::on_server(cluster().fresh_database().unwrap()),
        }
    }

    fn on_server(database: FreshDatabase<'static>) -> Self {
        Self {
            location: Location::postgres(database.url()),
            kept: Kept::Server(database),
        }
    }
}

fn cluster() -> &'static Cluster {
    Cluster::shared().unwrap_or_else(|error| panic!("{error}"))
}

impl TestDb {
    pub(crate) async fn new(engine: Engine) -> Self {
        let place = Place::new(engine).await;
        Self {
            db: Db::open(&place.location).await.unwrap(),
            place,
        }
    }

    /// Ends every session that the server has on this database.
    pub(crate) fn kill_sessions(&self) {
        if let Kept::Server(database) = &self.place.kept {
            let cluster = Cluster::shared().unwrap_or_else(|error| panic!("{error}"));
            cluster.kill_backends(database.name()).unwrap();
        }
    }

    /// The same database as another process sees it.
    pub(crate) async fn seen_from_outside(&self) -> Db {
        self.db.reopen(Duration::from_secs(30)).await.unwrap()
    }
}
