//! Measures other job queues, each on an empty database of its own.

mod cases;
mod database;
mod ledger;
mod measurement;
mod peers;

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::ensure;
use clap::{Parser, ValueEnum};

use crate::{
    cases::Case,
    database::Server,
    measurement::Measurement,
    peers::{Candidate, Places},
};

/// Measures other job queues: how fast a backlog of no-op jobs is worked off, and how long a job waits when nothing else is to do
#[derive(Debug, Parser)]
#[command(after_help = "\
Example:
  $ peers --postgres postgres://postgres@127.0.0.1:54999/postgres --sqlite /tmp/peers.db --json")]
struct Arguments {
    /// A PostgreSQL server to make databases in, as a superuser: those named peer_… are dropped first, and afterwards
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// A SQLite file that does not exist yet; removed afterwards
    #[arg(long, value_name = "FILE")]
    sqlite: Option<PathBuf>,
    /// What to measure; overlap, two workers on slow jobs, takes up to two minutes for each setting and is not part of all
    #[arg(long, value_enum, default_value_t = Which::All)]
    case: Which,
    /// Only this peer
    #[arg(long, value_name = "NAME", value_parser = peer_names())]
    peer: Option<String>,
    /// How many jobs [default: 20000 for throughput in batches, 2000 one by one, 200 for pickup]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    jobs: Option<u64>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Throughput,
    Pickup,
    Overlap,
    All,
}

impl Which {
    fn cases(self) -> &'static [Case] {
        match self {
            Self::Throughput => &[Case::Throughput],
            Self::Pickup => &[Case::Pickup],
            Self::Overlap => &[Case::Overlap],
            Self::All => &[Case::Throughput, Case::Pickup],
        }
    }
}

fn peer_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = peers::candidates().iter().map(|candidate| candidate.name).collect();
    names.dedup();
    names
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let places = Places {
        postgres: arguments.postgres.as_deref().map(Server::at).transpose()?,
        sqlite: arguments.sqlite.clone(),
    };
    let candidates: Vec<Candidate> = peers::candidates()
        .into_iter()
        .filter(|candidate| arguments.peer.as_deref().is_none_or(|name| name == candidate.name))
        .filter(|candidate| candidate.has_place(&places))
        .collect();
    ensure!(
        !candidates.is_empty(),
        "nothing to measure: name a place with --postgres or --sqlite"
    );

    let mut all_measured = true;
    for case in arguments.case.cases() {
        for candidate in candidates.iter().filter(|candidate| candidate.cases.contains(case)) {
            match case.measure(candidate, &places, arguments.jobs).await {
                Ok(measurement) => print(&measurement, arguments.json)?,
                Err(error) => {
                    all_measured = false;
                    eprintln!("{} ({}), {case:?}: {error:#}", candidate.name, candidate.settings);
                }
            }
        }
    }
    Ok(if all_measured {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// At once: who reads along sees each when it is done.
fn print(measurement: &Measurement, json: bool) -> anyhow::Result<()> {
    let line = if json {
        serde_json::to_string(measurement)?
    } else {
        measurement.text()
    };
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
