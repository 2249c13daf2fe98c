//! Tokens of the HTTP API.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Desk, Trouble, pages::whole};
use crate::{
    operate::tokens::{self, Fresh, Wanted},
    store::tokens::{self as stored, TokenLine},
};

/// A token that was just made.
#[derive(Serialize, Deserialize)]
pub struct Made {
    /// What is kept of it.
    #[serde(flatten)]
    pub line: TokenLine,
    /// The token itself: shown once.
    pub token: String,
}

#[derive(Deserialize)]
struct Answered {
    #[serde(flatten)]
    line: TokenLine,
    /// `None` where the first answer was lost: nobody keeps a token, not even to answer again.
    token: Option<String>,
}

impl Desk {
    /// Every token there ever was, newest first.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn tokens(&self) -> Result<Vec<TokenLine>, Trouble> {
        match self {
            Self::Database(here) => Ok(stored::list(&here.db).await?),
            Self::Api(api) => whole(api, &["tokens"], &[]).await,
        }
    }

    /// Makes a token. `None`: one of that name is good already.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn create_token(&self, wanted: &Wanted) -> Result<Option<Made>, Trouble> {
        match self {
            Self::Database(here) => {
                let fresh = Fresh::make().map_err(|error| Trouble::Away(error.to_string()))?;
                let mut tx = here.db.begin().await?;
                let line = tokens::create(&mut tx, wanted, &fresh, &here.actor).await?;
                tx.commit().await?;
                Ok(line.map(|line| Made {
                    line,
                    token: fresh.expose(),
                }))
            }
            Self::Api(api) => {
                let body = json!({
                    "name": wanted.name,
                    "scope": wanted.scope,
                    "expires_in_seconds": wanted.expires.map(|expires| expires.as_secs().max(1)),
                });
                let made: Option<Answered> = super::known(api.post(&["tokens"], &body).await, "name_taken")?;
                let Some(Answered { line, token }) = made else {
                    return Ok(None);
                };
                let Some(token) = token else {
                    return Err(Trouble::Away(format!(
                        "token {id} was made, and the answer that showed it was lost: `aftercall token revoke {id}` ends it, \
                         then make another",
                        id = line.id
                    )));
                };
                Ok(Some(Made { line, token }))
            }
        }
    }

    /// Ends a token for good; `None`: there is none.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn revoke_token(&self, id: &str) -> Result<Option<TokenLine>, Trouble> {
        match self {
            Self::Database(here) => {
                let mut tx = here.db.begin().await?;
                let line = tokens::revoke(&mut tx, id, &here.actor).await?;
                tx.commit().await?;
                Ok(line)
            }
            Self::Api(api) => super::known(api.delete(&["tokens", id]).await, "unknown_token"),
        }
    }
}
