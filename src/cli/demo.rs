//! `aftercall demo`: the whole pipeline on made-up calls, on this machine alone.

use std::path::PathBuf;

use clap::Args;

use super::{context::Context, failure::Failure, wiring};

const EXAMPLE: &str = "\
Examples:
  $ aftercall demo
  $ aftercall demo --dir /tmp/my-demo

It starts a system of record and a scripted LLM on loopback, feeds made-up orthodontic calls through the real pipeline
with all waits divided by 60, and prints the verdicts and one diagnosis. Nothing leaves this machine.";

/// Runs the whole pipeline on made-up calls against sandbox servers, in under half a minute
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Demo {
    /// Where its files and database go; made new each time
    #[arg(long, value_name = "DIR", default_value = "aftercall-data/demo")]
    dir: PathBuf,
}

impl Demo {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let _ = (context, self.dir); Err(Failure::Usage("soon".to_owned()))
    }
}
