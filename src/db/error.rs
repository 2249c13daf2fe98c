//! What can go wrong with the database, in words that say what to do.

use std::fmt;

/// The kinds that a caller treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DbErrorKind {
    /// Another process holds the write lock, or no connection was free.
    Busy,
    /// The disk is full.
    DiskFull,
    /// The file or its directory cannot be written.
    ReadOnly,
    /// The file is not a database, or is damaged.
    Damaged,
    /// The file was written by a newer version of aftercall.
    Newer,
    /// A constraint refused the row.
    Constraint,
    /// The database cannot be reached, or the connection broke.
    Unavailable,
    /// A column does not hold what it should.
    Column,
    /// Anything else: a bug or a refused statement.
    Other,
}

/// A failed statement.
#[derive(Debug, Clone)]
pub struct DbError {
    /// What kind.
    pub kind: DbErrorKind,
    message: String,
}

impl std::error::Error for DbError {}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl DbError {
    /// An error that only its words describe.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(DbErrorKind::Other, message)
    }

    /// Others are in the way: it may be tried again.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(DbErrorKind::Busy, message)
    }

    pub(super) fn new(kind: DbErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(super) fn no_answer(statement: &str, within: std::time::Duration) -> Self {
        Self::new(
            DbErrorKind::Unavailable,
            format!(
                "statement `{}`: no answer within {within:?}: the connection is given up and it is tried again",
                statement_name(statement)
            ),
        )
    }

    pub(super) fn column(statement: &str, column: &str, reason: &str) -> Self {
        Self::new(
            DbErrorKind::Column,
            format!("statement `{}`, column `{column}`: {reason}", statement_name(statement)),
        )
    }

    /// Names the statement and says what to do.
    pub(super) fn from_sqlx(statement: &str, error: &sqlx::Error) -> Self {
        let name = statement_name(statement);
        let kind = kind_of(error);
        let advice = match kind {
            DbErrorKind::Busy if is_of_server(error) => "it is tried again",
            DbErrorKind::Busy => "another process holds the write lock: it is tried again",
            DbErrorKind::DiskFull if is_of_server(error) => {
                "the server's disk is full: make room; the work goes on from where it was"
            }
            DbErrorKind::DiskFull => "the disk is full: make room; the work goes on from where it was",
            DbErrorKind::ReadOnly => {
                "the database file or its directory is read-only: give this user the right to write there"
            }
            DbErrorKind::Damaged => {
                "the file is not a database or is damaged: restore it, or point `database.path` elsewhere"
            }
            DbErrorKind::Unavailable => "the database cannot be reached: it is tried again",
            DbErrorKind::Newer | DbErrorKind::Constraint | DbErrorKind::Column | DbErrorKind::Other => {
                sqlstate(error).map_or("", |code| advice_on(&code))
            }
        };
        let advice = if kind == DbErrorKind::Unavailable && name == "open" {
            "is it a file that this user can open?"
        } else if is_outdated_plan(error) {
            "its tables were changed meanwhile: it is tried again"
        } else {
            advice
        };
        let separator = if advice.is_empty() { "" } else { "; " };
        Self::new(kind, format!("statement `{name}`: {error}{separator}{advice}"))
    }

    /// Whether the same statement may work a little later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            DbErrorKind::Busy | DbErrorKind::DiskFull | DbErrorKind::Unavailable
        )
    }
}

/// Every statement begins with `-- its_name`.
fn statement_name(statement: &str) -> &str {
    let first = statement.trim_start().lines().next().unwrap_or_default();
    first.strip_prefix("--").map_or(first, str::trim)
}

/// `SQLITE_IOERR_SHMSIZE`.
const SHARED_MEMORY_CANNOT_GROW: u32 = 4874;

/// Why a PostgreSQL server refused: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn sqlstate(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    error.code().map(std::borrow::Cow::into_owned)
}

fn is_of_server(error: &sqlx::Error) -> bool {
    sqlstate(error).is_some()
}

/// The statement was prepared before a migration that changed what it gives: only this connection knows it that way.
fn is_outdated_plan(error: &sqlx::Error) -> bool {
    let of_server = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>());
    // The code says no more than that something is not supported; the message is in the server's language.
    of_server.is_some_and(|error| error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery"))
}

fn advice_on(sqlstate: &str) -> &'static str {
    match sqlstate {
        "28P01" | "28000" => "look at the user and the password of `database.url`, and at the server's pg_hba.conf",
        "3D000" => "make the database first: createdb NAME",
        "3F000" => {
            "the role has no schema to make tables in: CREATE SCHEMA … AUTHORIZATION role, and put it first in the role's search_path"
        }
        "26000" | "42P05" => {
            "a pooler between us and the server mixes up the statements of its clients: PgBouncer in transaction mode needs \
             max_prepared_statements above 0 (version 1.21 or newer), and session mode needs nothing"
        }
        "42501" => "the role lacks a privilege: it has to own the schema that it works in",
        _ => "",
    }
}

fn kind_of_sqlstate(code: &str) -> DbErrorKind {
    match code {
        // Its place is taken by others, or it waited for others too long.
        "40001" | "40P01" | "55P03" | "57014" | "53300" => DbErrorKind::Busy,
        "53100" => DbErrorKind::DiskFull,
        // A standby: the primary is elsewhere, or not yet promoted.
        "25006" => DbErrorKind::Unavailable,
        "XX001" | "XX002" => DbErrorKind::Damaged,
        // The session was ended: 57P shut down or crashed, 25P03/25P04 a transaction was left open too long, 08 the connection
        // broke, 53 the server lacks memory, 58 its file system fails.
        _ if code.starts_with("57P") || code == "25P03" || code == "25P04" => DbErrorKind::Unavailable,
        _ => match &code[..code.len().min(2)] {
            "08" | "53" | "58" => DbErrorKind::Unavailable,
            "23" => DbErrorKind::Constraint,
            _ => DbErrorKind::Other,
        },
    }
}

fn kind_of(error: &sqlx::Error) -> DbErrorKind {
    if is_outdated_plan(error) {
        return DbErrorKind::Unavailable;
    }
    if let Some(code) = sqlstate(error) {
        return kind_of_sqlstate(&code);
    }
    match error {
        sqlx::Error::Database(error) => {
            // SQLite's extended codes keep the primary code in the low byte: https://www.sqlite.org/rescode.html
            let code = error
                .code()
                .and_then(|code| code.parse::<u32>().ok())
                .unwrap_or_default();
            match code & 0xff {
                // No room for the file that all connections share: the disk is full before anything is written.
                _ if code == SHARED_MEMORY_CANNOT_GROW => DbErrorKind::DiskFull,
                5 | 6 => DbErrorKind::Busy,
                8 => DbErrorKind::ReadOnly,
                10 | 14 => DbErrorKind::Unavailable,
                11 | 26 => DbErrorKind::Damaged,
                13 => DbErrorKind::DiskFull,
                19 => DbErrorKind::Constraint,
                _ => DbErrorKind::Other,
            }
        }
        sqlx::Error::PoolTimedOut => DbErrorKind::Busy,
        // A connection that broke in the middle of an answer is also seen as a breach of the protocol.
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => DbErrorKind::Unavailable,
        _ => DbErrorKind::Other,
    }
}
