//! The other queues, each behind the same few calls.

mod apalis_postgres;
mod apalis_sqlite;
mod graphile;
mod rearm;

use std::{fmt::Display, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{cases::Case, database::Server, ledger::Ledger};

/// As aftercall's default: a worker says every 3 s that it lives, and after 12 s of silence its jobs go to another.
const HEARTBEAT: Duration = Duration::from_secs(3);
const MISSED_HEARTBEATS: u32 = 4;
/// The name of the queue, where a peer has one.
const QUEUE: &str = "noop";
/// Connections of a worker: more than any of them uses at once.
const CONNECTIONS: u32 = 20;

/// What apalis promises when it fetches many jobs at once.
const BATCHED: &str = "at least once; while fetched jobs wait to start there is neither heartbeat nor acknowledgement, and \
after 12 s another worker runs the batch again: seen with two workers on slow jobs (--case overlap)";
/// What it promises when it fetches one.
const ONE_BY_ONE: &str = "at least once; two workers on slow jobs ran none twice; a failed job is tried again at once, and one \
that kills its worker without end";

/// What a job carries.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Noop {
    number: u64,
}

/// One configuration of one peer, ready to be opened on an empty database.
pub(crate) struct Candidate {
    /// The crate that it is.
    pub(crate) name: &'static str,
    /// How it is configured.
    pub(crate) settings: &'static str,
    /// What it promises so configured, as far as the promise was read or seen to hold.
    pub(crate) guarantees: &'static str,
    /// How many jobs one worker runs at a time. What apalis fetches at once is as much: more would wait without a heartbeat.
    pub(crate) concurrency: u64,
    /// How many jobs make a backlog that takes seconds.
    pub(crate) backlog: u64,
    /// How many jobs a worker finishes before statistics are gathered and the backlog is written.
    pub(crate) warm_up: u64,
    /// The cases that these settings are meant for.
    pub(crate) cases: &'static [Case],
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    ApalisPostgres,
    ApalisSqlite(apalis_sqlite::Pusher),
    Graphile(graphile::Settings),
}

/// Where the databases may be made.
pub(crate) struct Places {
    /// A server to make databases in.
    pub(crate) postgres: Option<Server>,
    /// A file that does not exist yet.
    pub(crate) sqlite: Option<PathBuf>,
}

/// All of them.
pub(crate) fn candidates() -> Vec<Candidate> {
    [
        apalis_postgres::candidates(),
        apalis_sqlite::candidates(),
        graphile::candidates(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Candidate {
    /// Whether there is a place for its database.
    pub(crate) fn has_place(&self, places: &Places) -> bool {
        match self.kind {
            Kind::ApalisSqlite(_) => places.sqlite.is_some(),
            Kind::ApalisPostgres | Kind::Graphile(_) => places.postgres.is_some(),
        }
    }

    /// Its version, as it was locked for this build.
    pub(crate) fn version(&self) -> &'static str {
        version_in(include_str!("../../Cargo.lock"), self.name).unwrap_or("unknown")
    }

    /// Opens it on an empty database of its own.
    pub(crate) async fn open(&self, places: &Places) -> anyhow::Result<Box<dyn Peer>> {
        let server = places.postgres.as_ref().context("there is no PostgreSQL server");
        let file = places.sqlite.as_ref().context("there is no place for a file");
        Ok(match self.kind {
            Kind::ApalisPostgres => Box::new(apalis_postgres::open(server?, self).await?),
            Kind::ApalisSqlite(pusher) => Box::new(apalis_sqlite::open(file?, self, pusher).await?),
            Kind::Graphile(settings) => Box::new(graphile::open(server?, settings).await?),
        })
    }
}

/// A queue on its database.
#[async_trait]
pub(crate) trait Peer: Send + Sync {
    /// Writes these jobs in one transaction.
    async fn push(&self, numbers: Range<u64>) -> anyhow::Result<()>;

    /// Writes one job over a connection that no worker uses.
    async fn push_one(&self, number: u64) -> anyhow::Result<()>;

    /// Starts a worker of this name.
    async fn start(&self, name: &str, ledger: Arc<Ledger>) -> anyhow::Result<Running>;

    /// Whether every job is written down as done.
    async fn is_done(&self) -> anyhow::Result<bool>;

    /// Gathers what the planner knows of the jobs, for a peer that needs it.
    async fn analyze(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Closes its connections and removes its database.
    async fn remove(self: Box<Self>) -> anyhow::Result<()>;
}

/// A worker that runs.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Lets it finish what it began.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        // Gone already when the worker failed: its task says why.
        let _ = self.stop.send(());
        self.task.await?
    }
}

fn jobs(numbers: Range<u64>) -> Vec<Noop> {
    numbers.map(|number| Noop { number }).collect()
}

/// Says yes, and aloud: a worker that ends by itself loses time that the figures do not explain.
fn say_restart(worker: &str, error: &impl Display) -> bool {
    eprintln!("{worker} ended by itself and is started anew: {error}");
    true
}

/// A package's version in a lock file.
fn version_in<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, entry) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    entry.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn every_peer_is_locked_at_a_version() {
        for candidate in candidates() {
            assert_ne!(candidate.version(), "unknown", "{}", candidate.name);
        }
    }
}
