//! Processes of the fleet.

use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Api,
    ask::Asked,
    change::ok,
    cursor::{self, Page},
    problem::Problem,
};
use crate::queue::inspect::{
    page,
    processes::{self, Process, ProcessState},
};

const KIND: &str = "workers";

/// Which of them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Those that stopped, too.
    #[param(default = true)]
    stopped: Option<bool>,
    /// At most this many.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// A process of the fleet, or one that was.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Worker {
    #[serde(flatten)]
    process: Process,
    /// Whether it is there: its last sign of life is no older than a lease.
    lives: bool,
}

/// Processes of the fleet, now and before, latest first
#[utoipa::path(
    get,
    path = "/api/v1/workers",
    tag = "workers",
    security(("token" = ["read"])),
    params(Which),
    responses((status = 200, description = "A page of them", body = Page<Worker>))
)]
pub(super) async fn list(State(api): State<Api>, Asked(which): Asked<Which>) -> Result<Response, Problem> {
    let limit = cursor::limit(which.limit)?;
    let after: Option<(DateTime<Utc>, String)> = cursor::decode(KIND, which.after.as_deref())?;
    let db = api.db().await?;
    let rows = page::workers(db, which.stopped.unwrap_or(true), limit + 1, after).await?;
    let worker = |process: Process| Worker {
        lives: process.state == ProcessState::Live,
        process,
    };
    let processes = processes::of(db, api.pulse.lease(), rows).await?;
    let workers = processes.into_iter().map(worker).collect();
    let place = |worker: &Worker| (worker.process.row.started_at, worker.process.row.id.clone());
    Ok(ok(&Page::of(KIND, workers, limit, place)))
}
