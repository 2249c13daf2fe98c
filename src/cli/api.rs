//! `aftercall api`: answers questions over HTTP, one process of a fleet.

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use serde_json::json;

use super::{context::Context, failure::Failure, health, process, signals::Signals, wiring};
use crate::{
    config::{Config, Overrides},
    db::Location,
    http::{Reach, Served, Unlistenable, is_public, openapi},
    store::tokens,
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall api
  $ aftercall api --listen 127.0.0.1:7700 && curl http://127.0.0.1:7700/api/v1/queues
  $ aftercall api --listen 0.0.0.0:7700
  $ aftercall api --listen 0.0.0.0:7700 --listen-unprotected
  $ aftercall api --openapi > aftercall-openapi.json

/api/v1: what the command line shows and does, with a reference at /api/v1/docs. GET /healthz: it
lives. GET /readyz: it can do its work; if not, 503 and why. GET /metrics: figures for Prometheus.

Changes need a token (`aftercall token create --scope operate`). On loopback, and as long as there
never was a token, reads need none. Where other machines reach it there has to be a token, and all
but /healthz asks for one; --listen-unprotected is for a container whose network only your own
machines reach: health and metrics are open to them, /api/v1 is not.";

/// Serves the HTTP API, health and metrics, until it is told to stop
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Api {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// Let other machines ask for health and metrics without a token
    #[arg(long)]
    listen_unprotected: bool,
    /// A further name of this machine, under which it may be asked without a token while there is none
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Print the OpenAPI document and serve nothing
    #[arg(long)]
    openapi: bool,
}

impl Api {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        if self.openapi {
            let document: serde_json::Value = serde_json::from_str(&openapi()).unwrap_or_default();
            let text = serde_json::to_string_pretty(&document).unwrap_or_default();
            return context.out.print(&document, |_| text);
        }
        let config = Arc::new(context.config(Overrides {
            without_secrets: true,
            // Webhooks are sent to this process.
            webhook_secrets: true,
            ..Overrides::default()
        })?);
        let signals = Signals::listen()?;
        let Some(reach) = signals.unless_told(self.reach(context, &config)).await else {
            return Ok(());
        };
        let reach = reach?;
        // Who may ask there is decided.
        let bound = health::bind(self.listen, true)?;
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
            format!("serving /api/v1, /healthz, /readyz and /metrics on {url}; Ctrl-C stops")
        })?;
        let served = Served { config, reach };
        process::until_told(&signals, &db, running, Some(bound), Some(served)).await
    }

    /// Who reaches it. An address that strangers reach is refused where they could not have a token.
    async fn reach(&self, context: &Context, config: &Config) -> Result<Reach, Failure> {
        if self.listen_unprotected {
            return Ok(Reach::Ours);
        }
        if !is_public(self.listen) {
            let hosts = self.host.clone();
            return Ok(Reach::Loopback { hosts });
        }
        let exists = match config.database.location() {
            Location::Sqlite { path, .. } => path.exists(),
            Location::Postgres(_) => true,
        };
        if exists {
            let db = context.open(config).await?;
            let (all, now) = (tokens::list(&db).await?, db.now().await?);
            db.close().await;
            if all.iter().any(|token| token.is_good(now)) {
                return Ok(Reach::Public);
            }
        }
        Err(health::unlistenable(&Unlistenable::NoToken(self.listen)))
    }
}
