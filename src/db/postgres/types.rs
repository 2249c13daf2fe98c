//! Parameters as PostgreSQL takes them, and columns of several types that we read as one.

use chrono::{DateTime, Utc};
use sqlx::{
    Decode, Postgres, Type, TypeInfo as _, ValueRef as _,
    error::BoxDynError,
    postgres::{PgArguments, PgTypeInfo, PgValueRef},
    query::Query,
};

use crate::db::{Value, value::Kind};

/// Binds a statement's parameters. Each is declared with its type, nulls too: a statement is prepared once, and what it was
/// prepared for by its first parameters holds for all later ones.
pub(super) fn bind<'q>(sql: &'static str, params: &[Value]) -> Query<'q, Postgres, PgArguments> {
    let mut query = sqlx::query(sql);
    for value in params {
        query = match value {
            Value::Int(value) => query.bind(*value),
            Value::Float(value) => query.bind(*value),
            Value::Bool(value) => query.bind(*value),
            Value::Text(value) => query.bind(value.clone()),
            Value::Bytes(value) => query.bind(value.clone()),
            Value::Time(value) => query.bind(*value),
            Value::Uuid(value) => query.bind(*value),
            Value::Json(value) => query.bind(value.clone()),
            Value::Null(Kind::Int) => query.bind(None::<i64>),
            Value::Null(Kind::Float) => query.bind(None::<f64>),
            Value::Null(Kind::Bool) => query.bind(None::<bool>),
            Value::Null(Kind::Text) => query.bind(None::<String>),
            Value::Null(Kind::Bytes) => query.bind(None::<Vec<u8>>),
            Value::Null(Kind::Time) => query.bind(None::<chrono::DateTime<chrono::Utc>>),
            Value::Null(Kind::Uuid) => query.bind(None::<uuid::Uuid>),
            Value::Null(Kind::Json) => query.bind(None::<serde_json::Value>),
        };
    }
    query
}

/// A whole number of any width.
pub(in crate::db) struct Whole(pub(in crate::db) i64);

impl Type<Postgres> for Whole {
    fn type_info() -> PgTypeInfo {
        <i64 as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        matches!(ty.name(), "INT8" | "INT4" | "INT2")
    }
}

impl<'r> Decode<'r, Postgres> for Whole {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <i64 as Decode<Postgres>>::decode(value).map(Self)
    }
}

/// A number of either precision.
pub(in crate::db) struct Float(pub(in crate::db) f64);

impl Type<Postgres> for Float {
    fn type_info() -> PgTypeInfo {
        <f64 as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        matches!(ty.name(), "FLOAT8" | "FLOAT4")
    }
}

impl<'r> Decode<'r, Postgres> for Float {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.type_info().name() == "FLOAT4" {
            return <f32 as Decode<Postgres>>::decode(value).map(|value| Self(value.into()));
        }
        <f64 as Decode<Postgres>>::decode(value).map(Self)
    }
}

/// An instant. `infinity` is one that nobody lives to see, with room beyond it to count on: the driver would panic.
pub(in crate::db) struct Time(pub(in crate::db) DateTime<Utc>);

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const YEAR_2000: i64 = 946_684_800_000_000;
/// 9999-12-31, 23:59:59.
const INFINITY: i64 = 253_402_300_799_000_000;
/// 0001-01-01.
const MINUS_INFINITY: i64 = -62_135_596_800_000_000;

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Time {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        // The format of all statements with parameters; others give none.
        let counted = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        let micros = match counted {
            i64::MAX => Some(INFINITY),
            i64::MIN => Some(MINUS_INFINITY),
            _ => counted.checked_add(YEAR_2000),
        };
        let at = micros.and_then(DateTime::from_timestamp_micros);
        at.map(Self).ok_or_else(|| "not an instant".into())
    }
}

/// Text, or the text of a UUID or of JSON.
pub(in crate::db) struct Text(pub(in crate::db) String);

impl Type<Postgres> for Text {
    fn type_info() -> PgTypeInfo {
        <String as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        matches!(ty.name(), "UUID" | "JSON" | "JSONB") || <String as Type<Postgres>>::compatible(ty)
    }
}

impl<'r> Decode<'r, Postgres> for Text {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let kind = value.type_info().name().to_owned();
        match kind.as_str() {
            "UUID" => <uuid::Uuid as Decode<Postgres>>::decode(value).map(|id| Self(id.to_string())),
            "JSON" | "JSONB" => {
                <serde_json::Value as Decode<Postgres>>::decode(value).map(|json| Self(json.to_string()))
            }
            _ => <String as Decode<Postgres>>::decode(value).map(Self),
        }
    }
}
