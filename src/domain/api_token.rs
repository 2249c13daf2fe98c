//! Tokens of the HTTP API: `aftercall_<id>_<secret>`.
//!
//! The id is public: it stands in lists and in the audit log. The secret is 256 bits of the operating system's randomness,
//! shown once and kept nowhere: only its argon2id hash is. The prefix lets a scanner for leaked secrets know it.

use std::fmt;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash, try_generate_salt},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::hex::hex;

/// What every token begins with.
pub const PREFIX: &str = "aftercall_";
/// Letters of an id: 64 bits in hex.
const ID: usize = 16;
/// Letters of a secret: 256 bits in base64url.
const SECRET: usize = 43;
/// Letters of a name, at most.
pub const LONGEST_NAME: usize = 64;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To look.
    Read,
    /// To look and to change.
    Operate,
}

impl Scope {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }

    /// Reads the stored spelling.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "read" => Some(Self::Read),
            "operate" => Some(Self::Operate),
            _ => None,
        }
    }
}

/// A token as it is presented: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken {
    id: String,
    secret: String,
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_…", self.id)
    }
}

/// The machine gave no randomness, or a hash could not be computed.
#[derive(Debug, thiserror::Error)]
#[error("a token cannot be made or checked: {0}")]
pub struct TokenError(String);

impl ApiToken {
    /// A new one.
    ///
    /// # Errors
    /// When the machine gives no randomness.
    pub fn generate() -> Result<Self, TokenError> {
        let random = || try_generate_salt().map_err(|error| TokenError(error.to_string()));
        let secret = [random()?, random()?].concat();
        Ok(Self {
            id: hex(&random()?[..ID / 2]),
            secret: URL_SAFE_NO_PAD.encode(secret),
        })
    }

    /// Reads one; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let id_fits = id.len() == ID
            && id
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let in_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let fits = id_fits && secret.len() == SECRET && secret.bytes().all(in_base64);
        fits.then(|| Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// Its public part.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// All of it: for the one place that shows it once.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// By what a process remembers that it has seen it: SHA-256 of all of it.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.expose()).into()
    }

    /// The argon2id hash of its secret, to be stored. Takes some 20 ms and 19 MiB.
    ///
    /// # Errors
    /// When the machine gives no randomness for the salt.
    pub fn hash(&self) -> Result<String, TokenError> {
        let hashed = Argon2::default().hash_password(self.secret.as_bytes());
        hashed
            .map(|hash| hash.to_string())
            .map_err(|error| TokenError(error.to_string()))
    }

    /// Whether the hash is of its secret, in a time that does not depend on how much of it is right. As expensive as
    /// [`ApiToken::hash`].
    pub fn is_of(&self, hash: &str) -> bool {
        PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(self.secret.as_bytes(), &hash).is_ok())
    }
}

/// Whether a token may have this name: it stands in the audit log as who did something, beside people at the command line
/// (`ada (command line)`), and must look like none of them.
///
/// # Errors
/// Says what to write instead.
pub fn check_name(name: &str) -> Result<(), String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '@');
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(fits) {
        return Ok(());
    }
    Err(format!(
        "a token's name has 1 to {LONGEST_NAME} of the letters a-z, A-Z, 0-9, `-`, `_`, `.` and `@`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_shown_and_no_other_fits_its_hash() {
        let token = ApiToken::generate().unwrap();
        let shown = token.expose();
        assert_eq!(shown.len(), PREFIX.len() + ID + 1 + SECRET);
        assert_eq!(ApiToken::parse(&shown).as_ref(), Some(&token));
        assert!(!format!("{token:?}").contains(&token.secret));
        let hash = token.hash().unwrap();
        assert!(
            hash.starts_with("$argon2id$") && !hash.contains(&token.secret),
            "{hash}"
        );
        assert!(token.is_of(&hash));
        let other = ApiToken::generate().unwrap();
        assert_ne!(other.expose(), shown);
        assert!(!other.is_of(&hash));
        assert!(!token.is_of("") && !token.is_of("$argon2id$v=19$nonsense"));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let token = ApiToken::generate().unwrap().expose();
        for other in [
            "",
            "aftercall_",
            &token[1..],
            &token[..token.len() - 1],
            &format!("{token}a"),
            &token.to_uppercase(),
            &token.replace("aftercall_", "aftercall_x"),
        ] {
            assert_eq!(ApiToken::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_name_looks_like_no_person_at_the_command_line() {
        for name in ["dashboard", "on-call@example.com", "ci_2026.1"] {
            check_name(name).unwrap();
        }
        for name in ["", "ada (command line)", "a b", "a\u{202e}b", "x/y", &"n".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
