//! What was measured, for people and for programs.

use serde::Serialize;

use super::{Bounded, Goal, Peer, Peers, Pinned};
use crate::bench::distribution::Distribution;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Database {
    /// A server.
    Postgres,
    /// An embedded file.
    Sqlite,
}

impl Database {
    pub(in crate::bench) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        }
    }
}

/// A way for no-op jobs to be claimed and to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Not through the queue: the same statements, one commit per job.
    ByHand,
    /// Not through the queue: five hundred at a time.
    ByHandTogether,
    /// A transaction of the job's own, as with effects.
    Transaction,
    /// One statement and one commit per job.
    Alone,
    /// The same under a limit that does not bind.
    AloneLimited,
    /// Jobs that end at the same time share a commit.
    Together,
    /// The same under a limit that does not bind.
    TogetherLimited,
}

impl What {
    fn words(self) -> &'static str {
        match self {
            Self::ByHand => "by hand, one commit per job",
            Self::ByHandTogether => "by hand, 500 jobs per commit",
            Self::Transaction => "a transaction per job",
            Self::Alone => "no effects, one commit per job",
            Self::Together => "no effects, ends together",
            Self::AloneLimited | Self::TogetherLimited => "the same under a limit",
        }
    }

    /// What it is measured by.
    fn limit(self) -> Self {
        match self {
            Self::ByHand | Self::Transaction | Self::Alone | Self::AloneLimited => Self::ByHand,
            Self::ByHandTogether | Self::Together | Self::TogetherLimited => Self::ByHandTogether,
        }
    }
}

/// How fast a backlog is worked off.
#[derive(Debug, Clone, Serialize)]
pub struct Throughput {
    /// On which database.
    pub database: Database,
    /// How.
    pub what: What,
    /// Jobs in each round.
    pub jobs: u64,
    /// Jobs a second: the middle of the rounds.
    pub per_second: f64,
    /// Jobs a second in each round.
    pub rounds: Vec<f64>,
    /// Statements that the process sent for each job; pgbench's are two.
    pub statements_per_job: Option<f64>,
}

/// How long a job waits that finds a worker with nothing else to do, at 100 jobs a second.
#[derive(Debug, Clone, Serialize)]
pub struct Pickup {
    /// On which database.
    pub database: Database,
    /// Pushed over connections that the worker does not have, as another process does.
    pub across: bool,
    /// From just before the push to the first line of the job.
    pub wait_ms: Distribution,
}

/// What a process costs that has nothing to do.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Idle {
    /// On which database.
    pub database: Database,
    /// What it asks.
    pub statements_per_second: f64,
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// By database and case.
    pub throughput: Vec<Throughput>,
    /// By database, within a process and across.
    pub pickup: Vec<Pickup>,
    /// By database.
    pub idle: Vec<Idle>,
    /// A claim on PostgreSQL beside few rows, and beside many.
    pub bounded: Vec<Bounded>,
    /// With a transaction held open on PostgreSQL.
    pub pinned: Option<Pinned>,
    /// Other queues.
    pub peers: Peers,
    /// What is wanted of these figures.
    pub goals: Vec<Goal>,
}

impl Report {
    /// Jobs a second of a case.
    pub fn per_second(&self, database: Database, what: What) -> Option<f64> {
        let of = |line: &&Throughput| line.database == database && line.what == what;
        self.throughput.iter().find(of).map(|line| line.per_second)
    }

