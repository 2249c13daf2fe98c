//! Rows that say which column they could not give.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use sqlx::{Row as _, sqlite::SqliteRow};
use uuid::Uuid;

use super::DbError;

/// One row of an answer.
#[derive(Debug)]
pub struct Row {
    pub(super) inner: SqliteRow,
    pub(super) statement: &'static str,
}

impl Row {
    /// The column's value.
    ///
    /// # Errors
    /// When the column is missing, null, or not of that type: names the statement and the column.
    pub fn get<T: Column>(&self, column: &'static str) -> Result<T, DbError> {
        T::from_row(self, column)
    }

    fn raw<'r, T>(&'r self, column: &'static str) -> Result<T, DbError>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        self.inner
            .try_get(column)
            .map_err(|error| self.bad(column, &error.to_string()))
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

/// A type that a column can be read as.
pub trait Column: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// When the column does not hold such a value.
    fn from_row(row: &Row, column: &'static str) -> Result<Self, DbError>;
}

macro_rules! column {
    ($($type:ty: $raw:ty => |$row:ident, $column:ident, $value:ident| $read:expr;)+) => {
        $(
            impl Column for $type {
                fn from_row($row: &Row, $column: &'static str) -> Result<Self, DbError> {
                    let $value = $row.raw::<$raw>($column)?;
                    $read
                }
            }
            impl Column for Option<$type> {
                fn from_row($row: &Row, $column: &'static str) -> Result<Self, DbError> {
                    match $row.raw::<Option<$raw>>($column)? {
                        None => Ok(None),
                        Some($value) => { let read: Result<$type, DbError> = $read; read.map(Some) }
                    }
                }
            }
        )+
    };
}

column! {
    i64: i64 => |row, column, value| Ok(value);
    f64: f64 => |row, column, value| Ok(value);
    String: String => |row, column, value| Ok(value);
    Vec<u8>: Vec<u8> => |row, column, value| Ok(value);
    u32: i64 => |row, column, value| u32::try_from(value).map_err(|_| row.bad(column, "not a whole number from 0 to 4294967295"));
    u64: i64 => |row, column, value| u64::try_from(value).map_err(|_| row.bad(column, "a negative number"));
    i32: i64 => |row, column, value| i32::try_from(value).map_err(|_| row.bad(column, "not a 32-bit number"));
    bool: i64 => |row, column, value| Ok(value != 0);
    DateTime<Utc>: i64 => |row, column, value| DateTime::from_timestamp_micros(value).ok_or_else(|| row.bad(column, "not an instant"));
    Uuid: String => |row, column, value| Uuid::parse_str(&value).map_err(|_| row.bad(column, "not a UUID"));
    Json: String => |row, column, value| serde_json::from_str(&value).map_err(|error| row.bad_json(column, &error));
}
