//! What a request proves of its sender.
//!
//! | shape | what is signed, and how | source of the rule |
//! |---|---|---|
//! | generic | HMAC-SHA256, hex, over `{timestamp}\n{source}\n{session id}\n{body}` | ours: docs/webhooks.md |
//! | vapi | the secret itself in `X-Vapi-Secret` or as a bearer; or HMAC-SHA256, hex, over `{timestamp}.{body}` or over the body | <https://docs.vapi.ai/server-url/server-authentication>, `HMACAuthenticationPlan` of its API reference |
//! | retell | `v={milliseconds},d={hex}`: HMAC-SHA256 over body and milliseconds | <https://docs.retellai.com/features/secure-webhook>, `webhook_auth` of its SDKs |
//! | twilio | HMAC-SHA1, base64, over the address and the sorted parameters of the form | <https://www.twilio.com/docs/usage/security#validating-requests> |
//!
//! Secrets and tags are compared in a time that says nothing of where they differ.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use ring::hmac;

use super::{Request, Shape, form};

/// Signatures of one request that are looked at: one for each secret while they are exchanged.
const SIGNATURES_MOST: usize = 8;

/// Why a request proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not signed.
    #[error("the header {0} is not there")]
    Missing(&'static str),
    /// It is not signed in a way that can be read.
    #[error("the header {0} cannot be read")]
    Malformed(&'static str),
}

/// What a request holds against a secret.
#[derive(Debug)]
pub struct Proof<'r> {
    how: How<'r>,
    signed_at: Option<DateTime<Utc>>,
}

#[derive(Debug)]
enum How<'r> {
    /// It names the secret.
    Secret(&'r [u8]),
    /// One of the tags is of one of the texts.
    Tags {
        algorithm: hmac::Algorithm,
        texts: Vec<Vec<&'r [u8]>>,
        owned: Vec<Vec<u8>>,
        tags: Vec<Vec<u8>>,
    },
}

impl<'r> Proof<'r> {
    fn sha256(texts: Vec<Vec<&'r [u8]>>, owned: Vec<Vec<u8>>, tags: Vec<Vec<u8>>) -> How<'r> {
        How::Tags {
            algorithm: hmac::HMAC_SHA256,
            texts,
            owned,
            tags,
        }
    }

    /// Whether the sender knows this secret. Nobody knows the empty one.
    pub fn is_by(&self, secret: &str) -> bool {
        let secret = secret.as_bytes();
        let fits = match &self.how {
            How::Secret(named) => equal(&hmac::Key::new(hmac::HMAC_SHA256, secret), named, secret),
            How::Tags {
                algorithm,
                texts,
                owned,
                tags,
            } => {
                let key = hmac::Key::new(*algorithm, secret);
                let parts = texts.iter().cloned();
                let texts = parts.chain(owned.iter().map(|text| vec![text.as_slice()]));
                texts.fold(false, |fits, text| {
                    let mut context = hmac::Context::with_key(&key);
                    for part in text {
                        context.update(part);
                    }
                    let tag = context.sign();
                    tags.iter()
                        .fold(fits, |fits, given| fits | equal(&key, given, tag.as_ref()))
                })
            }
        };
        fits & !secret.is_empty()
    }

    /// When it was signed, where that is signed with it: otherwise nothing says whether it is of now.
    pub fn signed_at(&self) -> Option<DateTime<Utc>> {
        self.signed_at
    }
}

/// Compares by tags of both: what takes longer or shorter says nothing of the texts.
fn equal(key: &hmac::Key, one: &[u8], other: &[u8]) -> bool {
    hmac::verify(key, one, hmac::sign(key, other).as_ref()).is_ok()
}

/// What a request holds against the secrets of a webhook of this shape.
///
/// # Errors
/// When it is not signed, or not in a way that can be read.
pub fn proof<'r>(shape: Shape, request: &Request<'r>) -> Result<Proof<'r>, Refusal> {
    match shape {
        Shape::Generic => generic(request),
        Shape::Vapi => vapi(request),
        Shape::Retell => retell(request),
        Shape::Twilio => twilio(request),
    }
}

/// The line break keeps the parts apart: no source and no session id holds one.
fn generic<'r>(request: &Request<'r>) -> Result<Proof<'r>, Refusal> {
    const SIGNATURE: &str = "Aftercall-Signature";
    const TIMESTAMP: &str = "Aftercall-Timestamp";
    let signatures = (request.header)("aftercall-signature").ok_or(Refusal::Missing(SIGNATURE))?;
    let timestamp = (request.header)("aftercall-timestamp").ok_or(Refusal::Missing(TIMESTAMP))?;
    let signed_at = seconds(timestamp).ok_or(Refusal::Malformed(TIMESTAMP))?;
    let tags: Vec<Vec<u8>> = signatures
        .split(',')
        .filter_map(|signature| from_hex(signature.trim().strip_prefix("v1=")?))
        .take(SIGNATURES_MOST)
        .collect();
    if tags.is_empty() {
        return Err(Refusal::Malformed(SIGNATURE));
    }
    let text: [&[u8]; 7] = [
        timestamp.as_bytes(),
        b"\n",
        request.source.as_bytes(),
        b"\n",
        request.session_id.as_bytes(),
        b"\n",
        request.body,
    ];
    Ok(Proof {
        how: Proof::sha256(vec![text.to_vec()], Vec::new(), tags),
        signed_at: Some(signed_at),
    })
}

