//! Parameters of statements.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kinds of `Value`")]
pub enum Kind {
    Int,
    Float,
    Bool,
    Text,
    Bytes,
    Time,
    Uuid,
    Json,
}

/// A type that is always of one kind.
pub trait OfKind {
    /// Which.
    const KIND: Kind;
}

/// One parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value, of a kind: PostgreSQL wants to know what is not there.
    Null(Kind),
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
    ($($type:ty: $kind:ident => |$value:ident| $make:expr;)+) => {
        $(
            impl From<$type> for Value {
                fn from($value: $type) -> Self { Self::$kind($make) }
            }
            impl OfKind for $type {
                const KIND: Kind = Kind::$kind;
            }
        )+
    };
}

from! {
    i64: Int => |value| value;
    i32: Int => |value| i64::from(value);
    u32: Int => |value| i64::from(value);
    u64: Int => |value| i64::try_from(value).unwrap_or(i64::MAX);
    f64: Float => |value| value;
    bool: Bool => |value| value;
    String: Text => |value| storable(value);
    &str: Text => |value| storable(value.to_owned());
    &String: Text => |value| storable(value.clone());
    Vec<u8>: Bytes => |value| value;
    DateTime<Utc>: Time => |value| value;
    Uuid: Uuid => |value| value;
    Json: Json => |value| storable_json(value);
    &Json: Json => |value| storable_json(value.clone());
}

impl<T: Into<Value> + OfKind> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null(T::KIND), Into::into)
    }
}

/// What stands for the character U+0000, which PostgreSQL keeps neither in text nor in JSON. The same on every database, so
/// that a name is the same name wherever it is kept.
const IN_PLACE_OF_NUL: &str = "\u{fffd}";

fn storable(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', IN_PLACE_OF_NUL)
    } else {
        text
    }
}

fn storable_json(json: Json) -> Json {
    if holds_nul(&json) { without_nul(json) } else { json }
}

fn holds_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(holds_nul),
        Json::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

fn without_nul(json: Json) -> Json {
    match json {
        Json::String(text) => Json::String(storable(text)),
        Json::Array(items) => items.into_iter().map(without_nul).collect(),
        Json::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (storable(key), without_nul(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_character_that_no_database_keeps_is_replaced_wherever_it_hides() {
        assert_eq!(Value::from("a\0b"), Value::Text("a\u{fffd}b".to_owned()));
        assert_eq!(
            Value::from(json!({"a\0": ["\0", {"b": "c\0"}], "n": 1})),
            Value::Json(json!({"a\u{fffd}": ["\u{fffd}", {"b": "c\u{fffd}"}], "n": 1}))
        );
        assert_eq!(Value::from(None::<&str>), Value::Null(Kind::Text));
    }
}
