//! `aftercall bench queue`: no-op jobs through the queue on both databases, beside the same statements by hand and beside other
//! job queues, in one run; how long a job waits; and what does not get slower.

mod bounded;
mod by_hand;
mod goals;
mod idle;
mod noop;
mod peers;
mod pinned;
mod report;
pub(super) mod server;
pub(super) mod steady;
pub(super) mod tables;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    bounded::Bounded,
    goals::Goal,
    peers::{Latency, Peer, Peers},
    pinned::Pinned,
    report::{Database, Idle, Pickup, Report, Throughput, What},
};
use self::{
    by_hand::Case as ByHand,
    noop::{Case, End},
    report::Rounds,
    server::Server,
    steady::Rate,
};
use super::{by_hand as by_hand_on_file, distribution::Distribution};
use crate::db::{Db, Location, PostgresLocation};

/// Connections of pgbench, and of our jobs.
const CONNECTIONS: u32 = PostgresLocation::MAX_CONNECTIONS;
/// Jobs at once that end one by one: a few wait for each connection.
const AT_ONCE_ALONE: usize = 64;
/// Jobs at once that end together: two of the largest groups.
const AT_ONCE_TOGETHER: usize = 1_000;
/// So many times as many jobs where they share commits: they take as long.
const MORE_TOGETHER: u64 = 5;

/// What to measure, and how much of it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// A server to make a database in; else a cluster of the bench's own.
    pub postgres: Option<String>,
    /// The program; else the cluster's, or the one on the path.
    pub pgbench: Option<PathBuf>,
    /// The program that measures other queues; else where it is built.
    pub peers: Option<PathBuf>,
    /// No-op jobs in each case with a commit per job.
    pub jobs: u64,
    /// How often each case is run: the middle counts.
    pub rounds: usize,
    /// Jobs one by one, for how long they wait.
    pub pickups: u64,
    /// Waiting and finished jobs: few and many.
    pub rows: (u64, u64),
    /// Jobs worked off beside them.
    pub claims: u64,
    /// How long a transaction is held open.
    pub pinned: Duration,
    /// How long idling is watched.
    pub idle: Duration,
    /// How long a worker is given to come up.
    pub settle: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            postgres: None,
            pgbench: None,
            peers: None,
            jobs: 20_000,
            rounds: 3,
            pickups: 500,
            rows: (10_000, 200_000),
            claims: 1_000,
            pinned: Duration::from_secs(30),
            idle: Duration::from_secs(10),
            settle: Duration::from_secs(2),
        }
    }
}

/// Runs it in a directory of its own, which the caller removes.
///
/// # Errors
/// When a database or pgbench cannot be used, or a job was not run exactly once.
pub async fn run(directory: &Path, plan: &Plan) -> anyhow::Result<Report> {
    let server = Server::open(plan.postgres.as_deref(), plan.pgbench.clone()).await?;
    let report = measure(directory, plan, &server).await;
    let removed = server.remove().await;
    let report = report?;
    removed?;
    Ok(report)
}

async fn measure(directory: &Path, plan: &Plan, server: &Server) -> anyhow::Result<Report> {
    let at_server = Location::postgres(server.url.as_str());
    let at_file = Location::sqlite(directory.join("queue.db"));
    let mut throughput = on_server(directory, plan, server).await?;
    throughput.extend(on_file(directory, plan).await?);
    let mut report = Report {
        throughput,
        ..Report::default()
    };
    for (database, location) in [(Database::Postgres, &at_server), (Database::Sqlite, &at_file)] {
        let worker = Db::open(location).await?;
        let other = Db::open(location).await?;
        for (across, pusher) in [(false, &worker), (true, &other)] {
            let rate = Rate {
                jobs: plan.pickups,
                per_second: 100,
                settle: plan.settle,
            };
            report.pickup.push(Pickup {
                database,
                across,
                wait_ms: Distribution::of(steady::run(&worker, pusher, rate).await?),
            });
        }
        report.idle.push(Idle {
            database,
            statements_per_second: idle::run(&worker, plan.idle, plan.settle).await?,
        });
        if database == Database::Postgres {
            report.pinned = Some(pinned::run(&worker, &other, plan.pinned, plan.settle).await?);
        }
        other.close().await;
        worker.close().await;
    }
    for rows in [plan.rows.0, plan.rows.1] {
        report.bounded.push(bounded::run(&at_server, rows, plan.claims).await?);
    }
    report.peers = peers::run(plan.peers.as_deref(), &server.admin_url, directory).await?;
    report.goals = goals::of(&report);
    Ok(report)
}

/// The cases on PostgreSQL take turns with those by hand: what slows the machine down for a while slows all of them.
async fn on_server(directory: &Path, plan: &Plan, server: &Server) -> anyhow::Result<Vec<Throughput>> {
    let db = Db::open(&Location::postgres(server.url.as_str())).await?;
    let mut rounds = Rounds::of(Database::Postgres);
    for _ in 0..plan.rounds {
        for many in [false, true] {
            let case = ByHand {
                jobs: jobs(plan, many),
                connections: CONNECTIONS.into(),
                many,
            };
            let what = if many { What::ByHandTogether } else { What::ByHand };
            let per_second = by_hand::run(&db, &server.pgbench, &server.url, directory, case).await?;
            rounds.add(what, case.jobs, per_second, None);
            ours(&db, plan, many, &mut rounds).await?;
        }
    }
    db.close().await;
    Ok(rounds.end())
}

/// The same on an embedded file.
async fn on_file(directory: &Path, plan: &Plan) -> anyhow::Result<Vec<Throughput>> {
    let db = Db::open(&Location::sqlite(directory.join("noop.db"))).await?;
    let mut rounds = Rounds::of(Database::Sqlite);
    for _ in 0..plan.rounds {
        for many in [false, true] {
            let jobs = jobs(plan, many);
            let each = if many { by_hand_on_file::MANY } else { 1 };
            let took = by_hand_on_file::run(directory, jobs, each, false).await?;
            let what = if many { What::ByHandTogether } else { What::ByHand };
            rounds.add(what, jobs, jobs as f64 / took.as_secs_f64(), None);
            ours(&db, plan, many, &mut rounds).await?;
        }
    }
    db.close().await;
    Ok(rounds.end())
}

fn jobs(plan: &Plan, together: bool) -> u64 {
    plan.jobs * if together { MORE_TOGETHER } else { 1 }
}

async fn ours(db: &Db, plan: &Plan, together: bool, rounds: &mut Rounds) -> anyhow::Result<()> {
    let cases: &[(What, End, bool)] = if together {
        &[
            (What::Together, End::Together, false),
            (What::TogetherLimited, End::Together, true),
        ]
    } else {
        &[
            (What::Transaction, End::Transaction, false),
            (What::Alone, End::Alone, false),
            (What::AloneLimited, End::Alone, true),
        ]
    };
    for (what, end, limited) in cases {
        let case = Case {
            jobs: jobs(plan, together),
            at_once: if together { AT_ONCE_TOGETHER } else { AT_ONCE_ALONE },
            end: *end,
            limited: *limited,
        };
        let speed = noop::run(db, case).await?;
        rounds.add(*what, case.jobs, speed.per_second, Some(speed.statements));
    }
    Ok(())
}