/// A credential of Vapi's is a bearer, an HMAC or, as it was at first, the secret in a header of its own.
fn vapi<'r>(request: &Request<'r>) -> Result<Proof<'r>, Refusal> {
    const SIGNATURE: &str = "X-Vapi-Signature";
    const TIMESTAMP: &str = "X-Timestamp";
    let by_name = |named: &'r str| {
        Ok(Proof {
            how: How::Secret(named.as_bytes()),
            signed_at: None,
        })
    };
    if let Some(secret) = (request.header)("x-vapi-secret") {
        return by_name(secret);
    }
    if let Some(authorization) = (request.header)("authorization") {
        return match authorization.split_once(' ') {
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => by_name(secret.trim()),
            _ => Err(Refusal::Malformed("Authorization")),
        };
    }
    let given = (request.header)("x-vapi-signature").or_else(|| (request.header)("x-signature"));
    let given = given.ok_or(Refusal::Missing("X-Vapi-Secret, Authorization or X-Vapi-Signature"))?;
    let tag = from_hex(given.strip_prefix("sha256=").unwrap_or(given)).ok_or(Refusal::Malformed(SIGNATURE))?;
    let (text, signed_at) = match (request.header)("x-timestamp") {
        Some(timestamp) => {
            let signed_at = seconds(timestamp).or_else(|| milliseconds(timestamp));
            let signed_at = signed_at.ok_or(Refusal::Malformed(TIMESTAMP))?;
            (vec![timestamp.as_bytes(), b".", request.body], Some(signed_at))
        }
        None => (vec![request.body], None),
    };
    Ok(Proof {
        how: Proof::sha256(vec![text], Vec::new(), vec![tag]),
        signed_at,
    })
}

fn retell<'r>(request: &Request<'r>) -> Result<Proof<'r>, Refusal> {
    const SIGNATURE: &str = "X-Retell-Signature";
    let given = (request.header)("x-retell-signature").ok_or(Refusal::Missing(SIGNATURE))?;
    let read = || {
        let (timestamp, tag) = given.strip_prefix("v=")?.split_once(",d=")?;
        Some((timestamp, milliseconds(timestamp)?, from_hex(tag)?))
    };
    let (timestamp, signed_at, tag) = read().ok_or(Refusal::Malformed(SIGNATURE))?;
    let text = vec![request.body, timestamp.as_bytes()];
    Ok(Proof {
        how: Proof::sha256(vec![text], Vec::new(), vec![tag]),
        signed_at: Some(signed_at),
    })
}

/// There is no time in what Twilio signs: the same request proves the same for ever.
fn twilio<'r>(request: &Request<'r>) -> Result<Proof<'r>, Refusal> {
    const SIGNATURE: &str = "X-Twilio-Signature";
    let given = (request.header)("x-twilio-signature").ok_or(Refusal::Missing(SIGNATURE))?;
    let tag = STANDARD.decode(given).map_err(|_| Refusal::Malformed(SIGNATURE))?;
    let mut form = form::pairs(request.body).ok_or(Refusal::Malformed(SIGNATURE))?;
    form.sort();
    form.dedup();
    let parameters: String = form.into_iter().map(|(name, value)| name + &value).collect();
    let owned = addresses(request).map(|address| (address + &parameters).into_bytes());
    Ok(Proof {
        how: How::Tags {
            algorithm: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            texts: Vec::new(),
            owned: owned.to_vec(),
            tags: vec![tag],
        },
        signed_at: None,
    })
}

/// The address as Twilio has it, with the query that came, and the same with or without the port that goes without saying:
/// Twilio signs one of both.
fn addresses(request: &Request<'_>) -> [String; 2] {
    let (base, configured) = match request.url.split_once('?') {
        Some((base, query)) => (base, Some(query)),
        None => (request.url, None),
    };
    let query = request.query.or(configured).map(|query| format!("?{query}"));
    let query = query.unwrap_or_default();
    let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port = if scheme == "http" { ":80" } else { ":443" };
    let other = match authority.strip_suffix(port) {
        Some(host) => host.to_owned(),
        None => format!("{authority}{port}"),
    };
    [format!("{base}{query}"), format!("{scheme}://{other}{path}{query}")]
}

fn seconds(text: &str) -> Option<DateTime<Utc>> {
    let number: i64 = digits(text, 10)?;
    DateTime::from_timestamp(number, 0)
}

fn milliseconds(text: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(digits(text, 13)?)
}

fn digits(text: &str, most: usize) -> Option<i64> {
    let is_plain = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) || text.is_empty() || text.len() > 128 {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| {
            let pair = text.get(at..at + 2)?;
            let is_hex = pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        })
        .collect()
}
