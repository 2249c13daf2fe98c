//! `--health`: what every process of a fleet answers to its orchestrator.

use std::net::SocketAddr;

use clap::Args;

use super::failure::Failure;
use crate::{
    db::Db,
    http::{About, Bound, Served, Server, Unlistenable},
    queue::Pulse,
};

/// Where a process says how it is.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Serve /healthz, /readyz and /metrics here
    #[arg(long, value_name = "ADDRESS:PORT")]
    health: Option<SocketAddr>,
    /// Let other machines ask, too: nobody is asked for a token
    #[arg(long, requires = "health")]
    listen_unprotected: bool,
}

impl Health {
    /// Takes the port, before anything is started.
    pub(super) fn bind(&self) -> Result<Option<Bound>, Failure> {
        self.health
            .map(|address| bind(address, self.listen_unprotected))
            .transpose()
    }
}

/// Takes a port.
pub(super) fn bind(address: SocketAddr, unprotected: bool) -> Result<Bound, Failure> {
    Bound::new(address, unprotected).map_err(|error| unlistenable(&error))
}

pub(super) fn unlistenable(error: &Unlistenable) -> Failure {
    match error {
        Unlistenable::Public(_) | Unlistenable::NoToken(_) => Failure::Usage(error.to_string()),
        Unlistenable::Refused(..) => Failure::Storage(error.to_string()),
    }
}

/// Answers at the port that was taken, if any was.
pub(super) fn serve(
    bound: Option<Bound>,
    db: &Db,
    pulse: Pulse,
    api: Option<Served>,
) -> Result<Option<Server>, Failure> {
    let Some(bound) = bound else { return Ok(None) };
    let what = if api.is_some() {
        "serving /api/v1, /healthz, /readyz and /metrics"
    } else {
        "serving /healthz, /readyz and /metrics"
    };
    let about = About {
        db: db.clone(),
        pulse,
        api,
    };
    let server = Server::start(bound, about)?;
    tracing::info!(url = server.url(), "{what}");
    Ok(Some(server))
}
