//! Whether every session is accounted for.

use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{
    Api,
    ask::Asked,
    change::ok,
    cursor::Page,
    problem::{Code, Problem},
};
use crate::operate::coverage::{CoverageLine, Facts};

/// Cycles of a source, unless asked for more or fewer.
const USUAL: u32 = 5;
/// Cycles of a source, at most.
const MOST: u32 = 100;

/// How much of it.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// So many of the latest scans of each source.
    #[param(minimum = 0, maximum = 100, default = 5)]
    cycles: Option<u32>,
}

/// Whether every session of every source is accounted for: seen = verdicts + waiting + skipped + errors
#[utoipa::path(
    get,
    path = "/api/v1/coverage",
    tag = "sources",
    security(("token" = ["read"])),
    params(Which),
    responses((status = 200, description = "Every source", body = Page<CoverageLine>))
)]
pub(super) async fn list(State(api): State<Api>, Asked(which): Asked<Which>) -> Result<Response, Problem> {
    let cycles = which.cycles.unwrap_or(USUAL);
    if cycles > MOST {
        return Err(Problem::new(Code::BadQuery, format!("`cycles` is 0 to {MOST}")));
    }
    let facts = Facts::read(api.db().await?, cycles).await?;
    Ok(ok(&Page::whole(facts.lines(&api.config))))
}
