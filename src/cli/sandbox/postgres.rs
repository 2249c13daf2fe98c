//! `aftercall sandbox postgres`: a PostgreSQL to try aftercall on.

use clap::Args;
use serde_json::json;

use super::{Context, Failure, until_told};
use crate::sandbox::postgres::{Cluster, Options};

const EXAMPLE: &str = "\
Example:
  $ aftercall sandbox postgres

It needs PostgreSQL's server on this machine (Debian: apt-get install postgresql), running or not: this one is another, in a
folder and on a port of its own. Whatever ends this command, kill -9 included, ends the server, and its data with it.";

/// Runs a PostgreSQL of its own until it is told to stop, for trying aftercall on one
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct ServePostgres {
    /// Wait for the disk at each commit, as a server in earnest does
    #[arg(long)]
    durable: bool,
    /// How many may be connected at once
    #[arg(long, value_name = "N", default_value_t = 300)]
    max_connections: u32,
}

impl ServePostgres {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let options = if self.durable {
            Options::durable()
        } else {
            Options::fast().on_disk()
        };
        let options = options.set("max_connections", &self.max_connections.to_string());
        // Until it runs, Ctrl-C ends the process, and that ends whatever has been started.
        let cluster = tokio::task::spawn_blocking(move || Cluster::start(&options))
            .await
            .map_err(|error| Failure::Fault(error.to_string()))?
            .map_err(|error| Failure::Fault(error.to_string()))?;
        let stopping = until_told()?;
        let url = cluster.url("postgres");
        context
            .out
            .print(&json!({ "url": url, "folder": cluster.folder() }), |_| {
                format!(
                    "PostgreSQL is on {url}, its files in {}; Ctrl-C stops",
                    cluster.folder().display()
                )
            })?;
        stopping.cancelled().await;
        Ok(())
    }
}
