//! The fleet at one moment, and who answers.

use axum::{extract::State, response::Response};

use super::{Api, change::ok, problem::Problem};
use crate::operate::{
    about::{self, About},
    look::Look,
};

/// The version that answers, and the time by the database's clock
#[utoipa::path(
    get,
    path = "/api/v1/about",
    tag = "fleet",
    security(("token" = ["read"])),
    responses((status = 200, description = "Both", body = About))
)]
pub(super) async fn about(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(ok(&about::about(api.db().await?).await?))
}

/// The fleet at one moment: queues, gates that are shut, processes, what ended lately. It may be asked every second
#[utoipa::path(
    get,
    path = "/api/v1/top",
    tag = "fleet",
    security(("token" = ["read"])),
    responses((status = 200, description = "One look", body = Look))
)]
pub(super) async fn top(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(ok(&Look::read(api.db().await?, api.pulse.lease()).await?))
}
