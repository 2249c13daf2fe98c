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
    SQLITE.run(connection).await.map_err(|error| match error {
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
            DbError::new(error.kind, format!("migration {version} on {}: {error}", path.display()))
        }
        other => DbError::other(format!("cannot bring the schema of {} up to date: {other}", path.display())),
    })
}
