//! What holds for every answer: it comes in time, it is not kept by anybody, nothing in it acts in a browser, and one that
//! the client has already is not sent again.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use sha2::{Digest as _, Sha256};

use super::{
    Api,
    problem::{Code, Problem},
    rules::Need,
};
use crate::domain::hex::hex;

/// How long an answer may take: less than a connection may be without one.
pub(super) const ANSWER: Duration = Duration::from_secs(20);
/// Requests that are answered at once.
pub(super) const AT_ONCE: usize = 32;
/// Requests of webhooks beside those: each may hold some megabytes.
pub(super) const SIGNED_AT_ONCE: usize = 16;

/// What a browser may do with an answer: nothing. The reference brings its own.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Around everything of the API.
pub(super) async fn around(State(api): State<Api>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let asked = request.headers().clone();
    let response = in_time(&api, request, next).await;
    let mut response = known(&method, &asked, response).await;
    protect(response.headers_mut());
    response
}

/// What every answer of this server says.
pub(super) fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let csp = headers.entry(header::CONTENT_SECURITY_POLICY);
    csp.or_insert(HeaderValue::from_static(NOTHING));
}

async fn in_time(api: &Api, request: Request, next: Next) -> Response {
    // Strangers may send to a webhook, slowly and much: they take no place of those who have a token.
    let (places, most) = if is_signed(api, &request) {
        (&api.signed_places, SIGNED_AT_ONCE)
    } else {
        (&api.places, AT_ONCE)
    };
    let Ok(_place) = places.try_acquire() else {
        let busy = format!("{most} requests are being answered");
        return Problem::new(Code::TooBusy, busy).after(1).into_response();
    };
    // A panic would close the connection without a word.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem::internal().into_response(),
        Err(_) => Problem::timed_out(ANSWER.as_secs()).into_response(),
    }
}

fn is_signed(api: &Api, request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    path.and_then(|path| api.rules.needed(path, request.method())) == Some(Need::Signature)
}

/// Marks an answer by its content; one that the client has is not sent again.
async fn known(method: &Method, asked: &HeaderMap, response: Response) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) || response.status() != StatusCode::OK {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // It was written by us, and is whole.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Problem::internal().into_response();
    };
    let tag = format!("\"{}\"", hex(&Sha256::digest(&body)[..16]));
    if let Ok(value) = HeaderValue::try_from(&tag) {
        head.headers.insert(header::ETAG, value);
    }
    if has(asked, &tag) {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_TYPE);
        head.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, Body::from(body))
}

/// Whether `If-None-Match` names it. A mark that a proxy made weak is the same mark here.
fn has(asked: &HeaderMap, tag: &str) -> bool {
    let named = asked.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = named
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    tags.any(|named| {
        let named = named.trim();
        named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_among_others_weak_or_not() {
        let has_in = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            has(&headers, "\"a\"")
        };
        for value in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(has_in(value), "{value}");
        }
        for value in ["\"b\"", "a", ""] {
            assert!(!has_in(value), "{value}");
        }
        assert!(!has(&HeaderMap::new(), "\"a\""));
    }
}
