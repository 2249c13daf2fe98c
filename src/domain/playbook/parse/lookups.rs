//! `[record.lookup]` and `[search.lookup]`: how a record is asked for, over HTTP or in a database.

use std::collections::BTreeSet;

use super::http_lookup::http_lookup;
use crate::domain::{
    lookup::{RecordLookup, SqlLookup},
    playbook::reader::Table,
    sql::Statement,
};

/// A lookup, and the values that it names.
pub(super) struct ReadLookup {
    pub(super) lookup: RecordLookup,
    pub(super) variables: BTreeSet<String>,
    /// Those of them that only optional parameters speak of.
    pub(super) optional: BTreeSet<String>,
}

/// The `lookup` of a record or search.
pub(super) fn lookup(table: &Table<'_, '_>) -> Option<ReadLookup> {
    let inner = table.table("lookup")?;
    match (inner.has("path"), inner.has("sql")) {
        (false, true) => sql(table, &inner),
        (true, false) => Some(http_lookup(&inner)),
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
            for known in ["method", "query", "body", "select", "optional", "absent_when", "pages"] {
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
        optional: BTreeSet::new(),
    })
}
