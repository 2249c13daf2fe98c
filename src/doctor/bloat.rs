//! What the database keeps of rows that are gone: as it grows, every claim walks past it.

use chrono::{DateTime, Utc};

use super::{Finding, disk::bytes};
use crate::{
    config::duration,
    db::{
        Db,
        condition::{self, Space, TableRows},
    },
};

const CHECK: &str = "bloat";
/// A server cleans `jobs` from 500 dead rows and a hundredth of the table on, as its migration says: ten times that is a
/// vacuum that does not come through.
const JOBS_PARTS: u64 = 100;
const JOBS_LEAST: u64 = 500;
const TIMES: u64 = 10;
/// Other tables are cleaned from a fifth on, as the server has it by default.
const OTHER_PARTS: u64 = 5;
const OTHER_LEAST: u64 = 25_000;
const OTHER_TIMES: u64 = 2;
/// An embedded database whose file is larger than this, and mostly empty.
const FILE_LEAST: u64 = 100 << 20;

pub(super) async fn look(db: &Db) -> Vec<Finding> {
    let looked = async { Ok((db.now().await?, condition::space(db).await?)) };
    match looked.await {
        Ok((now, space)) if db.is_server() => space.tables.iter().map(|table| of_table(table, now)).collect(),
        Ok((_, space)) => vec![of_file(&space)],
        Err(error) => {
            let error: crate::db::DbError = error;
            vec![Finding::warn(CHECK, error.to_string(), "see the check `database`")]
        }
    }
}

fn of_file(space: &Space) -> Finding {
    let free = space.free_bytes.unwrap_or_default();
    let found = format!("{} of {} hold nothing", bytes(free), bytes(space.bytes));
    if space.bytes > FILE_LEAST && free > space.bytes / 2 {
        return Finding::warn(
            CHECK,
            found,
            "it is used again as history grows; to give it back, stop aftercall and run VACUUM on the file",
        );
    }
    Finding::ok(CHECK, found)
}

fn of_table(table: &TableRows, now: DateTime<Utc>) -> Finding {
    let TableRows {
        table,
        live,
        dead,
        last_autovacuum,
    } = table;
    let most = if table == "jobs" {
        TIMES * (JOBS_LEAST + live / JOBS_PARTS)
    } else {
        OTHER_TIMES * (OTHER_LEAST + live / OTHER_PARTS)
    };
    let vacuumed = match last_autovacuum {
        None => "never cleaned by itself yet".to_owned(),
        Some(at) => {
            let ago = (now - *at).to_std().unwrap_or_default();
            let ago = std::time::Duration::from_secs(ago.as_secs());
            format!("cleaned by itself {} ago", duration::format(ago))
        }
    };
    let found = format!("{table}: number of dead rows {dead} beside {live}, {vacuumed}");
    if *dead > most {
        return Finding::warn(
            CHECK,
            found,
            format!(
                "something keeps the vacuum from cleaning: see the transactions of the check `database`; \
                 VACUUM (VERBOSE) {table} says what it cannot remove"
            ),
        );
    }
    Finding::ok(CHECK, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn dead_rows_warn_once_the_vacuum_should_long_have_been_there() {
        let now = DateTime::from_timestamp(10_000, 0).unwrap();
        let table = |name: &str, live, dead| TableRows {
            table: name.to_owned(),
            live,
            dead,
            last_autovacuum: DateTime::from_timestamp(9_940, 0),
        };
        for (name, live, dead, level) in [
            ("jobs", 0, 5_000, Level::Ok),
            ("jobs", 0, 5_001, Level::Warn),
            ("jobs", 1_000_000, 105_000, Level::Ok),
            ("jobs", 1_000_000, 105_001, Level::Warn),
            ("job_attempts", 0, 50_000, Level::Ok),
            ("job_attempts", 1_000_000, 450_001, Level::Warn),
        ] {
            let finding = of_table(&table(name, live, dead), now);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.found.contains("cleaned by itself 1m ago"), "{finding:?}");
        }
    }

    #[test]
    fn a_large_file_that_is_mostly_empty_warns() {
        let level = |bytes, free| {
            let space = Space {
                bytes,
                free_bytes: Some(free),
                tables: Vec::new(),
            };
            of_file(&space).level
        };
        assert_eq!(level(200 << 20, 101 << 20), Level::Warn);
        assert_eq!(level(200 << 20, 100 << 20), Level::Ok);
        assert_eq!(level(50 << 20, 49 << 20), Level::Ok);
    }
}
