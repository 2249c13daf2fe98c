//! `aftercall bench`: how fast this machine is.

use clap::{Args, Subcommand};

use super::{context::Context, failure::Failure, wiring};

/// Measures this machine
#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Pipeline(Pipeline),
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

impl Bench {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let What::Pipeline(pipeline) = self.what;
        let Pipeline { sessions, noop_jobs } = pipeline;
        wiring::bench_pipeline(context, sessions, noop_jobs).await
    }
}
