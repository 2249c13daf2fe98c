//! Whether a token is good.
//!
//! Checking a secret is slow on purpose, and a dashboard asks every second: a token that was right once is known by its
//! SHA-256 and not hashed again. Its row is read again every [`FRESH`], so that revoking or expiring it takes effect then.
//! What a process remembers is never more than the digest.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    problem::{Code, Problem},
    rate::{Buckets, STRANGERS},
};
use crate::{
    db::Db,
    domain::api_token::{ApiToken, Scope},
    store::tokens::{self, StoredToken},
};

/// For how long a token's row is taken for what it was. Documented as 30 s at most, with all that a request may take.
const FRESH: Duration = Duration::from_secs(10);
/// `last_used_at` is written no more often.
const USED: TimeDelta = TimeDelta::minutes(1);
/// Hashed at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// Tokens remembered; the one that was asked for longest ago goes.
const MOST: usize = 1_000;

/// Who asks, by a good token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) scope: Scope,
}

/// Tokens that were right.
#[derive(Debug)]
pub(super) struct Verifier {
    known: Mutex<HashMap<[u8; 32], Known>>,
    strangers: Buckets,
    hashing: Semaphore,
}

/// A token whose secret fits this hash.
#[derive(Debug, Clone)]
struct Known {
    bearer: Bearer,
    secret_hash: String,
    read_at: Instant,
    /// When it expires, on this process's clock.
    ends: Option<Instant>,
}

impl Verifier {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::default(),
            strangers: Buckets::new(STRANGERS),
            hashing: Semaphore::new(AT_ONCE),
        }
    }

    /// Who this token stands for.
    pub(super) async fn bearer(&self, db: &Db, presented: &str) -> Result<Bearer, Problem> {
        let token = ApiToken::parse(presented).ok_or_else(refused)?;
        let digest = token.digest();
        let known = self.lock().get(&digest).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.read_at.elapsed() < FRESH) {
            return known.is_good().then(|| known.bearer.clone()).ok_or_else(refused);
        }
        let stored = tokens::find(db, token.id()).await?;
        let now = db.now().await?;
        let Some(stored) = stored.filter(|stored| stored.line.is_good(now)) else {
            self.lock().remove(&digest);
            return Err(refused());
        };
        let was_right = known.is_some_and(|known| known.secret_hash == stored.secret_hash);
        if !was_right && !self.fits(token, stored.secret_hash.clone()).await? {
            return Err(refused());
        }
        let lasts = stored.line.expires_at.map(|at| (at - now).to_std().unwrap_or_default());
        let known = Known {
            bearer: bearer(&stored),
            secret_hash: stored.secret_hash,
            read_at: Instant::now(),
            ends: lasts.and_then(|lasts| Instant::now().checked_add(lasts)),
        };
        let bearer = known.bearer.clone();
        self.remember(digest, known);
        if stored.line.last_used_at.is_none_or(|used| now - used >= USED) {
            // Whether it can be written decides nothing.
            if let Err(error) = tokens::used(db, &bearer.id, now, USED).await {
                tracing::warn!(%error, token = bearer.id, "that the token was used is not written");
            }
        }
        Ok(bearer)
    }

    /// Whether the hash is of the token's secret: worked out on a thread of its own.
    async fn fits(&self, token: ApiToken, hash: String) -> Result<bool, Problem> {
        let bucket = self.strangers.take("");
        if !bucket.may {
            return Err(Problem::new(
                Code::TooManyRequests,
                "too many tokens were tried that were not seen before",
            )
            .after(bucket.reset));
        }
        // Closed never: we hold it.
        let _place = self.hashing.acquire().await.ok();
        tokio::task::spawn_blocking(move || token.is_of(&hash))
            .await
            .map_err(|_| Problem::internal())
    }

    fn remember(&self, digest: [u8; 32], known: Known) {
        let mut all = self.lock();
        if all.len() >= MOST
            && let Some(oldest) = all
                .iter()
                .min_by_key(|(_, known)| known.read_at)
                .map(|(digest, _)| *digest)
        {
            all.remove(&oldest);
        }
        all.insert(digest, known);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_good(&self) -> bool {
        self.ends.is_none_or(|ends| Instant::now() < ends)
    }
}

fn bearer(stored: &StoredToken) -> Bearer {
    Bearer {
        id: stored.line.id.clone(),
        name: stored.line.name.clone(),
        scope: stored.line.scope,
    }
}

/// The same for whatever is wrong with it.
fn refused() -> Problem {
    Problem::new(Code::InvalidToken, "the token that was sent is not good")
}
