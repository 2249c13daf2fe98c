//! Every error, as RFC 9457 has it: `application/problem+json`, with a stable code and what to do next.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{db::DbError, operate::plain};

/// Of an answer that is a problem.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";
/// Seconds until the database is asked again.
const DATABASE_AWAY: u32 = 5;

/// What went wrong, for programs. Codes are added, and never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ProblemCode)]
pub(super) enum Code {
    BadCursor,
    BadRequest,
    NoToken,
    InvalidToken,
    NoSignature,
    InvalidSignature,
    ScopeTooSmall,
    UntrustedHost,
    UnknownRoute,
    UnknownQueue,
    UnknownLimit,
    UnknownJob,
    UnknownGate,
    UnknownSession,
    UnknownSource,
    UnknownToken,
    UnknownOperation,
    MethodNotAllowed,
    JobRunning,
    JobHasTwin,
    JobEnded,
    GateNotShut,
    NameTaken,
    NotUndoable,
    NothingToDiagnose,
    RequestUnderWay,
    TooLarge,
    NotJson,
    BadPath,
    BadQuery,
    BadBody,
    BadIdempotencyKey,
    IdempotencyKeyReused,
    TooManyRequests,
    Internal,
    TooBusy,
    DatabaseUnavailable,
    TimedOut,
}

impl Code {
    /// All of them, in the order of their statuses: for the reference.
    pub(super) const ALL: [Self; 38] = [
        Self::BadCursor,
        Self::BadRequest,
        Self::NoToken,
        Self::InvalidToken,
        Self::NoSignature,
        Self::InvalidSignature,
        Self::ScopeTooSmall,
        Self::UntrustedHost,
        Self::UnknownRoute,
        Self::UnknownQueue,
        Self::UnknownLimit,
        Self::UnknownJob,
        Self::UnknownGate,
        Self::UnknownSession,
        Self::UnknownSource,
        Self::UnknownToken,
        Self::UnknownOperation,
        Self::MethodNotAllowed,
        Self::JobRunning,
        Self::JobHasTwin,
        Self::JobEnded,
        Self::GateNotShut,
        Self::NameTaken,
        Self::NotUndoable,
        Self::NothingToDiagnose,
        Self::RequestUnderWay,
        Self::TooLarge,
        Self::NotJson,
        Self::BadPath,
        Self::BadQuery,
        Self::BadBody,
        Self::BadIdempotencyKey,
        Self::IdempotencyKeyReused,
        Self::TooManyRequests,
        Self::Internal,
        Self::TooBusy,
        Self::DatabaseUnavailable,
        Self::TimedOut,
    ];

