//! A change: one transaction, in the name of a token, whose answer is kept with it.

use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{
    Api,
    door::Caller,
    once::{IsKept, Kept},
    problem::{Code, Problem},
};
use crate::{
    db::Tx,
    operate::plain,
    store::idempotency::{self, Claim},
};

/// Who wants to change something.
pub(super) struct Change {
    actor: String,
    claim: Option<Claim>,
}

impl FromRequestParts<Api> for Change {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let Some(Caller::Token(bearer)) = parts.extensions.get::<Caller>() else {
            return Err(Problem::new(Code::NoToken, "changes need a token"));
        };
        let Kept(claim) = parts.extensions.get::<Kept>().cloned().unwrap_or(Kept(None));
        Ok(Self {
            actor: bearer.name.clone(),
            claim,
        })
    }
}

impl Change {
    /// Who it is, for the audit log.
    pub(super) fn actor(&self) -> &str {
        &self.actor
    }

    /// Makes the change visible, together with its answer.
    pub(super) async fn commit<T: Serialize>(self, tx: Tx, status: StatusCode, body: &T) -> Result<Response, Problem> {
        self.commit_and_show(tx, status, body, body).await
    }

    /// The same where what is shown once differs from what is kept.
    pub(super) async fn commit_and_show<T: Serialize>(
        self,
        mut tx: Tx,
        status: StatusCode,
        kept: &T,
        shown: &T,
    ) -> Result<Response, Problem> {
        if let Some(claim) = &self.claim {
            let is_ours = idempotency::answer(&mut tx, claim, status.as_u16(), &text(kept)).await?;
            if !is_ours {
                // Dropped, the transaction takes back what was done.
                return Err(Problem::new(Code::RequestUnderWay, "another request took its key over").after(1));
            }
        }
        tx.commit().await?;
        let mut response = answer(status, shown);
        response.extensions_mut().insert(IsKept);
        Ok(response)
    }
}

/// An answer in JSON.
pub(super) fn answer<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, headers, text(body)).into_response()
}

/// The usual one.
pub(super) fn ok<T: Serialize>(body: &T) -> Response {
    answer(StatusCode::OK, body)
}

fn text<T: Serialize>(body: &T) -> String {
    // What is answered are rows of text and numbers under text keys: they can always be written.
    plain::json(&serde_json::to_string(body).unwrap_or_default()) + "\n"
}
