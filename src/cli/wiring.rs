//! Where commands reach the pipeline: the one file of the command line that names jobs and `Env`.

use std::{collections::BTreeSet, path::PathBuf};

use super::{context::Context, failure::Failure};
use crate::{
    config::{Config, PlaybookName},
    db::Db,
    domain::session::{Generation, SessionKey},
    queue::{Enqueued, Running},
};

/// Starts all roles in this process.
pub(super) async fn start(config: &Config, db: &Db) -> Result<Running, Failure> {
    // wired by integration: Env::build(config, db), jobs::registry(), jobs::crons(&env), WorkerSettings from config.queue
    // and config.limits, queue::start(…).
    let _ = (config, db);
    Err(missing("the pipeline"))
}

/// Calls for a scan of a source.
pub(super) async fn discover(db: &Db, source: &str) -> Result<Enqueued, Failure> {
    // wired by integration: queue::enqueue(&mut tx, &DiscoverSessions { source })
    let _ = (db, source);
    Err(missing("discovery"))
}

/// Calls for the analysis of a session in its current generation.
pub(super) async fn analyze(db: &Db, key: &SessionKey) -> Result<Enqueued, Failure> {
    // wired by integration: sessions::load_in, sessions::settle, queue::enqueue(&mut tx, &AnalyzeSession { … })
    let _ = (db, key);
    Err(missing("analysis"))
}

/// Calls for the diagnosis of a session once more.
pub(super) async fn diagnose(db: &Db, key: &SessionKey) -> Result<Enqueued, Failure> {
    // wired by integration: diagnoses::ask_again(&mut tx, key), queue::enqueue(&mut tx, &DiagnoseSession { … });
    // Failure::Fault where the session has no failed verdict.
    let _ = (db, key);
    Err(missing("diagnosis"))
}

/// Opens the next generation of a session; `None` for one that is not known.
pub(super) async fn reprocess(db: &Db, key: &SessionKey, actor: &str) -> Result<Option<Generation>, Failure> {
    // wired by integration: crate::reprocess::reprocess(&mut tx, key) and control::audit(&mut tx, actor, "reprocess", …)
    let _ = (db, key, actor);
    Err(missing("reprocessing"))
}

/// The systems of record that a playbook names, or every fault of it.
pub(super) fn playbook_systems(name: &PlaybookName) -> Result<Vec<String>, Vec<String>> {
    // wired by integration: Playbook::built_in(name) or read the file and Playbook::parse, then playbook.systems().
    let systems: BTreeSet<String> = BTreeSet::new();
    let _ = name;
    Ok(systems.into_iter().collect())
}

/// The demo.
pub(super) async fn demo(context: &Context, dir: PathBuf) -> Result<(), Failure> {
    // wired by integration
    let _ = (context, dir);
    Err(missing("the demo"))
}

/// The pipeline's bench.
pub(super) async fn bench_pipeline(context: &Context, sessions: u32) -> Result<(), Failure> {
    // wired by integration: crate::bench
    let _ = (context, sessions);
    Err(missing("the bench"))
}

fn missing(what: &str) -> Failure {
    Failure::Usage(format!("{what} is not in this build"))
}
