//! Why there is no answer, in words: what happened, and what to do next.

use serde::Deserialize;

use super::ApiClient;
use crate::{
    adapters::{
        client::{Reply, status_name},
        plain_text::one_line,
    },
    ports::UpstreamError,
};

/// Letters of each text of a server's that are shown.
const LONGEST: usize = 500;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What was asked for is not there, or does not fit the state of things.
    Refused,
    /// The address, the token or the words are wrong.
    Usage,
    /// Nobody answers, or not in a way that can be read.
    Away,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ApiError {
    /// What kind of failure it is.
    pub fault: Fault,
    /// The stable code of the server's problem.
    pub code: Option<String>,
    /// What happened, and what to do next.
    pub text: String,
}

impl ApiError {
    pub(super) fn new(fault: Fault, text: impl Into<String>) -> Self {
        Self {
            fault,
            code: None,
            text: text.into(),
        }
    }
}

/// A problem as RFC 9457 has it, with aftercall's own fields.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    #[serde(default)]
    next_step: String,
}

fn problem(reply: &Reply) -> Option<Problem> {
    let read: Problem = serde_json::from_slice(&reply.body).ok()?;
    Some(Problem {
        code: one_line(&read.code, 60),
        detail: one_line(&read.detail, LONGEST),
        next_step: one_line(&read.next_step, LONGEST),
    })
}

/// The stable code of a problem.
pub(super) fn code(reply: &Reply) -> Option<String> {
    problem(reply).map(|problem| problem.code)
}

pub(super) fn unanswered(address: &str, error: &UpstreamError) -> ApiError {
    let text = format!(
        "{address} does not answer: {}; does `aftercall api` run there, and is the address right?",
        error.detail
    );
    ApiError::new(Fault::Away, text)
}

/// What is answered is no answer of aftercall's. Its text is somebody else's, and not shown.
pub(super) fn page(api: &ApiClient, reply: &Reply) -> ApiError {
    let what = if reply.is_html() {
        "a page for people"
    } else {
        "something else"
    };
    let text = format!(
        "{} answers {} with {what}, not as aftercall does: check the address, and what stands in between (a proxy, a login)",
        api.address(),
        status_name(reply.status)
    );
    ApiError::new(Fault::Away, text)
}

/// A status that is none of success.
pub(super) fn read(api: &ApiClient, reply: &Reply) -> ApiError {
    if (300..400).contains(&reply.status) {
        let text = format!(
            "{} answers with a redirect ({}), which is not followed: the token would go to somebody else; give the address \
             that answers itself",
            api.address(),
            status_name(reply.status)
        );
        return ApiError::new(Fault::Usage, text);
    }
    let Some(Problem {
        code,
        detail,
        next_step,
    }) = problem(reply)
    else {
        return page(api, reply);
    };
    let address = api.address();
    let (fault, text) = match reply.status {
        401 if api.has_token() => (
            Fault::Usage,
            format!(
                "{address} does not take the token ({code}): {detail}; give a good one in AFTERCALL_TOKEN or --token-file"
            ),
        ),
        401 => (
            Fault::Usage,
            format!("{address} needs a token ({code}): {detail}; give it in AFTERCALL_TOKEN or --token-file"),
        ),
        403 => (
            Fault::Usage,
            format!("{address} refuses it ({code}): {detail}; {next_step}"),
        ),
        429 => (
            Fault::Away,
            format!(
                "{address} is asked too often ({code}): {detail}; try again in a minute, or with a token of your own"
            ),
        ),
        500.. => (
            Fault::Away,
            format!("{address} cannot answer ({code}): {detail}; {next_step}"),
        ),
        _ => (Fault::Refused, format!("{detail} ({code}); {next_step}")),
    };
    ApiError {
        fault,
        code: Some(code),
        text,
    }
}
