//! Tokens: who may ask.

use std::time::Duration;

use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};

use super::{
    Api,
    ask::{Place, Posted, whole_or_none},
    change::{Change, ok},
    cursor::Page,
    problem::{Code, Problem},
};
use crate::{
    domain::api_token::{self, Scope},
    operate::tokens::{self, Fresh},
    store::tokens::{self as stored, TokenLine},
};

const DAY: Duration = Duration::from_hours(24);
/// Days that a token is good for, at most: ten years.
const LONGEST: u32 = 3_660;

/// A token that is wanted.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenWanted)]
pub(super) struct Wanted {
    /// Who uses it: the actor in the audit log.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._@-]+$")]
    name: String,
    /// What it allows; `read` unless said otherwise.
    #[serde(default = "read")]
    #[schema(default = "read")]
    scope: Scope,
    /// Days until it expires; null: it is good until it is revoked.
    #[serde(default, deserialize_with = "whole_or_none")]
    #[schema(minimum = 1, maximum = 3_660)]
    expires_in_days: Option<u32>,
    /// Seconds until it expires, after the days where there are both.
    #[serde(default, deserialize_with = "whole_or_none")]
    #[schema(minimum = 1, maximum = 316_224_000)]
    expires_in_seconds: Option<u32>,
}

impl Wanted {
    fn expires(&self) -> Result<Option<Duration>, Problem> {
        let most = LONGEST * 24 * 60 * 60;
        if self.expires_in_days.is_some_and(|days| !(1..=LONGEST).contains(&days)) {
            return Err(Problem::new(
                Code::BadBody,
                format!("`expires_in_days` is 1 to {LONGEST}"),
            ));
        }
        if self
            .expires_in_seconds
            .is_some_and(|seconds| !(1..=most).contains(&seconds))
        {
            return Err(Problem::new(
                Code::BadBody,
                format!("`expires_in_seconds` is 1 to {most}"),
            ));
        }
        let days = self.expires_in_days.map(|days| DAY * days);
        let seconds = self
            .expires_in_seconds
            .map(|seconds| Duration::from_secs(seconds.into()));
        Ok(match (days, seconds) {
            (None, None) => None,
            (days, seconds) => Some(days.unwrap_or_default() + seconds.unwrap_or_default()),
        })
    }
}

fn read() -> Scope {
    Scope::Read
}

/// A token that was made.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = TokenMade)]
pub(super) struct Made {
    #[serde(flatten)]
    line: TokenLine,
    /// The token itself: shown once. null where the answer is given again for its `Idempotency-Key`.
    token: Option<String>,
}

/// Every token there ever was, without its secret, newest first
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "tokens",
    security(("token" = ["operate"])),
    responses((status = 200, description = "All of them", body = Page<TokenLine>))
)]
pub(super) async fn list(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(ok(&Page::whole(stored::list(api.db().await?).await?)))
}

/// Make a token and show it, once
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "tokens",
    security(("token" = ["operate"])),
    request_body = Wanted,
    responses((status = 201, description = "It is good now", body = Made))
)]
pub(super) async fn create(
    State(api): State<Api>,
    change: Change,
    Posted(wanted): Posted<Wanted>,
) -> Result<Response, Problem> {
    api_token::check_name(&wanted.name).map_err(|why| Problem::new(Code::BadBody, format!("`name`: {why}")))?;
    let expires = wanted.expires()?;
    let fresh = tokio::task::spawn_blocking(Fresh::make).await;
    let fresh = fresh.ok().and_then(Result::ok).ok_or_else(Problem::internal)?;
    let wanted = tokens::Wanted {
        name: wanted.name,
        scope: wanted.scope,
        expires,
    };
    let mut tx = api.db().await?.begin().await?;
    let Some(line) = tokens::create(&mut tx, &wanted, &fresh, change.actor()).await? else {
        return Err(Problem::new(
            Code::NameTaken,
            format!("a token named {} is not revoked", wanted.name),
        ));
    };
    // Nobody keeps a token, not even to give the same answer again.
    let kept = Made { line, token: None };
    let shown = Made {
        token: Some(fresh.expose()),
        ..kept.clone()
    };
    change.commit_and_show(tx, StatusCode::CREATED, &kept, &shown).await
}

/// End a token for good: within 30 seconds no process takes it any more
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}",
    tag = "tokens",
    security(("token" = ["operate"])),
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "It is revoked", body = TokenLine))
)]
pub(super) async fn revoke(
    State(api): State<Api>,
    Place(id): Place<String>,
    change: Change,
) -> Result<Response, Problem> {
    let mut tx = api.db().await?.begin().await?;
    let Some(line) = tokens::revoke(&mut tx, &id, change.actor()).await? else {
        return Err(Problem::new(Code::UnknownToken, format!("there is no token `{id}`")));
    };
    change.commit(tx, StatusCode::OK, &line).await
}
