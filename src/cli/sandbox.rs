//! `aftercall sandbox`: servers that stand in for real ones.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{context::Context, failure::Failure};
use crate::sandbox::records::{self, Records};

/// Runs a server that stands in for a real one
#[derive(Debug, Args)]
pub(super) struct Sandbox {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Records(ServeRecords),
}

const EXAMPLE: &str = "\
Example:
  $ aftercall sandbox records ./my-records --listen 127.0.0.1:8090

DIR holds records_after.json, {\"SESSION\": {\"KIND/ID\": {…}}}, and any KIND_before.json, {\"ID\": {…}}.
GET /SESSION/KIND/ID answers the record as it was after that session: the one of records_after.json, else the one of
KIND_before.json, else 404.";

/// Serves a folder of records as a system of record, for trying aftercall on your own sessions
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
struct ServeRecords {
    /// The folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
}

impl Sandbox {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let What::Records(serve) = self.what;
        let records = Records::load(&serve.dir).map_err(|error| Failure::Fault(error.to_string()))?;
        let listener = TcpListener::bind(serve.listen).await.map_err(|error| {
            Failure::Storage(format!(
                "cannot listen on {}: {error}; choose another with --listen ADDRESS:PORT",
                serve.listen
            ))
        })?;
        let url = format!("http://{}", listener.local_addr()?);
        context.out.print(&json!({ "url": url }), |_| {
            format!("serving the records of {} on {url}; Ctrl-C stops", serve.dir.display())
        })?;
        let stopping = CancellationToken::new();
        let stop = stopping.clone();
        tokio::spawn(async move {
            // Without a signal handler the default action ends the process, which is as good.
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
            }
        });
        Ok(records::serve(Arc::new(records), listener, stopping).await?)
    }
}
