//! Where commands ask and change: at the database itself, or at another aftercall's HTTP API.
//!
//! A command does not know which: it asks the [`Desk`], gets the same types and prints them the same. Each question stands
//! here once, with both ways to its answer side by side. The database's way is what the server's handlers do, too
//! ([`operate`](crate::operate)); the API's way reads what those answer.

mod fleet;
mod jobs;
mod operations;
mod pages;
mod queues;
mod sessions;
mod tokens;
mod work;

use chrono::{DateTime, Utc};

use crate::{
    adapters::{
        aftercall_api::{ApiClient, ApiError, ApiSettings, Fault},
        secret,
    },
    config::{Config, Secret},
    db::{Db, DbError},
    operate::about::About,
};

/// Where commands ask and change.
#[derive(Debug)]
pub enum Desk {
    /// The database itself.
    Database(Box<Here>),
    /// Another aftercall.
    Api(ApiClient),
}

/// A database, and who asks.
#[derive(Debug)]
pub struct Here {
    /// It.
    pub db: Db,
    /// Sources, systems of record, how long a process may be silent.
    pub config: Config,
    /// Who changes something, for the audit log. At an API it is the token's name.
    pub actor: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// What was asked for is not there, or does not fit the state of things.
    #[error("{0}")]
    Refused(String),
    /// The words, the address or the token are wrong.
    #[error("{0}")]
    Usage(String),
    /// The database or the API does not answer.
    #[error("{0}")]
    Away(String),
}

impl From<DbError> for Trouble {
    fn from(error: DbError) -> Self {
        Self::Away(error.to_string())
    }
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        match error.fault {
            Fault::Refused => Self::Refused(error.text),
            Fault::Usage => Self::Usage(error.text),
            Fault::Away => Self::Away(error.text),
        }
    }
}

/// `None` where the server says that what was asked for is not there.
fn known<T>(answer: Result<T, ApiError>, unknown: &str) -> Result<Option<T>, Trouble> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code.as_deref() == Some(unknown) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Desk {
    /// One at the API of this address; nothing is asked yet. `allow_plain_http`: the token may go to another machine over `http`.
    ///
    /// # Errors
    /// An address that is none, a token that is none, or one that others on the way could read.
    pub fn at_api(url: &str, token: Option<&Secret>, allow_plain_http: bool) -> Result<Self, String> {
        let settings = ApiSettings {
            url: url.to_owned(),
            token: token.map(|token| secret::Secret::new(token.expose())),
            allow_plain_http,
        };
        Ok(Self::Api(ApiClient::of(&settings)?))
    }

    /// The database's clock: what ages and times to come are counted by.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn now(&self) -> Result<DateTime<Utc>, Trouble> {
        match self {
            Self::Database(here) => Ok(here.db.now().await?),
            Self::Api(api) => Ok(api.get::<About>(&["about"], &[]).await?.now),
        }
    }

    /// Where that is, as it may be shown.
    pub fn place(&self) -> String {
        match self {
            Self::Database(here) => here.config.database.location().to_string(),
            Self::Api(api) => api.address().to_owned(),
        }
    }

    /// Lets go of it. A server that is away is not waited for.
    pub async fn close(&self) {
        if let Self::Database(here) = self {
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), here.db.close()).await;
        }
    }
}
