//! Tokens of the HTTP API, without their secrets. None is deleted: the audit log names them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    db::{Db, DbError, Row, Sql, Tx},
    domain::api_token::Scope,
    params,
};

/// A token, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenLine {
    /// The public part of the token.
    pub id: String,
    /// Who it stands for in the audit log.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: String,
    /// Until when it is good; null: until it is revoked.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Since when it is not good any more.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl TokenLine {
    /// Whether it may be used.
    pub fn is_good(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// A token with the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// What of it may be shown.
    pub line: TokenLine,
    /// argon2id, as a PHC string.
    pub secret_hash: String,
}

/// Keeps a token; `false` when one of that name is good already.
///
/// # Errors
/// When the database refuses it.
pub async fn create(tx: &mut Tx, token: &StoredToken) -> Result<bool, DbError> {
    let line = &token.line;
    let inserted = tx
        .execute(
            "-- create_api_token
             INSERT INTO api_tokens (id, name, scope, secret_hash, created_at, created_by, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING",
            &params![
                &line.id,
                &line.name,
                line.scope.as_str(),
                &token.secret_hash,
                line.created_at,
                &line.created_by,
                line.expires_at
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// All tokens that there ever were, newest first.
///
/// # Errors
/// When the database cannot answer.
pub async fn list(db: &Db) -> Result<Vec<TokenLine>, DbError> {
    let rows = db
        .fetch_all(
            "-- api_tokens\nSELECT * FROM api_tokens ORDER BY created_at DESC, id",
            &[],
        )
        .await?;
    rows.iter().map(line).collect()
}

/// One token.
///
/// # Errors
/// When the database cannot answer.
pub async fn find(db: &Db, id: &str) -> Result<Option<StoredToken>, DbError> {
    let row = db
        .fetch_optional("-- api_token\nSELECT * FROM api_tokens WHERE id = $1", &params![id])
        .await?;
    row.map(|row| {
        Ok(StoredToken {
            line: line(&row)?,
            secret_hash: row.get("secret_hash")?,
        })
    })
    .transpose()
}

/// Whether there ever was a token.
///
/// # Errors
/// When the database cannot answer.
pub async fn was_any(db: &Db) -> Result<bool, DbError> {
    let row = db
        .fetch_optional("-- any_api_token\nSELECT id FROM api_tokens LIMIT 1", &[])
        .await?;
    Ok(row.is_some())
}

/// Ends a token for good; answers it, or `None` when there is none. `true`: it was good until now, as far as it was not
/// expired.
///
/// # Errors
/// When the database refuses it.
pub async fn revoke(tx: &mut Tx, id: &str) -> Result<Option<(TokenLine, bool)>, DbError> {
    const TOKEN: Sql = Sql::each(
        "-- api_token_to_revoke\nSELECT * FROM api_tokens WHERE id = $1",
        "-- api_token_to_revoke\nSELECT * FROM api_tokens WHERE id = $1 FOR NO KEY UPDATE",
    );
    let now = tx.now().await?;
    let Some(row) = tx.fetch_optional(TOKEN, &params![id]).await? else {
        return Ok(None);
    };
    let mut line = line(&row)?;
    let is_new = line.revoked_at.is_none();
    if is_new {
        tx.execute(
            "-- revoke_api_token\nUPDATE api_tokens SET revoked_at = $2 WHERE id = $1",
            &params![id, now],
        )
        .await?;
        line.revoked_at = Some(now);
    }
    Ok(Some((line, is_new)))
}

/// A token was used. Written at most once in so long.
///
/// # Errors
/// When the database refuses it.
pub async fn used(db: &Db, id: &str, at: DateTime<Utc>, at_most_every: chrono::TimeDelta) -> Result<(), DbError> {
    db.write_alone(
        "-- api_token_used
         UPDATE api_tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)",
        &params![id, at, at - at_most_every],
    )
    .await
    .map(|_| ())
}

fn line(row: &Row) -> Result<TokenLine, DbError> {
    let scope: String = row.get("scope")?;
    Ok(TokenLine {
        id: row.get("id")?,
        name: row.get("name")?,
        scope: Scope::parse(&scope).ok_or_else(|| row.bad("scope", &format!("unknown scope `{scope}`")))?,
        created_at: row.get("created_at")?,
        created_by: row.get("created_by")?,
        expires_at: row.get("expires_at")?,
        last_used_at: row.get("last_used_at")?,
        revoked_at: row.get("revoked_at")?,
    })
}
