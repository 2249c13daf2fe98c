//! What a person should know of the database before anything works with it. Looks only: makes nothing, migrates nothing, and
//! what it tries it takes back.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

use super::{DbError, DbErrorKind, Location, latest_version};

/// How long to wait for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// `SQLITE_INTERRUPT`: <https://www.sqlite.org/rescode.html#interrupt>.
const INTERRUPTED: &str = "9";
/// Steps of SQLite's machine between two looks at the watch.
const STEPS: i32 = 20_000;

/// What was found.
#[derive(Debug, Clone)]
pub struct Health {
    /// Bytes of the file, with what waits beside it to be merged.
    pub bytes: u64,
    /// `wal`, or what somebody else made of it.
    pub journal: String,
    /// The schema version of the file; 0 is none.
    pub schema: i64,
    /// The schema version that this binary knows.
    pub known_schema: i64,
    /// Whether the file is whole.
    pub integrity: Integrity,
    /// Whether a write could begin.
    pub writable: Result<(), DbError>,
}

/// Whether the file is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// All of it was looked at.
    Whole,
    /// The time was over before all of it was looked at; what was, is whole.
    SoFar,
    /// This is wrong with it, in SQLite's words.
    Damaged(String),
}

/// Looks at a database that exists, at its integrity for at most this long.
///
/// # Errors
/// When it cannot be opened or is no database at all.
pub async fn look(location: &Location, patience: Duration) -> Result<Health, DbError> {
    let Location::Sqlite { path, .. } = location;
    let failed = |error: sqlx::Error| DbError::from_sqlx("-- look", &error);
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .connect()
        .await
        .map_err(|error| {
            let error = DbError::from_sqlx("-- open", &error);
            DbError::new(
                error.kind,
                format!("cannot open the database {}: {error}", path.display()),
            )
        })?;
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let schema = schema(&mut connection).await.map_err(failed)?;
    let integrity = integrity(&mut connection, patience).await.map_err(failed)?;
    let writable = try_write(&mut connection).await;
    // What was found stands, whether or not the connection ends well.
    let _ = connection.close().await;
    Ok(Health {
        bytes: bytes(path),
        journal,
        schema,
        known_schema: latest_version(),
        integrity,
        writable,
    })
}

async fn schema(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let known: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await?;
    if known == 0 {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await
}

async fn integrity(connection: &mut SqliteConnection, patience: Duration) -> Result<Integrity, sqlx::Error> {
    let until = Instant::now() + patience;
    connection
        .lock_handle()
        .await?
        .set_progress_handler(STEPS, move || Instant::now() < until);
    let found = sqlx::query("PRAGMA quick_check(3)").fetch_all(&mut *connection).await;
    connection.lock_handle().await?.remove_progress_handler();
    let code = |error: &sqlx::Error| error.as_database_error()?.code().map(|code| code.into_owned());
    match found {
        Ok(rows) => {
            let said = |row: &SqliteRow| row.try_get::<String, _>(0);
            let said: Vec<String> = rows.iter().map(said).collect::<Result<_, _>>()?;
            Ok(if said == ["ok"] {
                Integrity::Whole
            } else {
                Integrity::Damaged(said.join("; "))
            })
        }
        Err(error) if code(&error).as_deref() == Some(INTERRUPTED) => Ok(Integrity::SoFar),
        Err(error) if DbError::from_sqlx("-- quick_check", &error).kind == DbErrorKind::Damaged => {
            Ok(Integrity::Damaged(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// Takes the write lock and gives it back.
async fn try_write(connection: &mut SqliteConnection) -> Result<(), DbError> {
    for statement in ["BEGIN IMMEDIATE", "ROLLBACK"] {
        sqlx::query(statement)
            .execute(&mut *connection)
            .await
            .map_err(|error| DbError::from_sqlx("-- try_write", &error))?;
    }
    Ok(())
}

fn bytes(path: &Path) -> u64 {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-wal");
    [path, Path::new(&beside)]
        .iter()
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|file| file.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn made(folder: &Path) -> Location {
        let location = Location::sqlite(folder.join("a.db"));
        Db::open(&location).await.unwrap().close().await;
        location
    }

    #[tokio::test]
    async fn a_sound_database_is_looked_at_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let location = made(folder.path()).await;
        let before = std::fs::read(folder.path().join("a.db")).unwrap();
        let health = look(&location, PATIENCE).await.unwrap();
        assert_eq!(health.journal, "wal");
        assert_eq!(health.schema, health.known_schema);
        assert_eq!(health.integrity, Integrity::Whole);
        assert!(health.writable.is_ok() && health.bytes as usize >= before.len());
        assert_eq!(std::fs::read(folder.path().join("a.db")).unwrap(), before);
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.db");
        assert!(look(&Location::sqlite(&path), PATIENCE).await.is_err());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_database_is_an_error_and_one_without_a_schema_is_of_version_0() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        std::fs::write(&path, "these are my notes ".repeat(500)).unwrap();
        let error = look(&Location::sqlite(&path), PATIENCE).await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::Damaged, "{error}");
        std::fs::write(&path, "").unwrap();
        assert_eq!(look(&Location::sqlite(&path), PATIENCE).await.unwrap().schema, 0);
    }

    #[tokio::test]
    async fn a_look_at_the_integrity_ends_in_time_and_a_damaged_page_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let location = made(folder.path()).await;
        let db = Db::open(&location).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        tx.execute(
            "INSERT INTO sources (name, kind, watermark, updated_at)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             SELECT 's' || i, 'bundle', hex(zeroblob(200)), i FROM n",
            &[],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        db.close().await;
        assert_eq!(
            look(&location, Duration::ZERO).await.unwrap().integrity,
            Integrity::SoFar
        );
        let path = folder.path().join("a.db");
        let mut file = std::fs::read(&path).unwrap();
        let at = file.len() - 3 * 4096;
        file[at..at + 4096].fill(0x5a);
        std::fs::write(&path, file).unwrap();
        let found = look(&location, PATIENCE).await.unwrap().integrity;
        assert!(matches!(found, Integrity::Damaged(_)), "{found:?}");
    }

    #[tokio::test]
    async fn a_writer_that_does_not_let_go_is_named_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let location = made(folder.path()).await;
        let db = Db::open(&location).await.unwrap();
        let held = db.begin().await.unwrap();
        let health = look(&location, PATIENCE).await.unwrap();
        assert_eq!(health.writable.unwrap_err().kind, DbErrorKind::Busy);
        drop(held);
    }
}
