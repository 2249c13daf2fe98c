//! `aftercall healthcheck`: how a process is, as an exit code, where there is no tool that asks.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use serde_json::json;

use super::{context::Context, failure::Failure};
use crate::{config::duration, http};

const EXAMPLE: &str = "\
Examples:
  $ aftercall healthcheck
  $ aftercall healthcheck 127.0.0.1:7701
  $ aftercall healthcheck 127.0.0.1:7701 --ready

It asks what `aftercall api`, or a process with --health, answers at that address: the health check
of a container that holds nothing but aftercall.";

/// Asks a process whether it lives (/healthz) or can do its work (/readyz): exit code 0 or 1
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Healthcheck {
    /// Where it answers
    #[arg(value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7700")]
    address: SocketAddr,
    /// Ask /readyz: 1 also while its database is away or it is told to stop
    #[arg(long)]
    ready: bool,
    /// How long an answer may take
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = duration::parse)]
    timeout: Duration,
}

impl Healthcheck {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let at = format!("http://{}{path}", self.address);
        let told = http::ask(self.address, path, self.timeout)
            .await
            .map_err(|error| Failure::Fault(format!("{at}: {error}")))?;
        if !told.is_well() {
            return Err(Failure::Fault(format!("{at} answers {}: {}", told.status, told.body)));
        }
        context
            .out
            .print(&json!({ "url": at, "status": told.status }), |_| told.body.clone())
    }
}
