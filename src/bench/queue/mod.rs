//! `aftercall bench queue`: no-op jobs through the queue, beside the same statements by hand, in one run.

mod by_hand;
mod noop;

use std::path::Path;

use serde::Serialize;

use crate::db::{Db, Location};
pub use noop::End;

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// What was run.
    pub what: String,
    /// Jobs a second.
    pub per_second: f64,
}

/// Runs it on a PostgreSQL server.
///
/// # Errors
/// When the server or pgbench cannot be used.
pub async fn run(directory: &Path, url: &str, pgbench: &Path, jobs: u64) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let db = Db::open(&Location::postgres(url)).await?;
    for (what, many) in [
        ("by hand, one commit per job", false),
        ("by hand, 500 jobs per commit", true),
    ] {
        let case = by_hand::Case {
            jobs: if many { jobs * 5 } else { jobs },
            connections: 10,
            many,
        };
        let per_second = by_hand::run(pgbench, url, directory, case)?;
        lines.push(Line {
            what: what.to_owned(),
            per_second,
        });
    }
    for (what, end, limited, jobs) in [
        ("a transaction per job", End::Transaction, false, jobs),
        ("no effects, one commit per job", End::Alone, false, jobs),
        ("no effects, ends together", End::Together, false, jobs * 5),
        ("no effects, ends together, limited", End::Together, true, jobs * 5),
    ] {
        let at_once = if end == End::Together { 1000 } else { 64 };
        let per_second = noop::run(
            &db,
            noop::Case {
                jobs,
                at_once,
                end,
                limited,
            },
        )
        .await?;
        lines.push(Line {
            what: what.to_owned(),
            per_second,
        });
    }
    db.close().await;
    Ok(lines)
}
