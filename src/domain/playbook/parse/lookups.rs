//! `[record.lookup]` and `[search.lookup]`: how a record is asked for, over HTTP or in a database.

use std::collections::BTreeSet;

use super::words::one_of;
use crate::domain::{
    lookup::{HttpLookup, HttpMethod, RecordLookup, SqlLookup},
    playbook::{reader::Table, template},
    sql::Statement,
};

/// A lookup, and the values that it names.
pub(super) struct ReadLookup {
    pub(super) lookup: RecordLookup,
    pub(super) variables: BTreeSet<String>,
}

/// The `lookup` of a record or search.
pub(super) fn lookup(table: &Table<'_, '_>) -> Option<ReadLookup> {
    let inner = table.table("lookup")?;
    match (inner.has("path"), inner.has("sql")) {
        (false, true) => sql(table, &inner),
        (true, false) => Some(http(&inner)),
        (true, true) => {
            inner.fault(
                &inner.at,
                "",
                "has both `path` (systems of kind http) and `sql` (of kind sql): a system is of one kind",
            );
            None
        }
        (false, false) => {
            // A mistyped key is named, too.
            for known in ["method", "query", "body", "select"] {
                inner.has(known);
            }
            inner.finish();
            inner.fault(
                &inner.at,
                "",
                "needs `path` (systems of kind http) or `sql` (systems of kind sql)",
            );
            None
        }
    }
}

fn sql(table: &Table<'_, '_>, inner: &Table<'_, '_>) -> Option<ReadLookup> {
    let text = inner.text("sql");
    inner.finish();
    let text = text?;
    let statement = Statement::parse(&text.value)
        .map_err(|reason| inner.fault(&text.at, "sql", reason))
        .ok()?;
    Some(ReadLookup {
        variables: statement.parameters().map(str::to_owned).collect(),
        lookup: RecordLookup::Sql(SqlLookup {
            statement,
            is_list: table.has("each"),
        }),
    })
}

fn http(inner: &Table<'_, '_>) -> ReadLookup {
    let method = one_of(
        inner,
        "method",
        &[("GET", HttpMethod::Get), ("POST", HttpMethod::Post)],
        HttpMethod::Get,
    );
    let path = inner.required_text("path");
    if !path.value.is_empty() && !path.value.starts_with('/') {
        inner.fault(
            &path.at,
            "path",
            "must begin with `/`: the host is the configuration's alone",
        );
    }
    let body = inner.text("body");
    let select = inner.text("select");
    if let Some(select) = &select {
        // Compiled here only to report it; the adapter compiles its own.
        let _ = inner.path("select");
        debug_assert!(!select.value.contains('\0'));
    }
    let query = inner.table("query").map(|query| query.text_map()).unwrap_or_default();
    let mut variables = BTreeSet::new();
    let texts = std::iter::once(("path", &path))
        .chain(body.iter().map(|body| ("body", body)))
        .chain(query.iter().map(|(name, value)| (name.value.as_str(), value)));
    for (key, text) in texts {
        match template::variables(&text.value) {
            Ok(found) => variables.extend(found),
            Err(reason) => inner.fault(&text.at, key, reason),
        }
    }
    inner.finish();
    ReadLookup {
        lookup: RecordLookup::Http(HttpLookup {
            method,
            path: path.value,
            query: query
                .into_iter()
                .map(|(name, value)| (name.value, value.value))
                .collect(),
            body: body.map(|text| text.value),
            select: select.map(|text| text.value),
        }),
        variables,
    }
}
