//! PostgreSQL.
//!
//! Parameters are sent as text, and the server is asked of which type each is, so that `id = :id` holds for numbers and UUIDs
//! as well. What is read as a date or a time is first looked at by us (`moment`). Rows come back as the server's own JSON: it knows how each of its types is written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use serde_json::{Map, Value, value::RawValue};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Either, Executor as _, PgConnection, Row as _,
    SqlSafeStr as _, Statement as _, TypeInfo as _,
    postgres::{PgConnectOptions, types::Oid},
};

use super::{
    answer::{Bounds, Rows, check_names, too_large},
    moment::Moment,
    number,
    probe::About,
    trouble::Trouble,
};
use crate::domain::sql::{Dialect, Statement};

/// The names that casts know the types by; unlike `regtype` without a length that would cut a value. Beside it what a domain, an
/// array or a range is made of, which may be several steps away, and whether a value holds several of these.
const TYPES: &str = "-- lookup_types
WITH RECURSIVE made(n, whole, o, several) AS (
  SELECT n, o, o, false FROM unnest($1) WITH ORDINALITY AS t(o, n)
  UNION ALL
  SELECT made.n, made.whole,
    CASE t.typtype WHEN 'd' THEN t.typbasetype WHEN 'r' THEN r.rngsubtype ELSE t.typelem END,
    made.several OR t.typtype <> 'd'
  FROM made JOIN pg_type t ON t.oid = made.o LEFT JOIN pg_range r ON r.rngtypid = t.oid
  WHERE t.typtype IN ('d', 'r') OR t.typcategory = 'A')
SELECT format_type(made.whole, -1), format_type(made.o, -1), made.several FROM made JOIN pg_type t ON t.oid = made.o
WHERE t.typtype NOT IN ('d', 'r') AND t.typcategory <> 'A' ORDER BY made.n";

/// One table, with a name, that the role may write to; system tables left out.
const WRITABLE: &str = "-- lookup_writable
SELECT current_setting('server_version'), now(), current_setting('is_superuser') = 'on',
  (SELECT min(c.oid::regclass::text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
     AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))";

pub(super) fn prepared(options: PgConnectOptions) -> PgConnectOptions {
    // A pooler such as PgBouncer refuses who begins with a setting that it does not know.
    let options = options.extra_float_digits(None).disable_statement_logging();
    if options.get_application_name().is_none() {
        options.application_name("aftercall")
    } else {
        options
    }
}

pub(super) struct Postgres {
    inner: PgConnection,
    /// By the statement as it was written.
    learnt: HashMap<String, Learnt>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postgres")
    }
}

/// What the server says of a statement.
#[derive(Debug, Clone)]
struct Learnt {
    /// With the type of each parameter.
    sql: String,
    /// Columns of bytes.
    bytes: BTreeSet<String>,
    /// Of each parameter, whether it is read as a date or a time.
    moments: Vec<Option<Moment>>,
}

fn failed(error: &sqlx::Error) -> Trouble {
    Trouble::of(error, Dialect::Postgres)
}

impl Postgres {
    pub(super) fn new(inner: PgConnection) -> Self {
        Self {
            inner,
            learnt: HashMap::new(),
        }
    }

