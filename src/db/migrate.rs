//! Brings the schema up to date. Rules for new migrations: `migrations/README.md`.

use std::collections::BTreeMap;

use sqlx::{
    PgConnection, SqliteConnection,
    migrate::{MigrateError, Migrator},
};

use super::{Db, DbError, DbErrorKind, Location, postgres::PostgresDb};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// The schema version that this binary knows: the same for every database.
pub fn latest_version() -> i64 {
    SQLITE
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default()
}

/// The schema version of the database.
///
/// # Errors
/// When the database cannot answer.
pub async fn applied_version(db: &Db) -> Result<i64, DbError> {
    let row = db
        .fetch_optional(
            "-- applied_version\nSELECT COALESCE(MAX(version), 0) AS version FROM _sqlx_migrations",
            &[],
        )
        .await?;
    row.map_or(Ok(0), |row| row.get("version"))
}

/// Whether a database of a newer version says that this one may still work on it.
pub async fn may_work_beside(db: &Db) -> bool {
    let oldest = db
        .fetch_optional("-- oldest_beside\nSELECT oldest_beside FROM schema_info", &[])
        .await;
    let oldest = oldest.ok().flatten().and_then(|row| row.get("oldest_beside").ok());
    oldest.is_some_and(|oldest: i64| oldest <= latest_version())
}

pub(super) async fn run_sqlite(connection: &mut SqliteConnection, location: &Location) -> Result<(), DbError> {
    let applied = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await;
    let oldest = sqlx::query_scalar("SELECT oldest_beside FROM schema_info")
        .fetch_one(&mut *connection)
        .await;
    if !is_to_migrate(applied.ok().flatten(), oldest.ok(), location)? {
        return Ok(());
    }
    loop {
        let before = version(connection).await;
        let Err(error) = SQLITE.run(&mut *connection).await else {
            return Ok(());
        };
        // Another process did the same at the same time, and what it finished is not to be done again: SQLite has no lock
        // that spans all migrations.
        if version(connection).await <= before {
            return Err(describe(error, location));
        }
    }
}

/// On a connection of its own: the lock that keeps two processes from doing it at once belongs to the connection.
pub(super) async fn run_postgres(db: &PostgresDb, location: &Location) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    if is_up_to_date(&mut connection).await {
        // A role that may not make tables can work with what is there.
        return Ok(());
    }
    let applied = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(&mut connection)
        .await;
    let oldest = sqlx::query_scalar("SELECT oldest_beside FROM schema_info")
        .fetch_one(&mut connection)
        .await;
    if is_to_migrate(applied.ok().flatten(), oldest.ok(), location)? {
        POSTGRES
            .run(&mut connection)
            .await
            .map_err(|error| describe(error, location))?;
    }
    Ok(())
}

/// Whether exactly the migrations of this binary were applied.
async fn is_up_to_date(connection: &mut PgConnection) -> bool {
    let applied: Result<Vec<(i64, Vec<u8>)>, _> =
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(connection)
            .await;
    let Ok(applied) = applied else { return false };
    let known: BTreeMap<i64, Vec<u8>> = POSTGRES
        .iter()
        .map(|migration| (migration.version, migration.checksum.to_vec()))
        .collect();
    applied.into_iter().collect::<BTreeMap<_, _>>() == known
}

/// During a deployment processes of two versions work side by side, and one of the older may start again: a schema that is
/// newer is no reason to refuse as long as it says that ours may work beside it.
fn is_to_migrate(applied: Option<i64>, oldest_beside: Option<i64>, location: &Location) -> Result<bool, DbError> {
    let latest = latest_version();
    let Some(applied) = applied.filter(|applied| *applied > latest) else {
        return Ok(true);
    };
    if oldest_beside.is_some_and(|oldest| oldest <= latest) {
        tracing::warn!(
            schema = applied,
            known = latest,
            "the database is of a newer version that this one may work beside"
        );
        return Ok(false);
    }
    Err(newer(applied, location))
}

/// The version applied so far; 0 before the first.
async fn version(connection: &mut SqliteConnection) -> i64 {
    let version = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await;
    version.ok().flatten().unwrap_or_default()
}

fn newer(version: i64, location: &Location) -> DbError {
    DbError::new(
        DbErrorKind::Newer,
        format!(
            "the database {location} is of a newer version (schema {version}, this aftercall knows up to {}): nothing was changed; \
             run the newer aftercall, or choose another database with --db",
            latest_version()
        ),
    )
}