    /// As it is written in the answer.
    pub(super) fn word(self) -> String {
        let word = serde_json::to_value(self).unwrap_or_default();
        word.as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::BadCursor | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NoToken | Self::InvalidToken | Self::NoSignature | Self::InvalidSignature => StatusCode::UNAUTHORIZED,
            Self::ScopeTooSmall | Self::UntrustedHost => StatusCode::FORBIDDEN,
            Self::UnknownRoute
            | Self::UnknownQueue
            | Self::UnknownLimit
            | Self::UnknownJob
            | Self::UnknownGate
            | Self::UnknownSession
            | Self::UnknownSource
            | Self::UnknownToken
            | Self::UnknownOperation => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::JobRunning
            | Self::JobHasTwin
            | Self::JobEnded
            | Self::GateNotShut
            | Self::NameTaken
            | Self::NotUndoable
            | Self::NothingToDiagnose
            | Self::RequestUnderWay => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadPath | Self::BadQuery | Self::BadBody | Self::BadIdempotencyKey | Self::IdempotencyKeyReused => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TooBusy | Self::DatabaseUnavailable | Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it means, the same each time.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::BadCursor => "The cursor is none of this list",
            Self::BadRequest => "The request cannot be read",
            Self::NoToken => "A token is needed",
            Self::InvalidToken => "The token is not known, has expired or was revoked",
            Self::NoSignature => "A signature is needed",
            Self::InvalidSignature => "The signature is not good, or too old",
            Self::ScopeTooSmall => "The token does not allow it",
            Self::UntrustedHost => "Without a token only this machine is answered",
            Self::UnknownRoute => "There is nothing at this path",
            Self::UnknownQueue => "There is no such queue",
            Self::UnknownLimit => "There is no such limit",
            Self::UnknownJob => "There is no such job",
            Self::UnknownGate => "There is no such gate",
            Self::UnknownSession => "There is no such session",
            Self::UnknownSource => "There is no such source",
            Self::UnknownToken => "There is no such token",
            Self::UnknownOperation => "There is no such operation",
            Self::MethodNotAllowed => "The path does not take this method",
            Self::JobRunning => "The job runs already",
            Self::JobHasTwin => "Another live job does the same",
            Self::JobEnded => "The job has ended",
            Self::GateNotShut => "The gate is not shut",
            Self::NameTaken => "A token of this name is there",
            Self::NotUndoable => "The operation cannot be undone",
            Self::NothingToDiagnose => "There is no failed verdict to explain",
            Self::RequestUnderWay => "The first request with this key is not answered yet",
            Self::TooLarge => "The body is too large",
            Self::NotJson => "The body is not said to be JSON",
            Self::BadPath => "A part of the path does not fit",
            Self::BadQuery => "The query does not fit",
            Self::BadBody => "The body does not fit",
            Self::BadIdempotencyKey => "The Idempotency-Key does not fit",
            Self::IdempotencyKeyReused => "The Idempotency-Key belongs to another request",
            Self::TooManyRequests => "Too many requests",
            Self::Internal => "A fault of aftercall",
            Self::TooBusy => "Too much is being asked at once",
            Self::DatabaseUnavailable => "The database is away",
            Self::TimedOut => "It took too long",
        }
    }

    /// What to do next.
    pub(super) fn next_step(self) -> &'static str {
        match self {
            Self::BadCursor => "begin again without `after`, and pass on `next` as it was given",
            Self::BadRequest => "see /api/v1/docs",
            Self::NoToken => {
                "send `Authorization: Bearer TOKEN`; `aftercall token create --name NAME` makes one, with `--scope operate` \
                 for changes"
            }
            Self::InvalidToken => {
                "`aftercall token list` shows which tokens are good; `aftercall token create` makes one"
            }
            Self::NoSignature | Self::InvalidSignature => {
                "sign it with a secret of the source's [[source.webhook]], see docs/webhooks.md; `aftercall check` says whether \
                 that is in order"
            }
            Self::ScopeTooSmall => {
                "use a token of scope `operate`: `aftercall token create --name NAME --scope operate`"
            }
            Self::UntrustedHost => {
                "ask for 127.0.0.1 or localhost, name the host with `aftercall api --host NAME`, or use a token"
            }
            Self::UnknownRoute => "see /api/v1/docs for what there is",
            Self::UnknownQueue => "GET /api/v1/queues lists them",
            Self::UnknownLimit => "GET /api/v1/queues lists the limits of each queue",
            Self::UnknownJob => {
                "GET /api/v1/jobs lists them; finished jobs are deleted after `retention.finished_jobs`"
            }
            Self::UnknownGate => "GET /api/v1/gates lists those that were ever shut",
            Self::UnknownSession => "GET /api/v1/sessions lists them; its id is percent-encoded in the path",
            Self::UnknownSource => "GET /api/v1/sources lists them",
            Self::UnknownToken => "GET /api/v1/tokens lists them",
            Self::UnknownOperation => "GET /api/v1/operations lists them",
            Self::MethodNotAllowed => "the header Allow names the methods",
            Self::JobRunning => "let it run, or cancel it first",
            Self::JobHasTwin => "look at that job",
            Self::JobEnded => "retry it, if it should run again",
            Self::GateNotShut => "nothing: its jobs go on",
            Self::NameTaken => "revoke that token, or choose another name",
            Self::NotUndoable => "nothing: only what a discard gave up can be given back",
            Self::NothingToDiagnose => "GET /api/v1/sessions/{source}/{id} shows its verdict",
            Self::RequestUnderWay => "send it again with the same key after Retry-After seconds",
            Self::TooLarge => "send at most 1 MB, to a webhook 5 MiB, to one of Twilio's 64 KiB",
            Self::NotJson => "send `Content-Type: application/json`; where there is nothing to say, the body is {}",
            Self::BadPath | Self::BadQuery | Self::BadBody => "mend what `detail` names; see /api/v1/docs",
            Self::BadIdempotencyKey => "use 1 to 255 visible ASCII letters, such as a UUID",
            Self::IdempotencyKeyReused => "use a new key for a new request",
            Self::TooManyRequests => "wait for Retry-After seconds",
            Self::Internal => "see the log of the api process, and report it",
            Self::TooBusy | Self::TimedOut => "send it again after Retry-After seconds",
            Self::DatabaseUnavailable => "send it again after Retry-After seconds; /readyz says what is wrong",
        }
    }
}

