//! How large the database is.

use crate::{db::condition::Space, http::exposition::Metric};

/// Bytes, and rows that the vacuum has not cleaned away.
pub(in crate::http) fn of_space(space: &Space) -> [Metric; 4] {
    let mut size = Metric::gauge(
        "aftercall_database_size_bytes",
        "What the database takes on its disk.",
        &[],
    );
    size.set([], space.bytes as f64);
    let mut free = Metric::gauge(
        "aftercall_database_free_bytes",
        "Of that, what nothing is kept in; of an embedded database only.",
        &[],
    );
    if let Some(bytes) = space.free_bytes {
        free.set([], bytes as f64);
    }
    let mut live = Metric::gauge(
        "aftercall_table_live_rows",
        "Rows of a table, as the server estimates; of a server only.",
        &["table"],
    );
    let mut dead = Metric::gauge(
        "aftercall_table_dead_rows",
        "Rows of a table that the vacuum has not cleaned away yet, as the server estimates; of a server only.",
        &["table"],
    );
    for table in &space.tables {
        live.set([&table.table], table.live as f64);
        dead.set([&table.table], table.dead as f64);
    }
    [size, free, live, dead]
}
