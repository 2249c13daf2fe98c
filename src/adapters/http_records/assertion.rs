//! What a client says of itself to a token server, signed with its private key: RFC 7523, as SMART Backend Services
//! (<https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html>) want it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{TimeDelta, Utc};
use rustls::{
    SignatureScheme,
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
    sign::SigningKey,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// How long one holds. Five minutes are the most that is allowed, by the server's clock: ours may be a minute ahead.
const LIFETIME: TimeDelta = TimeDelta::minutes(4);
/// Bytes of a number of the curve P-384.
const P384: usize = 48;

/// The kinds of signature that SMART asks every server to take.
const SCHEMES: [SignatureScheme; 2] = [
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::ECDSA_NISTP384_SHA384,
];

/// Signs what a client says of itself.
#[derive(Debug)]
pub(super) struct Assertion {
    /// Does not print.
    key: Arc<dyn SigningKey>,
    key_id: Option<String>,
    client_id: String,
    audience: String,
}

impl Assertion {
    /// # Errors
    /// Says of the key what is wrong with it, without repeating any of it.
    pub(super) fn new(pem: &str, key_id: Option<&str>, client_id: &str, audience: &str) -> Result<Self, String> {
        if pem.contains("ENCRYPTED") {
            return Err(
                "is encrypted: give it without a passphrase, in a file that only this user can read".to_owned(),
            );
        }
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)".to_owned())?;
        let key = any_supported_type(&der)
            .map_err(|_| "is of no use: it should be RSA of 2048 to 4096 bits, or on the curve P-384".to_owned())?;
        if key.choose_scheme(&SCHEMES).is_none() {
            return Err("is for neither RS384 nor ES384: it should be RSA, or on the curve P-384".to_owned());
        }
        Ok(Self {
            key,
            key_id: key_id.map(str::to_owned),
            client_id: client_id.to_owned(),
            audience: audience.to_owned(),
        })
    }

    /// A JWT that nobody has seen yet.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(super) fn sign(&self) -> Result<String, String> {
        let unable = || "cannot sign".to_owned();
        let signer = self.key.choose_scheme(&SCHEMES).ok_or_else(unable)?;
        let is_rsa = signer.scheme() == SignatureScheme::RSA_PKCS1_SHA384;
        let mut header = json!({"alg": if is_rsa { "RS384" } else { "ES384" }, "typ": "JWT"});
        if let Some(key_id) = &self.key_id {
            header["kid"] = json!(key_id);
        }
        // No `iat`: it tells nothing more, and a server whose clock is behind ours would refuse it.
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "exp": in_four_minutes(),
            "jti": Uuid::new_v4().to_string(),
        });
        let mut jwt = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = signer.sign(jwt.as_bytes()).map_err(|_| unable())?;
        if !is_rsa {
            signature = in_two_numbers(&signature).ok_or_else(unable)?;
        }
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Ok(jwt)
    }
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a token server holds it against its own clock, of which the database's knows no more than this machine's"
)]
fn in_four_minutes() -> i64 {
    (Utc::now() + LIFETIME).timestamp()
}

/// TLS has a signature of ECDSA as DER, `SEQUENCE { INTEGER r, INTEGER s }`; a JWT has the two numbers side by side, each
/// in full length (RFC 7518, section 3.4).
fn in_two_numbers(der: &[u8]) -> Option<Vec<u8>> {
    // Shorter than 128 bytes each: lengths are one byte.
    let [0x30, length, rest @ ..] = der else {
        return None;
    };
    if usize::from(*length) != rest.len() {
        return None;
    }
    let (r, rest) = integer(rest)?;
    let (s, rest) = integer(rest)?;
    let mut numbers = vec![0; 2 * P384];
    numbers[P384 - r.len()..P384].copy_from_slice(r);
    numbers[2 * P384 - s.len()..].copy_from_slice(s);
    rest.is_empty().then_some(numbers)
}

/// The digits of the integer that comes first, without leading zeros, and what follows it.
fn integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x02, length, rest @ ..] = der else {
        return None;
    };
    let (digits, rest) = rest.split_at_checked(usize::from(*length))?;
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = &digits[zeros..];
    (digits.len() <= P384).then_some((digits, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An integer as DER has it.
    fn der(digits: &[u8]) -> Vec<u8> {
        let sign: &[u8] = if digits[0] > 0x7f { &[0] } else { &[] };
        [&[2, u8::try_from(sign.len() + digits.len()).unwrap()], sign, digits].concat()
    }

    fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
        let inner = parts.concat();
        [vec![0x30, u8::try_from(inner.len()).unwrap()], inner].concat()
    }

    #[test]
    fn each_number_of_a_signature_has_its_full_length() {
        let (long, short) = ([0xff; P384], [7; P384 - 2]);
        let numbers = in_two_numbers(&sequence(&[der(&long), der(&short)])).unwrap();
        assert_eq!(numbers, [&long[..], &[0, 0], &short].concat());
        let numbers = in_two_numbers(&sequence(&[der(&[1]), der(&long)])).unwrap();
        assert_eq!(numbers, [&[0; P384 - 1][..], &[1], &long].concat());
    }

    #[test]
    fn what_is_no_signature_is_none() {
        let good = sequence(&[der(&[1]), der(&[2])]);
        for cut in 0..good.len() {
            assert_eq!(in_two_numbers(&good[..cut]), None, "{cut}");
        }
        assert_eq!(in_two_numbers(&[&good[..], &[0]].concat()), None);
        assert_eq!(in_two_numbers(&sequence(&[der(&[1]), der(&[2]), der(&[3])])), None);
        assert_eq!(in_two_numbers(&sequence(&[der(&[1; P384 + 1]), der(&[2])])), None);
    }
}
