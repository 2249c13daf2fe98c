//! What is asked: the query, the parts of the path, the body. What does not fit is said, and to whom it was said is a
//! problem like any other.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Api,
    problem::{Code, Problem},
};

/// The query.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        let Query(query) = query.map_err(|error| Problem::new(Code::BadQuery, cause(&error)))?;
        Ok(Self(query))
    }
}

/// The parts of the path.
pub(super) struct Place<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Api> for Place<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let place = Path::<T>::from_request_parts(parts, api).await;
        let Path(place) = place.map_err(|error| Problem::new(Code::BadPath, error.body_text()))?;
        Ok(Self(place))
    }
}

/// The body.
pub(super) struct Posted<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Posted<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, api)
            .await
            .map_err(|_| Problem::internal())?;
        let body = serde_json::from_slice(&body).map_err(|error| Problem::new(Code::BadBody, error.to_string()))?;
        Ok(Self(body))
    }
}

/// A body that says nothing: `{}`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Why something is done, for the next person who looks.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// In a sentence.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Letters of a reason, at most.
const LONGEST: usize = 500;

impl Why {
    pub(super) fn reason(self) -> Result<String, Problem> {
        if self.reason.is_empty() || self.reason.chars().count() > LONGEST {
            return Err(Problem::new(
                Code::BadBody,
                format!("`reason` has 1 to {LONGEST} letters"),
            ));
        }
        Ok(self.reason)
    }
}

/// The innermost cause: the others only say that a query cannot be read.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