    /// The figures, and below them the goals.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{:<11}{:<34}{:>9}{:>12}{:>17}",
            "no-op jobs", "", "jobs/s", "of by hand", "statements/job"
        )];
        lines.extend(self.throughput.iter().map(|line| self.throughput_line(line)));
        lines.extend(self.peers.measured.iter().filter_map(peer_throughput));
        lines.push(String::new());
        lines.push(format!(
            "{:<45}{:>9}{:>9}{:>9}{:>9}",
            "from push to start at 100 jobs/s, ms", "p50", "p95", "p99", "max"
        ));
        for Pickup {
            database,
            across,
            wait_ms,
        } in &self.pickup
        {
            let from = if *across {
                "pushed by another process"
            } else {
                "pushed by the same process"
            };
            lines.push(format!("{:<11}{from:<34}{}", database.name(), spread(wait_ms)));
        }
        lines.extend(self.peers.measured.iter().filter_map(peer_pickup));
        lines.push(String::new());
        lines.extend(self.condition_lines());
        lines.push(String::new());
        lines.extend(
            self.peers
                .not_measured
                .iter()
                .map(|why| format!("other queues: not measured: {why}")),
        );
        lines.extend(self.promises());
        lines.push(String::new());
        lines.extend(self.goals.iter().map(Goal::line));
        lines
    }

    fn throughput_line(&self, line: &Throughput) -> String {
        let share = self
            .per_second(line.database, line.what.limit())
            .filter(|_| line.what != line.what.limit())
            .map(|limit| format!("{:.0} %", line.per_second / limit * 100.0));
        let statements = line.statements_per_job.map(|each| format!("{each:.2}"));
        format!(
            "{:<11}{:<34}{:>9.0}{:>12}{:>17}",
            line.database.name(),
            line.what.words(),
            line.per_second,
            share.unwrap_or_default(),
            statements.unwrap_or_default()
        )
    }

    fn condition_lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{:<45}{:>9}{:>9}{:>9}{:>9}",
            "PostgreSQL, other conditions, ms", "p50", "p95", "p99", "max"
        )];
        for bounded in &self.bounded {
            let read = bounded.rows_read.map(|read| format!("   {read:.1} rows read per job"));
            lines.push(format!(
                "{:<45}{}{}",
                format!("claim and end beside {} + {}", bounded.rows, bounded.rows),
                spread(&bounded.cycle_ms),
                read.unwrap_or_default()
            ));
        }
        if let Some(pinned) = &self.pinned {
            let words = format!("push to start at {} jobs/s", pinned.per_second);
            lines.push(format!("{words:<45}{}", spread(&pinned.before_ms)));
            let words = format!("the same, a transaction open for {:.0} s", pinned.seconds);
            lines.push(format!("{words:<45}{}", spread(&pinned.pinned_ms)));
        }
        lines
    }

    /// What each promises beside its speed: without this, figures compare apples with pears.
    fn promises(&self) -> Vec<String> {
        if self.peers.measured.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![format!(
            "aftercall: {}",
            "every end is fenced by its claim's own lease, history kept, limits exact, a dead worker's job runs elsewhere in 15 s"
        )];
        for peer in &self.peers.measured {
            let twice = match peer.duplicates_seen {
                0 => String::new(),
                twice => format!("; {twice} ran twice here"),
            };
            let line = format!(
                "{} {}, {}: {}{twice}",
                peer.peer, peer.version, peer.settings, peer.guarantees
            );
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }
}

fn spread(of: &Distribution) -> String {
    format!("{:>9.1}{:>9.1}{:>9.1}{:>9.1}", of.p50, of.p95, of.p99, of.max)
}

fn database_of(peer: &Peer) -> Database {
    if peer.is_on_file() {
        Database::Sqlite
    } else {
        Database::Postgres
    }
}

fn peer_throughput(peer: &Peer) -> Option<String> {
    let name = database_of(peer).name();
    Some(format!(
        "{name:<11}{:<34}{:>9.0}   {}",
        peer.peer, peer.jobs_per_second?, peer.settings
    ))
}

fn peer_pickup(peer: &Peer) -> Option<String> {
    let name = database_of(peer).name();
    let wait = peer.latency_ms?;
    Some(format!(
        "{name:<11}{:<34}{:>9.1}{:>9.1}{:>9.1}{:>9.1}   {}",
        peer.peer, wait.p50, wait.p95, wait.p99, wait.max, peer.settings
    ))
}

/// The rounds of one database, until their middle is known.
pub(super) struct Rounds {
    database: Database,
    lines: Vec<Throughput>,
}

impl Rounds {
    pub(super) fn of(database: Database) -> Self {
        Self {
            database,
            lines: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, what: What, jobs: u64, per_second: f64, statements_per_job: Option<f64>) {
        match self.lines.iter_mut().find(|line| line.what == what) {
            Some(line) => line.rounds.push(per_second),
            None => self.lines.push(Throughput {
                database: self.database,
                what,
                jobs,
                per_second,
                rounds: vec![per_second],
                statements_per_job,
            }),
        }
    }

    pub(super) fn end(mut self) -> Vec<Throughput> {
        for line in &mut self.lines {
            line.per_second = Distribution::of(line.rounds.clone()).p50;
        }
        self.lines
    }
}
