//! Limits: how many jobs of a key run at once.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};

use super::{
    Api,
    ask::{Place, Posted, whole},
    change::Change,
    problem::{Code, Problem},
};
use crate::queue::control;

/// Jobs at once, at most.
const MOST: u32 = 10_000;

/// How many may run.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LimitWanted)]
pub(super) struct Wanted {
    /// Jobs at once, in the whole fleet.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 10_000)]
    max_running: u32,
}

/// A limit as it is now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = LimitSet)]
pub(super) struct Set {
    key: String,
    max_running: u32,
}

/// Set how many jobs of a key run at once, in the whole fleet; a lowered limit drains
#[utoipa::path(
    put,
    path = "/api/v1/limits/{key}",
    tag = "queues",
    security(("token" = ["operate"])),
    params(("key" = String, Path, description = "A queue, or queue/partition with its `/` as `%2F`")),
    request_body = Wanted,
    responses((status = 200, description = "It holds; the configuration does not overwrite it", body = Set))
)]
pub(super) async fn set(
    State(api): State<Api>,
    Place(key): Place<String>,
    change: Change,
    Posted(Wanted { max_running }): Posted<Wanted>,
) -> Result<Response, Problem> {
    if !(1..=MOST).contains(&max_running) {
        return Err(Problem::new(Code::BadBody, format!("`max_running` is 1 to {MOST}")));
    }
    let mut tx = api.db().await?.begin().await?;
    if !control::set_limit(&mut tx, &key, max_running, change.actor()).await? {
        return Err(Problem::new(Code::UnknownLimit, format!("there is no limit `{key}`")));
    }
    change.commit(tx, StatusCode::OK, &Set { key, max_running }).await
}
