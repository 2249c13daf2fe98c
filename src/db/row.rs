//! Rows that say which column they could not give.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};
use uuid::Uuid;

use super::{DbError, postgres};

/// One row of an answer.
#[derive(Debug)]
pub struct Row {
    inner: Inner,
    statement: &'static str,
}

enum Inner {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// Without what stands in it: that may be private.
impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "SqliteRow",
            Self::Postgres(_) => "PgRow",
        })
    }
}

impl Row {
    pub(super) fn of_sqlite(row: SqliteRow, statement: &'static str) -> Self {
        Self {
            inner: Inner::Sqlite(row),
            statement,
        }
    }

    pub(super) fn of_postgres(row: PgRow, statement: &'static str) -> Self {
        Self {
            inner: Inner::Postgres(row),
            statement,
        }
    }

    /// The column's value.
    ///
    /// # Errors
    /// When the column is missing, null, or not of that type: names the statement and the column.
    pub fn get<T: Column>(&self, column: &'static str) -> Result<T, DbError> {
        self.get_optional(column)?
            .ok_or_else(|| self.bad(column, "it is null, and should not be"))
    }

    fn get_optional<T: Column>(&self, column: &'static str) -> Result<Option<T>, DbError> {
        T::from_row(self, column)
    }

    fn raw<'r, S, P>(&'r self, column: &'static str) -> Result<Option<Either<S, P>>, DbError>
    where
        S: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
        P: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let value = match &self.inner {
            Inner::Sqlite(row) => row
                .try_get::<Option<S>, _>(column)
                .map(|value| value.map(Either::Sqlite)),
            Inner::Postgres(row) => row
                .try_get::<Option<P>, _>(column)
                .map(|value| value.map(Either::Postgres)),
        };
        value.map_err(|error| self.bad(column, &error.to_string()))
    }

    /// The named error for a column whose value makes no sense to us.
    pub fn bad(&self, column: &'static str, reason: &str) -> DbError {
        DbError::column(self.statement, column, reason)
    }

    /// The named error for JSON that is not what we wrote: where, and never what stands there, since it may be private.
    pub fn bad_json(&self, column: &'static str, error: &serde_json::Error) -> DbError {
        let what = match error.classify() {
            serde_json::error::Category::Data => "not the JSON expected",
            serde_json::error::Category::Eof => "the JSON breaks off",
            serde_json::error::Category::Io | serde_json::error::Category::Syntax => "not JSON, or nested too deep",
        };
        let place = format!("{what} (line {}, column {})", error.line(), error.column());
        self.bad(column, &place)
    }
}

/// A value as one database or the other gives it.
enum Either<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// A type that a column can be read as.
pub trait Column: Sized {
    /// Reads it; `None`: it is null.
    ///
    /// # Errors
    /// When the column does not hold such a value.
    fn from_row(row: &Row, column: &'static str) -> Result<Option<Self>, DbError>;
}

/// Null is a value of these.
impl<T: Column> Column for Option<T> {
    fn from_row(row: &Row, column: &'static str) -> Result<Option<Self>, DbError> {
        T::from_row(row, column).map(Some)
    }
}

macro_rules! column {
    ($($type:ty: $sqlite:ty => |$row:ident, $column:ident, $value:ident| $read:expr; $postgres:ty => |$native:ident| $take:expr;)+) => {
        $(
            impl Column for $type {
                fn from_row($row: &Row, $column: &'static str) -> Result<Option<Self>, DbError> {
                    match $row.raw::<$sqlite, $postgres>($column)? {
                        None => Ok(None),
                        Some(Either::Sqlite($value)) => $read.map(Some),
                        Some(Either::Postgres($native)) => {
                            let $value = $take;
                            Ok(Some($value))
                        }
                    }
                }
            }
        )+
    };
}

column! {
    f64: f64 => |row, column, value| Ok(value); postgres::Float => |native| native.0;
    String: String => |row, column, value| Ok(value); postgres::Text => |native| native.0;
    Vec<u8>: Vec<u8> => |row, column, value| Ok(value); Vec<u8> => |native| native;
    bool: i64 => |row, column, value| Ok(value != 0); bool => |native| native;
    i64: i64 => |row, column, value| Ok(value); postgres::Whole => |native| native.0;
    DateTime<Utc>: i64 => |row, column, value| DateTime::from_timestamp_micros(value).ok_or_else(|| row.bad(column, "not an instant")); postgres::Time => |native| native.0;
    Uuid: String => |row, column, value| Uuid::parse_str(&value).map_err(|_| row.bad(column, "not a UUID")); Uuid => |native| native;
    Json: String => |row, column, value| serde_json::from_str(&value).map_err(|error| row.bad_json(column, &error)); Json => |native| native;
}

macro_rules! whole {
    ($($type:ty: $reason:literal;)+) => {
        $(
            impl Column for $type {
                fn from_row(row: &Row, column: &'static str) -> Result<Option<Self>, DbError> {
                    i64::from_row(row, column)?
                        .map(|value| <$type>::try_from(value).map_err(|_| row.bad(column, $reason)))
                        .transpose()
                }
            }
        )+
    };
}

whole! {
    u32: "not a whole number from 0 to 4294967295";
    u64: "a negative number";
    i32: "not a 32-bit number";
}
