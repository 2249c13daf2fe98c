//! What a process answers over HTTP: whether it lives and is ready, for orchestrators, and figures for Prometheus.
//!
//! ```text
//! GET /healthz   the process lives
//! GET /readyz    it can do its work; if not, why
//! GET /metrics   the queue, the fleet and the sessions, in figures
//! /api/v1/…      what the command line shows and does, where it is asked for: see `api`
//! ```
//!
//! The server has a thread, a runtime and connections to the database of its own: jobs that block every thread of the main
//! runtime do not make a process look dead that goes on renewing its leases. Nothing that is asked here costs the database
//! more than one evaluation at a time, however many ask.

mod api;
mod ask;
mod bind;
mod connections;
mod exposition;
mod figures;
mod health;
mod metrics;
mod reused;
mod server;

pub use self::{
    api::{Reach, Served, openapi},
    ask::{Told, ask},
    bind::{Bound, Unlistenable, is_public},
    server::{About, Server},
};
