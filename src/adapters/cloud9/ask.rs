//! One exchange: sends a question, and tells an answer from a refusal and both from trouble.

use std::time::Duration;

use reqwest::{Method, header};
use serde_json::Value;

use super::{
    Cloud9, encoding,
    procedure::Procedure,
    request::Question,
    response::{self, Response},
};
use crate::{
    adapters::{
        client::{self, Bounds, Reply, status_name},
        plain_text::one_line,
    },
    ports::{UpstreamError, UpstreamReason},
};

/// How long to wait for a system that says that it is closed, where the configuration does not say when it opens.
const CLOSED_FOR: Duration = Duration::from_mins(15);

/// What the system says to a question.
pub(super) enum Said {
    Records(Vec<Value>),
    /// It does not take the question: its code and its words.
    Refused(u32, String),
}

impl Cloud9 {
    fn error(&self, reason: UpstreamReason, detail: impl Into<String>, retry_after: Option<Duration>) -> UpstreamError {
        UpstreamError {
            upstream: self.upstream.clone(),
            reason,
            detail: detail.into(),
            retry_after,
        }
    }

    /// Sends one question and reads the answer.
    pub(super) async fn ask(&self, question: &Question) -> Result<(Said, u16), UpstreamError> {
        self.pauses.wait(question.procedure()).await;
        let method = if self.config.get_with_body {
            Method::GET
        } else {
            Method::POST
        };
        let request = self
            .client
            .request(method, self.url.clone())
            .header(header::CONTENT_TYPE, "application/xml")
            .header(header::ACCEPT, "application/xml, text/xml")
            .body(question.to_xml(&self.config.credentials));
        let bounds = Bounds {
            timeout: self.config.timeout,
            max_bytes: self.config.max_bytes,
        };
        let reply = client::exchange(&self.upstream, request, bounds).await?;
        let status = reply.status;
        Ok((self.said(question.procedure(), &reply)?, status))
    }

    fn said(&self, procedure: Procedure, reply: &Reply) -> Result<Said, UpstreamError> {
        let parsed = encoding::decode(&reply.body)
            .map_err(str::to_owned)
            .and_then(|text| response::parse(&text));
        if !reply.is_success() {
            // Behind another status the protocol's own error says more than the status does.
            if let Ok(Response::Error {
                code: Some(code),
                message,
            }) = parsed
            {
                return self.refused(procedure, reply, Some(code), &message);
            }
            return Err(self.transport_error(reply));
        }
        if reply.body.iter().all(u8::is_ascii_whitespace) {
            return Err(self.error(
                UpstreamReason::Unreachable,
                "it answered nothing at all",
                reply.retry_after,
            ));
        }
        if reply.is_html() {
            let detail = "it answered an HTML page: its server is in trouble, or url is not its GetData.ashx";
            return Err(self.error(UpstreamReason::Unreachable, detail, reply.retry_after));
        }
        match parsed {
            Ok(Response::Records(records)) => Ok(Said::Records(records)),
            Ok(Response::Error { code, message }) => self.refused(procedure, reply, code, &message),
            Ok(Response::ErrorResult) => {
                let detail = format!("{procedure} answered Success with a Result that is an error");
                Err(self.error(UpstreamReason::BadAnswer, detail, reply.retry_after))
            }
            Err(reason) => {
                let detail = format!(
                    "the answer to {procedure} cannot be read: {reason} ({} bytes)",
                    reply.body.len()
                );
                Err(self.error(UpstreamReason::BadAnswer, detail, reply.retry_after))
            }
        }
    }

    fn transport_error(&self, reply: &Reply) -> UpstreamError {
        client::refusal(&self.upstream, reply, None).unwrap_or_else(|| {
            let detail = format!(
                "it answered with status {}: check that url is its GetData.ashx",
                status_name(reply.status)
            );
            self.error(UpstreamReason::Unreachable, detail, reply.retry_after)
        })
    }

    /// An error by its code. The system's words may name a patient: only an answer keeps them, and no error that is logged.
    fn refused(
        &self,
        procedure: Procedure,
        reply: &Reply,
        code: Option<u32>,
        message: &str,
    ) -> Result<Said, UpstreamError> {
        let (reason, detail, retry_after) = match code {
            Some(code @ (2 | 3)) => return Ok(Said::Refused(code, self.without_secrets(message))),
            Some(1) => (
                UpstreamReason::AuthInvalid,
                "it refused our credentials (error code 1): check client_id, user and password".to_owned(),
                None,
            ),
            Some(6) => (
                UpstreamReason::AuthInvalid,
                "our user is not authorised for this client (error code 6): check client_id, or ask for access"
                    .to_owned(),
                None,
            ),
            Some(10) => (
                UpstreamReason::AuthInvalid,
                format!("{procedure} is not authorised for our user (error code 10): ask for access to it"),
                None,
            ),
            Some(7) => (
                UpstreamReason::ClosedHours,
                self.closed_detail(),
                Some(self.opens_in(reply)),
            ),
            Some(8) => (
                UpstreamReason::RateLimited,
                "there were too many requests (error code 8): a longer pace may help".to_owned(),
                reply.retry_after,
            ),
            None | Some(0) => (
                UpstreamReason::Unreachable,
                format!("{procedure} failed with an unknown error (error code 0)"),
                reply.retry_after,
            ),
            Some(other) => (
                UpstreamReason::BadAnswer,
                format!("{procedure} failed with error code {other}, which is not documented"),
                reply.retry_after,
            ),
        };
        Err(self.error(reason, detail, retry_after))
    }

    fn closed_detail(&self) -> String {
        let advice = match self.config.allowed_hours {
            None => "set allowed_hours to what was agreed",
            Some(_) => "allowed_hours say when it opens",
        };
        format!("it is outside the hours that were agreed (error code 7): {advice}")
    }

    /// By the server's own clock: it is the one that closes.
    fn opens_in(&self, reply: &Reply) -> Duration {
        let window = self.config.allowed_hours.zip(reply.date);
        window
            .and_then(|(hours, now)| hours.opens_in(now))
            .or(reply.retry_after)
            .unwrap_or(CLOSED_FOR)
    }

    fn without_secrets(&self, message: &str) -> String {
        let mut message = one_line(message, 200);
        let credentials = &self.config.credentials;
        for secret in [&credentials.client_id, &credentials.user, &credentials.password] {
            if !secret.expose().is_empty() {
                message = message.replace(secret.expose(), "«secret»");
            }
        }
        message
    }
}
