//! Sessions: which there are, everything known of one, judging it again.

use axum::{extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Api,
    ask::{Asked, Nothing, Place, Posted},
    change::{Change, ok},
    cursor::{self, Page},
    problem::{Code, Problem},
};
use crate::{
    domain::session::SessionKey,
    operate::work::{self, CalledFor},
    store::inspect::{
        session,
        sessions::{self, Cursor, SessionFilter, SessionLine},
    },
    timeline::{self, Timeline},
};

const KIND: &str = "sessions";

/// What a session has come to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SessionStatus {
    Pass,
    Partial,
    Fail,
    Skipped,
    Error,
    Waiting,
}

impl SessionStatus {
    pub(super) const ALL: [&str; 6] = ["pass", "partial", "fail", "skipped", "error", "waiting"];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Partial => "partial",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
            Self::Error => "error",
            Self::Waiting => "waiting",
        }
    }
}

/// Where a session is on its way.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum WayState {
    Open,
    Settled,
    Analyzing,
    Verifying,
    Done,
    Reopened,
}

impl WayState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Analyzing => "analyzing",
            Self::Verifying => "verifying",
            Self::Done => "done",
            Self::Reopened => "reopened",
        }
    }
}

/// Which sessions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Of this source.
    source: Option<String>,
    /// With one of these statuses, separated by commas.
    #[param(value_type = Option<Vec<SessionStatus>>, style = Form, explode = false, inline)]
    status: Option<String>,
    /// With this intent.
    intent: Option<String>,
    /// In this state on the way to a verdict.
    #[param(inline)]
    state: Option<WayState>,
    /// With this id.
    id: Option<String>,
    /// With an id that contains this.
    id_contains: Option<String>,
    /// With activity at or after this.
    since: Option<DateTime<Utc>>,
    /// Without activity after this.
    until: Option<DateTime<Utc>>,
    /// Those that wait for a reason that contains this.
    waiting_for: Option<String>,
    /// At most this many.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// A session whose next generation was opened.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Reprocessed {
    #[serde(flatten)]
    key: SessionKey,
    /// The number of its next verdict.
    generation: u32,
}

/// Sessions with their latest verdict, or why they have none yet; latest activity first
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    tag = "sessions",
    security(("token" = ["read"])),
    params(Which),
    responses((status = 200, description = "A page of them", body = Page<SessionLine>))
)]
pub(super) async fn list(State(api): State<Api>, Asked(which): Asked<Which>) -> Result<Response, Problem> {
    let limit = cursor::limit(which.limit)?;
    let named = which.status.iter().flat_map(|all| all.split(','));
    let statuses: Vec<String> = named.filter(|status| !status.is_empty()).map(str::to_owned).collect();
    if let Some(unknown) = statuses
        .iter()
        .find(|status| !SessionStatus::ALL.contains(&status.as_str()))
    {
        let known = SessionStatus::ALL.join(", ");
        return Err(Problem::new(
            Code::BadQuery,
            format!("`status`: there is no `{unknown}`; there are {known}"),
        ));
    }
    let filter = SessionFilter {
        source: which.source,
        session_id: which.id,
        statuses,
        intent: which.intent,
        since: which.since,
        state: which.state.map(|state| state.as_str().to_owned()),
        id_contains: which.id_contains,
        until: which.until,
        limit,
    };
    let after: Option<String> = cursor::decode(KIND, which.after.as_deref())?;
    let after = after.map(|cursor| cursor.parse::<Cursor>()).transpose();
    let after = after.map_err(|why| Problem::new(Code::BadCursor, why))?;
    let page = sessions::page(api.db().await?, &filter, which.waiting_for.as_deref(), after.as_ref()).await?;
    Ok(ok(&Page::going_on(KIND, page.sessions, page.next)))
}

