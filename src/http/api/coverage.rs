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
use crate::{
    operate::coverage::{CoverageLine, Facts},
    store::inspect::remainders::{self, Accounted},
};

/// Cycles of a source, unless asked for more or fewer.
const USUAL: u32 = 5;
/// Cycles of a source, at most.
const MOST: u32 = 100;

/// Days, unless asked for more or fewer.
const USUAL_DAYS: u32 = 7;
/// Days, at most: ten years.
const MOST_DAYS: u32 = 3_660;

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

/// For how long.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Days {
    /// So many days, today among them.
    #[param(minimum = 1, maximum = 3_660, default = 7)]
    days: Option<u32>,
}

/// The same by source and day (UTC): a session is of the day of its first activity
#[utoipa::path(
    get,
    path = "/api/v1/coverage/days",
    tag = "sources",
    security(("token" = ["read"])),
    params(Days),
    responses((status = 200, description = "Every day of every source", body = Page<Accounted>))
)]
pub(super) async fn days(State(api): State<Api>, Asked(which): Asked<Days>) -> Result<Response, Problem> {
    let days = which.days.unwrap_or(USUAL_DAYS);
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(Problem::new(Code::BadQuery, format!("`days` is 1 to {MOST_DAYS}")));
    }
    Ok(ok(&Page::whole(remainders::by_day(api.db().await?, days).await?)))
}
