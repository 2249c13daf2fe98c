//! Rows as JSON, as many as an answer may have.

use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::{Column, Database, Row};

use super::trouble::Trouble;

/// What an answer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) timeout: Duration,
    pub(super) rows: usize,
    /// Of all rows together.
    pub(super) bytes: usize,
}

/// Rows as they come in.
#[derive(Debug)]
pub(super) struct Rows {
    taken: Vec<Value>,
    bytes: usize,
    bounds: Bounds,
}

impl Rows {
    pub(super) fn within(bounds: Bounds) -> Self {
        Self {
            taken: Vec::new(),
            bytes: 0,
            bounds,
        }
    }

    /// Takes a row of this size in.
    pub(super) fn push(&mut self, row: Map<String, Value>, bytes: usize) -> Result<(), Trouble> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bounds.bytes {
            return Err(too_large(self.bounds.bytes));
        }
        if self.taken.len() == self.bounds.rows {
            return Err(Trouble::Refused(format!(
                "gave more than {} rows: narrow the WHERE",
                self.bounds.rows
            )));
        }
        self.taken.push(Value::Object(row));
        Ok(())
    }

    pub(super) fn into_rows(self) -> Vec<Value> {
        self.taken
    }
}

/// A row as an object, and its size.
pub(super) fn read_row<'r, R: Row>(
    row: &'r R,
    value: impl Fn(&'r R, &'r <R::Database as Database>::Column) -> Result<Value, Trouble>,
) -> Result<(Map<String, Value>, usize), Trouble> {
    check_names(row.columns().iter().map(Column::name))?;
    let mut read = Map::new();
    let mut bytes = 0;
    for column in row.columns() {
        let value = value(row, column)?;
        bytes += column.name().len() + size(&value);
        read.insert(column.name().to_owned(), value);
    }
    Ok((read, bytes))
}

/// Asks for a row that is larger than an answer may be, so that none is read: `length` is what a value takes.
pub(super) fn a_large_row(sql: &str, columns: usize, length: &str, bytes: usize) -> String {
    let names: Vec<String> = (1..=columns).map(|number| format!("c{number}")).collect();
    let lengths: Vec<String> = names
        .iter()
        .map(|name| format!("COALESCE({length}({name}), 0)"))
        .collect();
    format!(
        "WITH aftercall_row ({}) AS (\n{sql}\n) SELECT 1 FROM aftercall_row WHERE {} > {bytes} LIMIT 1",
        names.join(", "),
        lengths.join(" + ")
    )
}

pub(super) fn too_large(bytes: usize) -> Trouble {
    Trouble::Refused(format!(
        "the answer is larger than {bytes} bytes: select fewer columns, or fewer rows"
    ))
}

/// Two columns of one name would be one in JSON, and it would be chance which.
pub(super) fn check_names<'c>(names: impl Iterator<Item = &'c str>) -> Result<(), Trouble> {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Err(Trouble::Refused(format!(
                "two columns are called `{name}`: give them different names with AS"
            )));
        }
        seen.push(name);
    }
    Ok(())
}

/// A column that has no place in JSON.
pub(super) fn unreadable(column: &str, kind: &str) -> Trouble {
    Trouble::Refused(format!(
        "column `{column}` has the type {kind}, which cannot be read: select it as text, CAST({column} AS …)"
    ))
}

/// About as many bytes as it takes.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum::<usize>() + items.len(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + size(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}