/// Everything known of a session: its way in time, every verdict, the evidence, the diagnosis, what it cost
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{source}/{id}",
    tag = "sessions",
    security(("token" = ["read"])),
    params(
        ("source" = String, Path, description = "Its source"),
        ("id" = String, Path, description = "Its id, percent-encoded: a `/` in it is `%2F`"),
    ),
    responses((status = 200, description = "It", body = Timeline))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Place((source, id)): Place<(String, String)>,
) -> Result<Response, Problem> {
    let db = api.db().await?;
    let found = session::find(db, Some(&source), &id).await?;
    let Some(line) = found.into_iter().next() else {
        return Err(unknown(&SessionKey::new(source, id)));
    };
    Ok(ok(&timeline::of(db, line).await?))
}

/// Judge a session again, as its next generation; the old verdict stays beside it
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{source}/{id}/reprocess",
    tag = "sessions",
    security(("token" = ["operate"])),
    params(
        ("source" = String, Path, description = "Its source"),
        ("id" = String, Path, description = "Its id, percent-encoded: a `/` in it is `%2F`"),
    ),
    request_body = Nothing,
    responses((status = 202, description = "It is judged again as soon as a worker runs", body = Reprocessed))
)]
pub(super) async fn reprocess(
    State(api): State<Api>,
    Place((source, id)): Place<(String, String)>,
    change: Change,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    let key = SessionKey::new(source, id);
    let mut tx = api.db().await?.begin().await?;
    let Some(generation) = work::reprocess(&mut tx, &key, change.actor()).await? else {
        return Err(unknown(&key));
    };
    change
        .commit(tx, StatusCode::ACCEPTED, &Reprocessed { key, generation })
        .await
}

/// Judge a session now, whether or not it has come to rest; one that has its verdict is judged again
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{source}/{id}/analyze",
    tag = "sessions",
    security(("token" = ["operate"])),
    params(
        ("source" = String, Path, description = "Its source"),
        ("id" = String, Path, description = "Its id, percent-encoded: a `/` in it is `%2F`"),
    ),
    request_body = Nothing,
    responses((status = 202, description = "It is judged as soon as a worker runs", body = CalledFor))
)]
pub(super) async fn analyze(
    State(api): State<Api>,
    Place((source, id)): Place<(String, String)>,
    change: Change,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    let key = SessionKey::new(source, id);
    let mut tx = api.db().await?.begin().await?;
    let called_for = work::analyze(&mut tx, &key, change.actor()).await?;
    let called_for = called_for.ok_or_else(|| unknown(&key))?;
    change.commit(tx, StatusCode::ACCEPTED, &called_for).await
}

/// Diagnose a failed session once more
#[utoipa::path(
    post,
    path = "/api/v1/sessions/{source}/{id}/diagnose",
    tag = "sessions",
    security(("token" = ["operate"])),
    params(
        ("source" = String, Path, description = "Its source"),
        ("id" = String, Path, description = "Its id, percent-encoded: a `/` in it is `%2F`"),
    ),
    request_body = Nothing,
    responses((status = 202, description = "It is diagnosed as soon as a worker runs", body = CalledFor))
)]
pub(super) async fn diagnose(
    State(api): State<Api>,
    Place((source, id)): Place<(String, String)>,
    change: Change,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    let db = api.db().await?;
    let key = SessionKey::new(source, id);
    if session::find(db, Some(&key.source), &key.session_id).await?.is_empty() {
        return Err(unknown(&key));
    }
    let mut tx = db.begin().await?;
    let Some(called_for) = work::diagnose(&mut tx, &key, change.actor()).await? else {
        return Err(Problem::new(
            Code::NothingToDiagnose,
            format!("{key}: there is no failed verdict to explain"),
        ));
    };
    change.commit(tx, StatusCode::ACCEPTED, &called_for).await
}

fn unknown(key: &SessionKey) -> Problem {
    Problem::new(
        Code::UnknownSession,
        format!("the source `{}` has no session `{}`", key.source, key.session_id),
    )
}
