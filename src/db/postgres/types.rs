//! Parameters as PostgreSQL takes them, and columns of several types that we read as one.

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
