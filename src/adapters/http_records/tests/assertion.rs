//! A client that signs what it says of itself, before a token server that reads it by the book.

use std::{
    collections::BTreeSet,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA384, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};

use super::{
    peer::{Arrived, Peer, Says, found, says, system, thing},
    *,
};

const RSA: &str = include_str!("rsa_2048.pem");

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

fn elliptic(curve: &'static EcdsaSigningAlgorithm) -> (String, Vec<u8>) {
    let random = SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(curve, der.as_ref(), &random).unwrap();
    (pem(der.as_ref()), pair.public_key().as_ref().to_vec())
}

fn rsa_public() -> Vec<u8> {
    let lines = RSA.lines().filter(|line| !line.contains([' ', ':']));
    let der = STANDARD.decode(lines.collect::<String>()).unwrap();
    let pair = rsa::KeyPair::from_pkcs8(&der).unwrap();
    pair.public().as_ref().to_vec()
}

/// What a server knows of its client, and what it was shown.
struct Registered {
    algorithm: &'static str,
    verify: &'static dyn VerificationAlgorithm,
    public: Vec<u8>,
    seen: Mutex<BTreeSet<String>>,
}

impl Registered {
    /// As RFC 7523 (section 3) and SMART's profile of it have a server read an assertion; why not, else.
    fn accepts(&self, arrived: &Arrived, own_url: &str) -> Result<(), String> {
        let form: BTreeMap<String, String> = arrived
            .body
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), percent::decode(value).unwrap()))
            .collect();
        let names: Vec<&str> = form.keys().map(String::as_str).collect();
        same(
            &names,
            &vec!["client_assertion", "client_assertion_type", "grant_type", "scope"],
        )?;
        same(&form["grant_type"].as_str(), &"client_credentials")?;
        same(
            &form["client_assertion_type"].as_str(),
            &"urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        )?;
        same(&form["scope"].as_str(), &"system/Appointment.rs")?;
        let (signed, signature) = form["client_assertion"].rsplit_once('.').ok_or("no JWT")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|error| error.to_string())?;
        UnparsedPublicKey::new(self.verify, &self.public)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "the signature is not the client's")?;
        let parts: Vec<Value> = signed
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        same(&parts[0], &json!({"alg": self.algorithm, "typ": "JWT", "kid": "key-1"}))?;
        let claims = &parts[1];
        for (claim, expected) in [("iss", "after call"), ("sub", "after call"), ("aud", own_url)] {
            same(&claims[claim], &json!(expected))?;
        }
        let left = claims["exp"].as_u64().ok_or("no exp")?.saturating_sub(now_in_seconds());
        if !(1..=300).contains(&left) {
            return Err(format!("it holds for {left} s"));
        }
        let is_new = self.seen.lock().unwrap().insert(claims["jti"].to_string());
        is_new.then_some(()).ok_or_else(|| "it was shown before".to_owned())
    }
}

fn same<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{found:?} is not {expected:?}"))
    }
}

#[expect(clippy::disallowed_methods, reason = "a token server has a clock of its own")]
fn now_in_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signing(url: &str, private_key: &str) -> HttpRecordsConfig {
    HttpRecordsConfig {
        auth: HttpAuth::PrivateKeyJwt {
            token_url: format!("{url}/token"),
            client_id: "after call".to_owned(),
            private_key: Secret::new(private_key),
            key_id: Some("key-1".to_owned()),
            audience: format!("{url}/token"),
            scope: Some("system/Appointment.rs".to_owned()),
        },
        timeout: Duration::from_secs(5),
        ..HttpRecordsConfig::new(format!("{url}/fhir"))
    }
}

async fn guarded(registered: Registered) -> Peer {
    Peer::start(move |url, arrived, before| {
        if arrived.target != "/token" {
            return says(200, json!({"with": arrived.header("authorization")}));
        }
        match registered.accepts(arrived, &format!("{url}/token")) {
            // Over at once, so that each call is another assertion.
            Ok(()) => says(
                200,
                json!({"access_token": format!("t-{before}"), "token_type": "bearer", "expires_in": 0}),
            ),
            Err(reason) => Says {
                headers: vec![("x-reason".to_owned(), reason)],
                ..says(400, json!({"error": "invalid_client"}))
            },
        }
    })
    .await
}

#[tokio::test]
async fn a_token_server_that_verifies_the_signature_gives_a_token() {
    let (p384, p384_public) = elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let rsa = Registered {
        algorithm: "RS384",
        verify: &RSA_PKCS1_2048_8192_SHA384,
        public: rsa_public(),
        seen: Mutex::default(),
    };
    let elliptic = Registered {
        algorithm: "ES384",
        verify: &ECDSA_P384_SHA384_FIXED,
        public: p384_public,
        seen: Mutex::default(),
    };
    // The numbers of the second differ in length from one signature to the next.
    for (private_key, registered, times) in [(RSA, rsa, 3), (&p384, elliptic, 16)] {
        let algorithm = registered.algorithm;
        let peer = guarded(registered).await;
        let records = system(signing(&peer.url, private_key), by_id("/{{ id }}"));
        for time in 0..times {
            let answer = records.look_up(&thing("1")).await.unwrap();
            assert_eq!(
                found(answer),
                json!({"with": format!("Bearer t-{}", 2 * time)}),
                "{algorithm}"
            );
        }
        let shown = format!("{records:?}");
        let secret = private_key.lines().rfind(|line| line.len() > 60).unwrap();
        assert!(!shown.contains(&secret[..40]) && !shown.contains("t-0"), "{shown}");
        assert_eq!(peer.arrived()[0].header("authorization"), "");
    }
}

#[tokio::test]
async fn a_server_that_knows_another_key_closes_the_gate() {
    let (other, _) = elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let (_, public) = elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let peer = guarded(Registered {
        algorithm: "ES384",
        verify: &ECDSA_P384_SHA384_FIXED,
        public,
        seen: Mutex::default(),
    })
    .await;
    let records = system(signing(&peer.url, &other), by_id("/{{ id }}"));
    let error = records.look_up(&thing("1")).await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::AuthInvalid);
    assert!(
        error.detail.contains("auth.token_url") && error.detail.contains("invalid_client"),
        "{error}"
    );
    assert_eq!(peer.targets(), ["/token"]);
}

#[test]
fn a_key_of_no_use_is_named_and_not_shown() {
    let random = SystemRandom::new();
    let (p256, _) = elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let ed25519 = pem(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIhidden\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (key, says) in [
        (p256.as_str(), "neither RS384 nor ES384"),
        (&ed25519, "neither RS384 nor ES384"),
        (encrypted, "is encrypted"),
        ("hidden", "holds no private key in PEM"),
        ("", "holds no private key in PEM"),
        (
            "-----BEGIN PUBLIC KEY-----\naGlkZGVu\n-----END PUBLIC KEY-----\n",
            "holds no private key in PEM",
        ),
        (&pem(b"hidden"), "is of no use"),
    ] {
        let config = signing("https://ehr.example", key);
        let error = HttpRecords::new("ehr", config, BTreeMap::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("auth.private_key") && error.contains(says),
            "{says}: {error}"
        );
        assert!(!error.contains("hidden") && !error.contains("aGlkZGVu"), "{error}");
    }
}
