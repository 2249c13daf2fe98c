//! Who may ask: the keys, and how each release refuses the wrong ones.

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{PUBLIC_KEY, SECRET_KEY, problem::Problem, route::Endpoint, version::Version};

const WRONG: &str = "Invalid credentials. Confirm that you've configured the correct host.";

/// Lets a request in.
///
/// # Errors
/// 401 or 403, as the release says it.
pub(super) fn check(headers: &HeaderMap, endpoint: Endpoint, version: Version) -> Result<(), Problem> {
    let Some(header) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return Err(Problem::unauthorized("No authorization header"));
    };
    if let Some(key) = header.strip_prefix("Bearer ") {
        // The public key alone may write scores.
        return match endpoint {
            _ if key != PUBLIC_KEY => Err(Problem::unauthorized(WRONG)),
            Endpoint::PostScore => Ok(()),
            _ if version.is_v2() => Err(Problem::unauthorized(
                "Access denied - need to use basic auth with secret key",
            )),
            _ => Err(Problem::denied()),
        };
    }
    let secret = || {
        let bytes = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
        let keys = String::from_utf8(bytes).ok()?;
        let (_, secret) = keys.split_once(':')?;
        Some(secret.to_owned())
    };
    if secret().as_deref() == Some(SECRET_KEY) {
        Ok(())
    } else {
        Err(Problem::unauthorized(WRONG))
    }
}
