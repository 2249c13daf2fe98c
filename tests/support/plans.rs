//! How PostgreSQL runs the statements that a test's processes really send: it writes each plan into its log.

use std::collections::{BTreeMap, BTreeSet};

use aftercall::{db::Db, sandbox::postgres::Cluster};
use tokio::sync::{Mutex, MutexGuard};

/// The log is the server's: one test at a time reads it.
static LOG: Mutex<()> = Mutex::const_new(());

/// From now on, for connections that are made from now on.
pub(crate) struct Plans {
    _log: MutexGuard<'static, ()>,
    from: usize,
}

impl Plans {
    /// Of the statements on this database.
    pub(crate) async fn watch(db: &Db) -> Self {
        let log = LOG.lock().await;
        for setting in [
            "session_preload_libraries = auto_explain",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_nested_statements = on",
        ] {
            let alter =
                format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting}', current_database()); END $$");
            db.write_alone(&*alter.leak(), &[]).await.unwrap();
        }
        // Where a table is small, it is read from end to end whatever indexes it has: what is filled here is large.
        db.write_alone("ANALYZE", &[]).await.unwrap();
        Self {
            _log: log,
            from: Cluster::shared().unwrap().log().len(),
        }
    }

    /// Statements by name, each with the plans that read one of these tables from end to end. And that there were such that did
    /// not: names of all statements.
    pub(crate) fn whole_reads(&self, tables: &[&str]) -> (BTreeMap<String, String>, BTreeSet<String>) {
        let log = Cluster::shared().unwrap().log();
        let mut reads = BTreeMap::new();
        let mut names = BTreeSet::new();
        for entry in log[self.from..].split(" plan:\n").skip(1) {
            let Some(text) = entry.trim_start().strip_prefix("Query Text: -- ") else {
                continue;
            };
            let name = text.lines().next().unwrap_or_default().trim().to_owned();
            let whole = |line: &str| {
                line.split_once("Seq Scan on ")
                    .is_some_and(|(_, rest)| rest.split(' ').next().is_some_and(|table| tables.contains(&table)))
            };
            if text.lines().any(whole) {
                reads.insert(name.clone(), text.to_owned());
            }
            names.insert(name);
        }
        (reads, names)
    }
}
