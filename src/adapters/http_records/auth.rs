//! Who we say we are: a token of the configuration, or one that is fetched with what the configuration holds.
//!
//! A fetched token is kept until shortly before it expires, and fetched once however many calls wait for it: they share one
//! request and what comes of it, its failure included. Whoever comes later tries afresh.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use reqwest::{
    Client,
    header::{HeaderMap, HeaderValue},
};
use tokio::time::Instant;

use super::token_server::{Token, TokenServer};
use crate::{adapters::secret::Secret, ports::UpstreamError};

pub(super) const UNSENDABLE: &str = "the token or key of [records.auth] holds characters that HTTP forbids";

/// How a system is signed in to, beside its configured headers.
#[derive(Debug, Clone, Default)]
pub enum HttpAuth {
    /// Not at all, or by a configured header.
    #[default]
    None,
    /// A token that does not change.
    Bearer(Secret),
    /// OAuth 2.0 client credentials (RFC 6749, section 4.4).
    ClientCredentials {
        /// Where tokens are fetched.
        token_url: String,
        /// The client's id.
        client_id: Secret,
        /// The client's secret.
        client_secret: Secret,
        /// What the token is for.
        scope: Option<String>,
        /// `client_secret_post`: id and secret in the body; `client_secret_basic` otherwise.
        in_body: bool,
    },
    /// OAuth 2.0 client credentials of a client that signs what it says of itself (RFC 7523; SMART Backend Services).
    PrivateKeyJwt {
        /// Where tokens are fetched.
        token_url: String,
        /// The client's id.
        client_id: String,
        /// PEM of an RSA key (RS384) or of one on the curve P-384 (ES384).
        private_key: Secret,
        /// By which the server finds the public key.
        key_id: Option<String>,
        /// Whom the signed words are for: the token server's address, or what it wants to be called.
        audience: String,
        /// What the token is for.
        scope: Option<String>,
    },
    /// An API key is posted as `Authorization`, and the answer holds a token.
    ApiKey {
        /// Where tokens are fetched.
        token_url: String,
        /// The key.
        api_key: Secret,
        /// `JSONPath` to the token.
        token: String,
        /// How long a token holds.
        lifetime: Duration,
    },
}

/// A request for a token that is on its way.
type Flight = BoxFuture<'static, Result<Token, UpstreamError>>;

/// What is known of tokens.
#[derive(Debug, Default)]
struct Tokens {
    held: Option<Token>,
    /// Weak, so that a request that nobody waits for any more ends, and is not taken up again long after.
    flight: Option<WeakShared<Flight>>,
}

/// Signs requests.
#[derive(Debug)]
pub(super) struct Signer {
    fixed: Option<HeaderValue>,
    server: Option<Arc<TokenServer>>,
    tokens: Arc<Mutex<Tokens>>,
}

impl Signer {
    /// # Errors
    /// Says what cannot be used, without repeating it.
    pub(super) fn new(
        auth: &HttpAuth,
        upstream: String,
        client: Client,
        timeout: Duration,
        headers: HeaderMap,
    ) -> Result<Self, String> {
        let fixed = match auth {
            HttpAuth::Bearer(token) => Some(bearer(token.expose()).ok_or(UNSENDABLE)?),
            _ => None,
        };
        let server = TokenServer::new(auth, upstream, client, timeout, headers)?.map(Arc::new);
        Ok(Self {
            fixed,
            server,
            tokens: Arc::default(),
        })
    }

    /// Whether another token can be had.
    pub(super) fn fetches(&self) -> bool {
        self.server.is_some()
    }

    /// What goes into `Authorization`; `refused` is a token that the system no longer takes.
    ///
    /// # Errors
    /// When no token can be had now.
    pub(super) async fn authorization(
        &self,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, UpstreamError> {
        let Some(server) = &self.server else {
            return Ok(self.fixed.clone());
        };
        let flight = {
            let mut tokens = locked(&self.tokens);
            if let Some(token) = &tokens.held
                && refused.is_none_or(|refused| refused != token.header)
                && Instant::now() < token.until
            {
                return Ok(Some(token.header.clone()));
            }
            tokens.held = None;
            let under_way = tokens.flight.as_ref().and_then(WeakShared::upgrade);
            // One that has come down failed, else its token would be held: its failure is not for who comes now.
            match under_way.filter(|flight| flight.peek().is_none()) {
                Some(flight) => flight,
                None => self.take_off(&mut tokens, Arc::clone(server)),
            }
        };
        Ok(Some(flight.await?.header))
    }

    fn take_off(&self, tokens: &mut Tokens, server: Arc<TokenServer>) -> Shared<Flight> {
        let kept = Arc::clone(&self.tokens);
        let fetch = async move {
            let token = server.fetch().await?;
            locked(&kept).held = Some(token.clone());
            Ok(token)
        };
        let flight = fetch.boxed().shared();
        tokens.flight = flight.downgrade();
        flight
    }
}

/// Held for a moment, never while anything is waited for.
fn locked(tokens: &Mutex<Tokens>) -> MutexGuard<'_, Tokens> {
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}
