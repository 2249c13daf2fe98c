//! Gates: which upstreams are down, trying one and closing one by hand.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;

use super::{
    Api,
    ask::{Nothing, Place, Posted, Why},
    change::{Change, ok},
    cursor::Page,
    problem::{Code, Problem},
};
use crate::{
    operate,
    queue::{
        control::{self, Opened},
        inspect::gates::{self, GateLine},
    },
};

/// A gate that was opened or closed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct GateChanged {
    gate: String,
    result: GateResult,
}

/// What became of it.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum GateResult {
    /// It had been closed by hand: its jobs go on.
    Open,
    /// One of its jobs tries the upstream now, and opens it when that answers.
    Tried,
    /// No job that needs the upstream starts before somebody opens it.
    Closed,
}

/// Every gate that was ever shut: why, since when, what it holds, when it is tried next
#[utoipa::path(
    get,
    path = "/api/v1/gates",
    tag = "gates",
    security(("token" = ["read"])),
    responses((status = 200, description = "All of them", body = Page<GateLine>))
)]
pub(super) async fn list(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(ok(&Page::whole(gates::all(api.db().await?).await?)))
}

/// Try an upstream that is down now, without waiting; open a gate that was closed by hand
#[utoipa::path(
    post,
    path = "/api/v1/gates/{key}/open",
    tag = "gates",
    security(("token" = ["operate"])),
    params(("key" = String, Path, description = "`source:NAME`, `records:NAME`, `llm:default`, or `llm:default/SOURCE` with its `/` as `%2F`")),
    request_body = Nothing,
    responses((status = 200, description = "It is open, or is being tried", body = GateChanged))
)]
pub(super) async fn open(
    State(api): State<Api>,
    Place(gate): Place<String>,
    change: Change,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    let db = api.db().await?;
    check(&api, &gate).await?;
    let mut tx = db.begin().await?;
    let result = match control::open_gate(&mut tx, &gate, change.actor()).await? {
        Opened::Open => GateResult::Open,
        Opened::Tried => GateResult::Tried,
        Opened::NotShut => return Err(Problem::new(Code::GateNotShut, format!("{gate} is not shut"))),
    };
    change.commit(tx, StatusCode::OK, &GateChanged { gate, result }).await
}

/// Hold all jobs that need an upstream, in the whole fleet, until the gate is opened by hand
#[utoipa::path(
    post,
    path = "/api/v1/gates/{key}/close",
    tag = "gates",
    security(("token" = ["operate"])),
    params(("key" = String, Path, description = "`source:NAME`, `records:NAME`, `llm:default`, or `llm:default/SOURCE` with its `/` as `%2F`")),
    request_body = Why,
    responses((status = 200, description = "It is closed", body = GateChanged))
)]
pub(super) async fn close(
    State(api): State<Api>,
    Place(gate): Place<String>,
    change: Change,
    Posted(why): Posted<Why>,
) -> Result<Response, Problem> {
    let reason = why.reason()?;
    check(&api, &gate).await?;
    let mut tx = api.db().await?.begin().await?;
    control::close_gate(&mut tx, &gate, change.actor(), &reason).await?;
    let result = GateResult::Closed;
    change.commit(tx, StatusCode::OK, &GateChanged { gate, result }).await
}

async fn check(api: &Api, gate: &str) -> Result<(), Problem> {
    let known = operate::gates::check(api.db().await?, &api.config, gate).await?;
    known.map_err(|why| Problem::new(Code::UnknownGate, why))
}
