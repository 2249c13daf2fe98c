//! Brings the schema up to date. Rules for new migrations: `migrations/README.md`.

use std::path::Path;

use sqlx::{
    SqliteConnection,
    migrate::{MigrateError, Migrator},
};

use super::{Db, DbError, DbErrorKind};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// The schema version that this binary knows.
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

pub(super) async fn run_sqlite(connection: &mut SqliteConnection, path: &Path) -> Result<(), DbError> {
    loop {
        let before = version(connection).await;
        let Err(error) = SQLITE.run(&mut *connection).await else {
            return Ok(());
        };
        // Another process did the same at the same time, and what it finished is not to be done again: SQLite has no lock
        // that spans all migrations.
        if version(connection).await <= before {
            return Err(describe(error, path));
        }
    }
}

/// The version applied so far; 0 before the first.
async fn version(connection: &mut SqliteConnection) -> i64 {
    let version = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await;
    version.ok().flatten().unwrap_or_default()
}

fn describe(error: MigrateError, path: &Path) -> DbError {
    match error {
        MigrateError::VersionMissing(version) => DbError::new(
            DbErrorKind::Newer,
            format!(
                "the database {} is of a newer version (schema {version}, this aftercall knows up to {}): nothing was changed; \
                 run the newer aftercall, or choose another file with --db",
                path.display(),
                latest_version()
            ),
        ),
        MigrateError::Execute(error) => DbError::from_sqlx("-- migrate", &error),
        MigrateError::ExecuteMigration(error, version) => {
            let error = DbError::from_sqlx("-- migrate", &error);
            DbError::new(
                error.kind,
                format!("migration {version} on {}: {error}", path.display()),
            )
        }
        other => DbError::other(format!(
            "cannot bring the schema of {} up to date: {other}",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::Connection as _;

    use super::*;
    use crate::{db::Location, params};

    /// A database as the version before the gates left it, with a row in each table that they change.
    #[tokio::test]
    async fn jobs_of_an_older_version_go_on_behind_gates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        let mut old = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display()))
            .await
            .unwrap();
        let before = Migrator {
            migrations: Cow::Owned(
                SQLITE
                    .iter()
                    .filter(|migration| migration.version <= 2)
                    .cloned()
                    .collect(),
            ),
            ..Migrator::DEFAULT
        };
        before.run(&mut old).await.unwrap();
        for row in [
            "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at)
             VALUES ('a', 'q', 'q', '{}', 'scheduled', 7, 8, 1), ('b', 'q', 'q', '{}', 'available', 1, 8, 1)",
            "INSERT INTO gates (key, state, updated_at) VALUES ('source:calls', 'open', 1)",
        ] {
            sqlx::query(row).execute(&mut old).await.unwrap();
        }
        old.close().await.unwrap();

        let db = Db::open(&Location::sqlite(&path)).await.unwrap();
        assert_eq!(applied_version(&db).await.unwrap(), latest_version());
        let rows = db
            .fetch_all(
                "SELECT id, outages, gate, held_by FROM jobs WHERE run_at < $1 ORDER BY id",
                &params![8_u32],
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
    }
}
