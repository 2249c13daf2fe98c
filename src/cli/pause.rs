//! `aftercall pause` and `aftercall resume`.

use clap::Args;
use serde_json::json;

use super::{context::Context, failure::Failure};

const PAUSE_EXAMPLE: &str = "\
Example:
  $ aftercall pause verify_session --reason \"practice system under maintenance until 14:00\"";

/// Starts no more jobs of a queue, in the whole fleet; those that run go on
#[derive(Debug, Args)]
#[command(after_help = PAUSE_EXAMPLE)]
pub(super) struct Pause {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: String,
    /// Why, for the next person who looks
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    reason: String,
}

const RESUME_EXAMPLE: &str = "\
Example:
  $ aftercall resume verify_session";

/// Starts jobs of a paused queue again
#[derive(Debug, Args)]
#[command(after_help = RESUME_EXAMPLE)]
pub(super) struct Resume {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: String,
}

impl Pause {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        context.desk().await?.pause(&self.queue, &self.reason).await?;
        context.out.print(&json!({ "queue": self.queue, "paused": true }), |_| {
            format!(
                "{} is paused; `aftercall resume {}` starts it again",
                self.queue, self.queue
            )
        })
    }
}

impl Resume {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        context.desk().await?.resume(&self.queue).await?;
        context
            .out
            .print(&json!({ "queue": self.queue, "paused": false }), |_| {
                format!("{} runs", self.queue)
            })
    }
}
