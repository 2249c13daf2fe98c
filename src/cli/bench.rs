//! `aftercall bench`: how fast this machine is.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{context::Context, failure::Failure, wiring};
use crate::{
    bench::{inspect, queue::Plan},
    config::duration,
};

/// Measures this machine
#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Pipeline(Pipeline),
    Pickup(Pickup),
    Lane(Lane),
    Memory(Memory),
    Queue(Queue),
    Inspect(Inspect),
}

const EXAMPLE: &str = "\
Example:
  $ aftercall bench pipeline --sessions 10000";

/// Sends tiny sessions through the whole pipeline, and the same SQL by hand as the limit
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
struct Pipeline {
    /// How many sessions
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sessions: u64,
    /// How many no-op jobs, through the queue and by hand
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    noop_jobs: u64,
}

const PICKUP_EXAMPLE: &str = "\
Example:
  $ aftercall bench pickup --jobs 200";

/// Measures how long a job waits to be started, within one process and across two on one file, idle and busy
#[derive(Debug, Args)]
#[command(after_help = PICKUP_EXAMPLE)]
struct Pickup {
    /// How many jobs to measure in each case
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// The second process: the database that both work on
    #[arg(long, hide = true, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// The second process: a queue to serve
    #[arg(long, hide = true, value_name = "NAME", requires = "worker")]
    queue: Vec<String>,
}

const LANE_EXAMPLE: &str = "\
Example:
  $ aftercall bench lane --sessions 50";

/// Measures at a server how well the pause between two calls is kept under a backlog, by one process and by two
#[derive(Debug, Args)]
#[command(after_help = LANE_EXAMPLE)]
struct Lane {
    /// How many sessions wait in each of the eight cases; each takes the pause, a fifth of a second
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    sessions: u64,
}

const MEMORY_EXAMPLE: &str = "\
Example:
  $ aftercall bench memory --megabytes 5";

/// Measures the most memory that sessions as large as they come take, and the scan of many observations
#[derive(Debug, Args)]
#[command(after_help = MEMORY_EXAMPLE)]
struct Memory {
    /// How large a session is [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    megabytes: Option<u64>,
    /// A case's own process: the sessions
    #[arg(long, hide = true, value_name = "FILE")]
    of: Option<PathBuf>,
    /// A case's own process: where the system of record is; without it, only the scan is done
    #[arg(long, hide = true, value_name = "URL")]
    records: Option<String>,
    /// A case's own process: where the LLM is
    #[arg(long, hide = true, value_name = "URL")]
    model: Option<String>,
}

const QUEUE_EXAMPLE: &str = "\
Example:
  $ aftercall bench queue
  $ aftercall bench queue --rows 1000000 --pinned 10m

It starts a PostgreSQL of its own, which is gone afterwards, and takes some minutes. Other queues are measured beside it once
benches/peers is built.";

/// Measures the queue on both databases, beside the same statements by hand and beside other queues
#[derive(Debug, Args)]
#[command(after_help = QUEUE_EXAMPLE)]
struct Queue {
    /// How many no-op jobs in each case; five times as many where they share commits
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// How many jobs wait, and how many are finished, beside those whose claims are measured
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = clap::value_parser!(u64).range(2_000..))]
    rows: u64,
    /// How long a transaction is held open beside a steady load
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration::parse)]
    pinned: Duration,
    /// A server of yours instead: a database aftercall_bench is made there (dropped first, and afterwards), and for the other
    /// queues some that are named peer_…
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// The program that measures other queues [default: benches/peers/target/release/peers]
    #[arg(long, value_name = "PATH")]
    peers: Option<PathBuf>,
}

impl Queue {
    fn plan(self) -> Plan {
        Plan {
            postgres: self.postgres,
            peers: self.peers,
            jobs: self.jobs,
            rows: (self.rows.min(10_000), self.rows),
            pinned: self.pinned,
            ..Plan::default()
        }
    }
}

const INSPECT_EXAMPLE: &str = "\
Example:
  $ aftercall bench inspect
  $ aftercall bench inspect --jobs 100000 --retry 50000

It starts a PostgreSQL of its own, which is gone afterwards, and takes some minutes.";

/// Measures `queues`, `jobs list` and `why` with very many jobs on both databases, and a retry of many beside other work
#[derive(Debug, Args)]
#[command(after_help = INSPECT_EXAMPLE)]
struct Inspect {
    /// How many jobs there are
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// How many of them were given up, and are run again; at most as many as there are
    #[arg(long, default_value_t = 500_000, value_name = "N")]
    retry: u64,
    /// A server of yours instead: a database aftercall_bench is made there (dropped first, and afterwards)
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
}

impl Inspect {
    fn plan(self) -> inspect::Plan {
        inspect::Plan {
            postgres: self.postgres,
            jobs: self.jobs,
            retry: self.retry,
            ..inspect::Plan::default()
        }
    }
}

impl Bench {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        match self.what {
            What::Pipeline(Pipeline { sessions, noop_jobs }) => {
                wiring::bench_pipeline(context, sessions, noop_jobs).await
            }
            What::Pickup(Pickup {
                worker: Some(file),
                queue,
                ..
            }) => wiring::bench_pickup_worker(&file, &queue).await,
            What::Pickup(Pickup { jobs, .. }) => wiring::bench_pickup(context, jobs).await,
            What::Memory(Memory {
                of: Some(bundle),
                records,
                model,
                ..
            }) => wiring::bench_memory_of(context, bundle, records, model).await,
            What::Memory(Memory { megabytes, .. }) => wiring::bench_memory(context, megabytes).await,
            What::Queue(queue) => wiring::bench_queue(context, &queue.plan()).await,
            What::Inspect(inspect) => wiring::bench_inspect(context, &inspect.plan()).await,
            What::Lane(Lane { sessions }) => wiring::bench_lane(context, sessions).await,
        }
    }
}
