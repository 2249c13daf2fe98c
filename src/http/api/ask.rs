//! What is asked: the query, the parts of the path, the body. What does not fit is said, and to whom it was said is a
//! problem like any other.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::request::Parts,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};

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
        // A list in the order of the fields would be taken for an object.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(Problem::new(Code::BadBody, "it is no JSON object"));
        }
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
        has_letters("reason", &self.reason, LONGEST)?;
        Ok(self.reason)
    }
}

/// The same where none has to be given.
pub(super) fn reason_or_none(reason: Option<String>) -> Result<Option<String>, Problem> {
    reason.map(|reason| Why { reason }.reason()).transpose()
}

/// Refuses a text of the body without a letter, or with more than `most`.
pub(super) fn has_letters(name: &str, text: &str, most: usize) -> Result<(), Problem> {
    if (1..=most).contains(&text.chars().count()) {
        return Ok(());
    }
    Err(Problem::new(Code::BadBody, format!("`{name}` has 1 to {most} letters")))
}

/// A whole number, as JSON has them: `3.0` is one.
pub(super) fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = f64::deserialize(from)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number between the bounds of the type"
    )]
    if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) {
        return Ok(number as u32);
    }
    Err(D::Error::custom(format!(
        "{number} is not a whole number from 0 to {}",
        u32::MAX
    )))
}

/// The same where there may be none.
pub(super) fn whole_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    struct Whole(#[serde(deserialize_with = "whole")] u32);
    Ok(Option::<Whole>::deserialize(from)?.map(|Whole(number)| number))
}

/// A member that may be left out; where it is there, it is not null.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// The same for a whole number.
pub(super) fn given_whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    whole(from).map(Some)
}

/// An integer, as JSON has them: `-3.0` is one.
pub(super) fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
    let number = f64::deserialize(from)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an integer between the bounds of the type"
    )]
    if number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
        return Ok(number as i32);
    }
    Err(D::Error::custom(format!(
        "{number} is not an integer from {} to {}",
        i32::MIN,
        i32::MAX
    )))
}

/// The innermost cause: the others only say that a query cannot be read.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
