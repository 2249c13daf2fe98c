//! `aftercall bench inspect`: what an operator asks of a queue with very many jobs, on both databases, and what a change of many of
//! them costs the others.

mod fill;
mod looks;
mod report;
mod retry;

use std::{path::Path, time::Duration};

pub use self::{
    looks::Look,
    report::{Filled, Report},
    retry::Retried,
};
use super::queue::{Database, server::Server};
use crate::db::{Db, Location};

/// What to measure, and how much of it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// A server to make a database in; else a cluster of the bench's own.
    pub postgres: Option<String>,
    /// Jobs in all.
    pub jobs: u64,
    /// Of these, those that were given up, which are run again.
    pub retry: u64,
    /// How often each question is asked, after a few times that do not count.
    pub repetitions: u32,
    /// Jobs of another queue whose pick-up is measured before the others are run again; a hundred a second also while they are.
    pub pickups: u64,
    /// How long a worker is given to come up.
    pub settle: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            postgres: None,
            jobs: 1_000_000,
            retry: 500_000,
            repetitions: 40,
            pickups: 1_000,
            settle: Duration::from_secs(2),
        }
    }
}

/// Runs it in a directory of its own, which the caller removes.
///
/// # Errors
/// When a database cannot be used, a counter is wrong, or a job that was given up was not run again.
pub async fn run(directory: &Path, plan: &Plan) -> anyhow::Result<Report> {
    anyhow::ensure!(
        plan.retry <= plan.jobs,
        "of {} jobs not {} can be run again: --retry is at most --jobs",
        plan.jobs,
        plan.retry
    );
    let server = Server::open(plan.postgres.as_deref(), None).await?;
    let at_server = Location::postgres(server.url.as_str());
    let at_file = Location::sqlite(directory.join("inspect.db"));
    let mut report = Report::default();
    let mut measured = Ok(());
    for (database, location) in [(Database::Postgres, &at_server), (Database::Sqlite, &at_file)] {
        measured = measure(database, location, plan, &mut report).await;
        if measured.is_err() {
            break;
        }
    }
    let removed = server.remove().await;
    measured?;
    removed?;
    Ok(report)
}

async fn measure(database: Database, location: &Location, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let db = Db::open(location).await?;
    let seconds = fill::run(&db, plan.jobs, plan.retry).await?;
    report.filled.push(Filled {
        database,
        jobs: plan.jobs,
        seconds,
    });
    report.looks.extend(looks::run(&db, database, plan).await?);
    if plan.retry > 0 {
        let other = Db::open(location).await?;
        report.retried.push(retry::run(&db, &other, database, plan).await?);
        other.close().await;
    }
    db.close().await;
    Ok(())
}