    async fn command(&mut self, sql: String) -> Result<(), Trouble> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.inner).await;
        done.map(drop).map_err(|error| failed(&error))
    }

    async fn begin(&mut self, timeout: Duration) -> Result<(), Trouble> {
        let milliseconds = timeout.as_millis();
        self.command(format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds}"
        ))
        .await
    }

    async fn rollback(&mut self) -> Result<(), Trouble> {
        self.command("ROLLBACK".to_owned()).await
    }

    async fn learn(&mut self, statement: &Statement) -> Result<Learnt, Trouble> {
        if let Some(learnt) = self.learnt.get(statement.text()) {
            return Ok(learnt.clone());
        }
        let sql = statement.with_placeholders(|number| format!("${number}"));
        let described = (&mut self.inner)
            .prepare(AssertSqlSafe(sql).into_sql_str())
            .await
            .map_err(|error| failed(&error))?;
        check_names(described.columns().iter().map(sqlx::Column::name))?;
        let bytes = described.columns().iter();
        let bytes = bytes
            .filter(|column| column.type_info().name() == "BYTEA")
            .map(|column| column.name().to_owned())
            .collect();
        let types: Vec<Oid> = match described.parameters() {
            Some(Either::Left(types)) => types.iter().filter_map(sqlx::postgres::PgTypeInfo::oid).collect(),
            Some(Either::Right(_)) | None => Vec::new(),
        };
        let types: Vec<(String, String, bool)> = sqlx::query_as(TYPES)
            .bind(types)
            .fetch_all(&mut self.inner)
            .await
            .map_err(|error| failed(&error))?;
        let moments = types.iter().map(|(_, base, several)| {
            let moment = Moment::of_postgres(base)?;
            Some(if *several { Moment::Several } else { moment })
        });
        let moments = moments.collect();
        let cast = |number: usize| match types.get(number - 1) {
            Some((name, ..)) => format!("CAST(CAST(${number} AS text) AS {name})"),
            None => format!("CAST(${number} AS text)"),
        };
        let learnt = Learnt {
            sql: statement.with_placeholders(cast),
            bytes,
            moments,
        };
        self.learnt.insert(statement.text().to_owned(), learnt.clone());
        Ok(learnt)
    }

    pub(super) async fn ask(
        &mut self,
        statement: &Statement,
        values: &[&str],
        bounds: Bounds,
    ) -> Result<Vec<Value>, Trouble> {
        self.begin(bounds.timeout).await?;
        let learnt = self.learn(statement).await?;
        for ((name, value), moment) in statement.parameters().zip(values).zip(&learnt.moments) {
            if let Some(moment) = moment.filter(|moment| !moment.takes(value)) {
                return Err(Trouble::Refused(moment.refusal(name)));
            }
        }
        // The server does not send a row that is too large.
        let sql = format!(
            "SELECT CASE WHEN octet_length(line) <= {} THEN line END FROM (\
             SELECT row_to_json(aftercall_row)::text AS line FROM (\n{}\n) AS aftercall_row LIMIT {}) AS lines",
            bounds.bytes,
            learnt.sql,
            bounds.rows + 1
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            query = query.bind(*value);
        }
        let mut rows = Rows::within(bounds);
        let mut answer = query.fetch(&mut self.inner);
        while let Some(row) = answer.try_next().await.map_err(|error| failed(&error))? {
            let line: Option<String> = row.try_get(0).map_err(|error| failed(&error))?;
            let line = line.ok_or_else(|| too_large(bounds.bytes))?;
            rows.push(read(&line, &learnt.bytes)?, line.len())?;
        }
        drop(answer);
        self.rollback().await?;
        Ok(rows.into_rows())
    }

    pub(super) async fn check(&mut self, statement: &Statement, bounds: Bounds) -> Result<(), Trouble> {
        self.begin(bounds.timeout).await?;
        self.learn(statement).await?;
        self.rollback().await
    }

    pub(super) async fn about(&mut self) -> Result<About, Trouble> {
        let row = sqlx::query(WRITABLE).fetch_one(&mut self.inner).await;
        let row = row.map_err(|error| failed(&error))?;
        let read = |error: sqlx::Error| failed(&error);
        let version: String = row.try_get(0).map_err(read)?;
        let now: DateTime<Utc> = row.try_get(1).map_err(read)?;
        let is_superuser: bool = row.try_get(2).map_err(read)?;
        let table: Option<String> = row.try_get(3).map_err(read)?;
        Ok(About {
            server: format!("PostgreSQL {version}"),
            now: Some(now),
            may_write: match (is_superuser, table) {
                (true, _) => Some("it is a superuser".to_owned()),
                (false, Some(table)) => Some(format!("such as to {table}")),
                (false, None) => None,
            },
        })
    }

    pub(super) async fn close(self) {
        let _ = self.inner.close().await;
    }
}

/// A row in the server's JSON. Numbers keep their digits; bytes are hexadecimal digits without the sign before them.
fn read(line: &str, bytes: &BTreeSet<String>) -> Result<Map<String, Value>, Trouble> {
    let unread = |_| Trouble::Refused("a value of the answer is nested too deep to be read".to_owned());
    let columns: BTreeMap<String, &RawValue> = serde_json::from_str(line).map_err(unread)?;
    let mut row = Map::new();
    for (name, raw) in columns {
        let text = raw.get();
        let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let value = if is_number {
            number::exact(text)
        } else {
            serde_json::from_str(text).map_err(unread)?
        };
        let value = match value {
            Value::String(text) if bytes.contains(&name) => text.strip_prefix("\\x").unwrap_or(&text).into(),
            value => value,
        };
        row.insert(name, value);
    }
    Ok(row)
}
