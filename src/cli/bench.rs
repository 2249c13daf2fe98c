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
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    sessions: u32,
}

impl Bench {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let What::Pipeline(pipeline) = self.what;
        wiring::bench_pipeline(context, pipeline.sessions).await
    }
}
