//! Work that is called for by hand.

use serde::Deserialize;
use serde_json::json;

use super::{Desk, Trouble, pages::whole};
use crate::{
    domain::session::{Generation, SessionKey},
    operate::{
        coverage::Scanned,
        sources::SourceLine,
        work::{self, CalledFor},
    },
};

#[derive(Deserialize)]
struct Reprocessed {
    generation: Generation,
}

impl Desk {
    /// The sources that are scanned, by name.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn scanned_sources(&self) -> Result<Vec<String>, Trouble> {
        let mut names: Vec<String> = match self {
            Self::Database(here) => {
                let scanned = here.config.sources.iter().filter(|source| source.enabled);
                scanned.map(|source| source.name.clone()).collect()
            }
            Self::Api(api) => {
                let all: Vec<SourceLine> = whole(api, &["sources"], &[]).await?;
                let scanned = all.into_iter().filter(|source| source.scanned == Scanned::On);
                scanned.map(|source| source.name).collect()
            }
        };
        names.sort();
        Ok(names)
    }

    /// Calls for a scan of a source.
    ///
    /// # Errors
    /// When there is no such source, or nobody answers.
    pub async fn discover(&self, source: &str) -> Result<CalledFor, Trouble> {
        match self {
            Self::Database(here) => {
                if here.config.source(source).is_none() {
                    return Err(Trouble::Refused(format!("no source `{source}` is configured")));
                }
                let mut tx = here.db.begin().await?;
                let called_for = work::discover(&mut tx, source, &here.actor).await?;
                tx.commit().await?;
                Ok(called_for)
            }
            Self::Api(api) => Ok(api.post(&["sources", source, "discover"], &json!({})).await?),
        }
    }

    /// Calls for the analysis of a session.
    ///
    /// # Errors
    /// When there is no such session, or nobody answers.
    pub async fn analyze(&self, key: &SessionKey) -> Result<CalledFor, Trouble> {
        match self {
            Self::Database(here) => {
                let mut tx = here.db.begin().await?;
                let called_for = work::analyze(&mut tx, key, &here.actor).await?;
                let called_for = called_for.ok_or_else(|| unknown(key))?;
                tx.commit().await?;
                Ok(called_for)
            }
            Self::Api(api) => Ok(api.post(&path(key, "analyze"), &json!({})).await?),
        }
    }

    /// Calls for the diagnosis of a session once more.
    ///
    /// # Errors
    /// When there is no failed verdict to explain, or nobody answers.
    pub async fn diagnose(&self, key: &SessionKey) -> Result<CalledFor, Trouble> {
        match self {
            Self::Database(here) => {
                let mut tx = here.db.begin().await?;
                let Some(called_for) = work::diagnose(&mut tx, key, &here.actor).await? else {
                    return Err(Trouble::Refused(format!(
                        "{key}: there is no failed verdict to explain"
                    )));
                };
                tx.commit().await?;
                Ok(called_for)
            }
            Self::Api(api) => Ok(api.post(&path(key, "diagnose"), &json!({})).await?),
        }
    }

    /// Opens the next generation of a session; `None` for one that is not known.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn reprocess(&self, key: &SessionKey) -> Result<Option<Generation>, Trouble> {
        match self {
            Self::Database(here) => {
                let mut tx = here.db.begin().await?;
                let generation = work::reprocess(&mut tx, key, &here.actor).await?;
                tx.commit().await?;
                Ok(generation)
            }
            Self::Api(api) => {
                let opened = api.post(&path(key, "reprocess"), &json!({})).await;
                let opened: Option<Reprocessed> = super::known(opened, "unknown_session")?;
                Ok(opened.map(|opened| opened.generation))
            }
        }
    }
}

fn path<'a>(key: &'a SessionKey, verb: &'a str) -> [&'a str; 4] {
    ["sessions", &key.source, &key.session_id, verb]
}

fn unknown(key: &SessionKey) -> Trouble {
    Trouble::Refused(format!(
        "no session `{}` is known; `aftercall sessions` lists what is",
        key.session_id
    ))
}
