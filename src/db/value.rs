//! Parameters of statements.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

/// One parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no: 1 or 0 in SQLite.
    Bool(bool),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An instant: microseconds since 1970 UTC in SQLite.
    Time(DateTime<Utc>),
    /// An id: its text in SQLite.
    Uuid(Uuid),
    /// JSON: its text in SQLite.
    Json(Json),
}

macro_rules! from {
    ($($type:ty => |$value:ident| $make:expr;)+) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self { $make }
        })+
    };
}

from! {
    i64 => |value| Self::Int(value);
    i32 => |value| Self::Int(i64::from(value));
    u32 => |value| Self::Int(i64::from(value));
    u64 => |value| Self::Int(i64::try_from(value).unwrap_or(i64::MAX));
    f64 => |value| Self::Float(value);
    bool => |value| Self::Bool(value);
    String => |value| Self::Text(value);
    &str => |value| Self::Text(value.to_owned());
    &String => |value| Self::Text(value.clone());
    Vec<u8> => |value| Self::Bytes(value);
    DateTime<Utc> => |value| Self::Time(value);
    Uuid => |value| Self::Uuid(value);
    Json => |value| Self::Json(value);
    &Json => |value| Self::Json(value.clone());
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