/// A problem, as it is answered.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// The kind of problem, as a URI: `urn:aftercall:problem:CODE`.
    #[serde(rename = "type")]
    kind: String,
    /// What it means, the same for all of this kind.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// The kind of problem, for programs.
    code: Code,
    /// What happened, to what.
    detail: String,
    /// What to do next.
    next_step: &'static str,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<u32>,
    #[serde(skip)]
    #[schema(ignore)]
    allow: Option<String>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:aftercall:problem:{}", code.word()),
            title: code.title(),
            status: code.status().as_u16(),
            code,
            detail: detail.into(),
            next_step: code.next_step(),
            retry_after: None,
            allow: None,
        }
    }

    /// The same, to be tried again after so many seconds.
    pub(super) fn after(self, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// The same, where something else is to be done than for others of its kind.
    pub(super) fn next(self, next_step: &'static str) -> Self {
        Self { next_step, ..self }
    }

    /// A method that the path does not take.
    pub(super) fn method(allow: &str) -> Self {
        Self {
            allow: Some(allow.to_owned()),
            ..Self::new(Code::MethodNotAllowed, format!("it takes {allow}"))
        }
    }

    pub(super) fn no_route(path: &str) -> Self {
        Self::new(Code::UnknownRoute, format!("there is no {path}"))
    }

    /// No connection to the database is there yet.
    pub(super) fn not_connected() -> Self {
        Self::new(Code::DatabaseUnavailable, "there is no connection to it yet").after(DATABASE_AWAY)
    }

    pub(super) fn timed_out(seconds: u64) -> Self {
        Self::new(Code::TimedOut, format!("it was not answered within {seconds} s")).after(1)
    }

    pub(super) fn internal() -> Self {
        Self::new(Code::Internal, "the request could not be answered")
    }
}

impl From<DbError> for Problem {
    /// What the database says stays here: it may hold what a caller said.
    fn from(error: DbError) -> Self {
        if error.is_passing() {
            tracing::warn!(%error, "a request to the API waits for the database");
            return Self::new(Code::DatabaseUnavailable, "it does not answer, or is busy").after(DATABASE_AWAY);
        }
        tracing::error!(%error, "a request to the API failed");
        Self::internal()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = plain::json(&serde_json::to_string(&self).unwrap_or_default()) + "\n";
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.code.status() == StatusCode::UNAUTHORIZED {
            let challenge = match self.code {
                Code::InvalidToken => "Bearer realm=\"aftercall\", error=\"invalid_token\"",
                Code::NoSignature | Code::InvalidSignature => "Aftercall-Signature realm=\"aftercall\"",
                _ => "Bearer realm=\"aftercall\"",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_one_word_and_says_what_to_do() {
        let words: BTreeSet<String> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error());
            assert!(!code.title().is_empty() && !code.next_step().is_empty(), "{code:?}");
        }
        assert!(Code::ALL.is_sorted_by_key(|code| code.status()));
    }

    #[test]
    fn what_is_asked_for_comes_back_as_data() {
        let problem = Problem::no_route("/\u{1b}[2J\u{202e}\"");
        let text = serde_json::to_string(&problem).unwrap();
        assert!(!plain::json(&text).contains(['\u{1b}', '\u{202e}']), "{text}");
    }
}
