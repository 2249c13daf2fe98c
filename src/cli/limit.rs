//! `aftercall limit`: how many jobs of a key run at once.

use clap::Args;
use serde_json::json;

use super::{context::Context, failure::Failure};

const EXAMPLE: &str = "\
Examples:
  $ aftercall limit diagnose_session 1
  $ aftercall limit verify_session/practice 1";

/// Sets how many jobs of a limit key run at once, in the whole fleet; a lowered limit drains
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Limit {
    /// A queue, or queue/partition, as `queues` shows it
    #[arg(value_name = "KEY")]
    key: String,
    /// Jobs at once
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_running: u32,
}

impl Limit {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        if !context.desk().await?.set_limit(&self.key, self.max_running).await? {
            return Err(Failure::Fault(format!(
                "there is no limit `{}`; `aftercall queues` shows which there are",
                self.key
            )));
        }
        context
            .out
            .print(&json!({ "key": self.key, "max_running": self.max_running }), |_| {
                format!(
                    "{}: {} at once; the configuration does not overwrite it",
                    self.key, self.max_running
                )
            })
    }
}