fn describe(error: MigrateError, location: &Location) -> DbError {
    match error {
        MigrateError::VersionMissing(version) => newer(version, location),
        MigrateError::Execute(error) => DbError::from_sqlx("-- migrate", &error),
        MigrateError::ExecuteMigration(error, version) => {
            let error = DbError::from_sqlx("-- migrate", &error);
            DbError::new(error.kind, format!("migration {version} on {location}: {error}"))
        }
        other => DbError::other(format!("cannot bring the schema of {location} up to date: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::Connection as _;

    use super::*;
    use crate::{
        db::Location,
        params,
        test_support::{
            database::{Engine, Place},
            second,
        },
    };

    fn until_version_2(all: &Migrator) -> Migrator {
        let before = all.iter().filter(|migration| migration.version <= 2).cloned().collect();
        Migrator {
            migrations: Cow::Owned(before),
            ..Migrator::DEFAULT
        }
    }

    /// A database as the version before the gates left it, with a row in each table that they change.
    #[tokio::test]
    async fn jobs_of_an_older_version_go_on_behind_gates() {
        let place = Place::empty(Engine::Sqlite);
        let Location::Sqlite { path, .. } = &place.location else {
            unreachable!("it was asked for a file")
        };
        let mut old = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display()))
            .await
            .unwrap();
        until_version_2(&SQLITE).run(&mut old).await.unwrap();
        for row in [
            "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at)
             VALUES ('a', 'q', 'q', '{}', 'scheduled', 7, 8, 1), ('b', 'q', 'q', '{}', 'available', 1, 8, 1)",
            "INSERT INTO gates (key, state, updated_at) VALUES ('source:calls', 'open', 1)",
            "INSERT INTO job_attempts (lease, job_id, queue, limit_key, slot, attempt, worker, started_at, finished_at)
             VALUES ('x', 'a', 'q', 'q', 0, 1, 'w', 1000000, 3000000), ('y', 'b', 'q', 'q', 0, 1, 'w', 1000000, NULL)",
        ] {
            sqlx::query(row).execute(&mut old).await.unwrap();
        }
        old.close().await.unwrap();
        go_on_behind_gates(&place.location).await;
    }

    #[tokio::test]
    async fn jobs_of_an_older_version_go_on_behind_gates_on_a_server() {
        let place = Place::empty(Engine::Postgres);
        let Location::Postgres(server) = &place.location else {
            unreachable!("it was asked for a server")
        };
        let mut old = PgConnection::connect(&server.url).await.unwrap();
        until_version_2(&POSTGRES).run(&mut old).await.unwrap();
        for row in [
            "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at)
             VALUES (gen_random_uuid(), 'q', 'q', '{}', 'scheduled', to_timestamp(7), 8, to_timestamp(1)),
                    (gen_random_uuid(), 'q', 'q', '{}', 'available', to_timestamp(1), 8, to_timestamp(1))",
            "INSERT INTO gates (key, state, updated_at) VALUES ('source:calls', 'open', to_timestamp(1))",
            "INSERT INTO job_attempts (lease, job_id, queue, limit_key, slot, attempt, worker, started_at, finished_at)
             VALUES (gen_random_uuid(), gen_random_uuid(), 'q', 'q', 0, 1, 'w', to_timestamp(1), to_timestamp(3)),
                    (gen_random_uuid(), gen_random_uuid(), 'q', 'q', 0, 1, 'w', to_timestamp(1), NULL)",
        ] {
            sqlx::query(row).execute(&mut old).await.unwrap();
        }
        old.close().await.unwrap();
        go_on_behind_gates(&place.location).await;
    }

    async fn go_on_behind_gates(location: &Location) {
        let db = Db::open(location).await.unwrap();
        assert_eq!(applied_version(&db).await.unwrap(), latest_version());
        let rows = db
            .fetch_all(
                "SELECT outages, gate, held_by FROM jobs WHERE run_at < $1",
                &params![second(8)],
            )
            .await
            .unwrap();
        for row in &rows {
            assert_eq!(row.get::<u32>("outages").unwrap(), 0);
            assert_eq!(row.get::<Option<String>>("gate").unwrap(), None);
            assert_eq!(row.get::<Option<String>>("held_by").unwrap(), None);
        }
        assert_eq!(rows.len(), 2);
        let gate = db
            .fetch_optional("SELECT releasing, probe_job FROM gates", &[])
            .await
            .unwrap()
            .unwrap();
        assert!(!gate.get::<bool>("releasing").unwrap());
        // They are counted from here on.
        let counted: Vec<(String, u64)> = db
            .fetch_all("SELECT state, n FROM queue_depths ORDER BY state", &[])
            .await
            .unwrap()
            .iter()
            .map(|row| (row.get("state").unwrap(), row.get("n").unwrap()))
            .collect();
        assert_eq!(counted, [("available".to_owned(), 1), ("scheduled".to_owned(), 1)]);
        // What had ended says so; a run that had not is told by its job's row.
        for row in db
            .fetch_all("SELECT outcome, duration_us FROM job_attempts", &[])
            .await
            .unwrap()
        {
            assert_eq!(row.get::<String>("outcome").unwrap(), "rescued");
            assert_eq!(row.get::<i64>("duration_us").unwrap(), 2_000_000);
        }
        db.close().await;
    }
}
