//! Tokens of the HTTP API: made and revoked, in `audit_log` with the actor.

use std::time::Duration;

use chrono::TimeDelta;

use crate::{
    db::{DbError, Tx},
    domain::api_token::{ApiToken, Scope, TokenError},
    queue::control,
    store::tokens::{self, StoredToken, TokenLine},
};

/// A token that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Who it stands for in the audit log: as [`check_name`](crate::domain::api_token::check_name) allows.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// For how long it is good; `None`: until it is revoked.
    pub expires: Option<Duration>,
}

/// A token and the hash to keep of it. Hashing is slow on purpose: nobody holds a transaction meanwhile.
#[derive(Debug)]
pub struct Fresh {
    token: ApiToken,
    secret_hash: String,
}

impl Fresh {
    /// A new one. Takes some 20 ms of a thread.
    ///
    /// # Errors
    /// When the machine gives no randomness.
    pub fn make() -> Result<Self, TokenError> {
        let token = ApiToken::generate()?;
        let secret_hash = token.hash()?;
        Ok(Self { token, secret_hash })
    }

    /// The token itself, to be shown once.
    pub fn expose(&self) -> String {
        self.token.expose()
    }
}

/// Keeps a token. `None`: a token of that name is good already.
///
/// # Errors
/// When the database refuses it.
pub async fn create(tx: &mut Tx, wanted: &Wanted, fresh: &Fresh, actor: &str) -> Result<Option<TokenLine>, DbError> {
    let now = tx.now().await?;
    let expires = wanted.expires.and_then(|expires| TimeDelta::from_std(expires).ok());
    let line = TokenLine {
        id: fresh.token.id().to_owned(),
        name: wanted.name.clone(),
        scope: wanted.scope,
        created_at: now,
        created_by: actor.to_owned(),
        expires_at: expires.and_then(|expires| now.checked_add_signed(expires)),
        last_used_at: None,
        revoked_at: None,
    };
    let stored = StoredToken {
        line,
        secret_hash: fresh.secret_hash.clone(),
    };
    if !tokens::create(tx, &stored).await? {
        return Ok(None);
    }
    let line = stored.line;
    let detail = format!("{} ({})", line.name, line.scope.as_str());
    control::audit(tx, actor, "create_token", &line.id, Some(&detail)).await?;
    Ok(Some(line))
}

/// Ends a token for good; answers it, or `None` when there is none. One that was revoked before stays as it is.
///
/// # Errors
/// When the database refuses it.
pub async fn revoke(tx: &mut Tx, id: &str, actor: &str) -> Result<Option<TokenLine>, DbError> {
    let Some((line, is_new)) = tokens::revoke(tx, id).await? else {
        return Ok(None);
    };
    if is_new {
        control::audit(tx, actor, "revoke_token", id, Some(&line.name)).await?;
    }
    Ok(Some(line))
}
