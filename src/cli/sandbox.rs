//! `aftercall sandbox`: servers that stand in for real ones.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{context::Context, failure::Failure};
use crate::sandbox::records::{self, Records};

mod cloud9;
mod demo;
mod langfuse;
mod postgres;

/// Runs a server that stands in for a real one
#[derive(Debug, Args)]
pub(super) struct Sandbox {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Records(ServeRecords),
    Cloud9(Box<cloud9::ServeCloud9>),
    Langfuse(langfuse::ServeLangfuse),
    Postgres(postgres::ServePostgres),
    Demo(demo::ServeDemo),
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
        match self.what {
            What::Records(serve) => serve.execute(context).await,
            What::Cloud9(serve) => serve.execute(context).await,
            What::Langfuse(serve) => serve.execute(context).await,
            What::Postgres(serve) => serve.execute(context).await,
            What::Demo(serve) => serve.execute(context).await,
        }
    }
}

impl ServeRecords {
    async fn execute(self, context: &Context) -> Result<(), Failure> {
        let records = Records::load(&self.dir).map_err(|error| Failure::Fault(error.to_string()))?;
        let listener = listen(self.listen).await?;
        let url = format!("http://{}", listener.local_addr()?);
        context.out.print(&json!({ "url": url }), |_| {
            format!("serving the records of {} on {url}; Ctrl-C stops", self.dir.display())
        })?;
        Ok(records::serve(Arc::new(records), listener, until_told()?).await?)
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::Storage(format!(
            "cannot listen on {address}: {error}; choose another with --listen ADDRESS:PORT"
        ))
    })
}

/// Cancelled by Ctrl-C, and by SIGTERM: the first process of a container has no default action that would end it.
fn until_told() -> io::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopping = CancellationToken::new();
    let stop = stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.cancel();
    });
    Ok(stopping)
}
