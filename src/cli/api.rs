//! `aftercall api`: answers questions over HTTP, one process of a fleet.

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use super::{context::Context, failure::Failure, health, process, signals::Signals, wiring};

const EXAMPLE: &str = "\
Examples:
  $ aftercall api
  $ aftercall api --listen 127.0.0.1:7700 && curl http://127.0.0.1:7700/metrics
  $ aftercall api --listen 0.0.0.0:7700 --listen-unprotected

GET /healthz: it lives. GET /readyz: it can do its work; if not, 503 and why. GET /metrics: figures
for Prometheus. The last example is for a container whose network only your own machines reach:
nobody is asked for a token.";

/// Serves health and metrics over HTTP, until it is told to stop
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Api {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// Let other machines ask, too: nobody is asked for a token
    #[arg(long)]
    listen_unprotected: bool,
}

impl Api {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let config = context.config_to_look()?;
        let signals = Signals::listen()?;
        let bound = health::bind(self.listen, self.listen_unprotected)?;
        let start = async {
            let db = context.open(&config).await?;
            let running = wiring::start_api(&config, &db).await?;
            Ok::<_, Failure>((db, running))
        };
        let Some(started) = signals.unless_told(start).await else {
            return Ok(());
        };
        let (db, running) = started?;
        let url = bound.url();
        context.out.print(&json!({ "url": url }), |_| {
            format!("serving /healthz, /readyz and /metrics on {url}; Ctrl-C stops")
        })?;
        process::until_told(&signals, &db, running, Some(bound)).await
    }
}
