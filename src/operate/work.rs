//! Work that somebody calls for by hand.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    db::{DbError, Tx},
    domain::session::{Generation, SessionKey},
    jobs::{DiagnoseSession, DiscoverSessions},
    queue::{self, Enqueued, control},
    reprocess as generations,
    store::diagnoses,
};

/// A job that was called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = JobCalledFor)]
pub struct CalledFor {
    /// The job that does it.
    pub job: Uuid,
    /// Whether it was enqueued now: one that was on its way already is not enqueued twice.
    pub new: bool,
}

impl From<Enqueued> for CalledFor {
    fn from(enqueued: Enqueued) -> Self {
        Self {
            job: enqueued.id(),
            new: enqueued.is_new(),
        }
    }
}

/// Calls for a scan of a source: a twin where one is on its way.
///
/// # Errors
/// When the database refuses it.
pub async fn discover(tx: &mut Tx, source: &str, actor: &str) -> Result<CalledFor, DbError> {
    let job = DiscoverSessions {
        source: source.to_owned(),
    };
    let called_for = CalledFor::from(queue::enqueue(tx, &job).await?);
    audit(tx, actor, "discover", source, called_for).await?;
    Ok(called_for)
}

/// Calls for the analysis of a session: a twin where one is under way, else in its next generation. `None` for a session that is
/// not known.
///
/// # Errors
/// When the database refuses it.
pub async fn analyze(tx: &mut Tx, key: &SessionKey, actor: &str) -> Result<Option<CalledFor>, DbError> {
    let Some(enqueued) = generations::analyze(tx, key).await? else {
        return Ok(None);
    };
    let called_for = CalledFor::from(enqueued);
    audit(tx, actor, "analyze", &key.to_string(), called_for).await?;
    Ok(Some(called_for))
}

/// Calls for the diagnosis of a session once more. `None` where no failed verdict is there to explain.
///
/// # Errors
/// When the database refuses it.
pub async fn diagnose(tx: &mut Tx, key: &SessionKey, actor: &str) -> Result<Option<CalledFor>, DbError> {
    let Some(generation) = diagnoses::ask_again(tx, key).await? else {
        return Ok(None);
    };
    let SessionKey { source, session_id } = key.clone();
    let job = DiagnoseSession {
        source,
        session_id,
        generation,
    };
    let called_for = CalledFor::from(queue::enqueue(tx, &job).await?);
    audit(tx, actor, "diagnose", &key.to_string(), called_for).await?;
    Ok(Some(called_for))
}

/// Opens the next generation of a session; `None` for one that is not known.
///
/// # Errors
/// When the database refuses it.
pub async fn reprocess(tx: &mut Tx, key: &SessionKey, actor: &str) -> Result<Option<Generation>, DbError> {
    let generation = generations::reprocess(tx, key).await?;
    if let Some(generation) = generation {
        let detail = format!("generation {generation}");
        control::audit(tx, actor, "reprocess", &key.to_string(), Some(&detail)).await?;
    }
    Ok(generation)
}

async fn audit(tx: &mut Tx, actor: &str, action: &str, subject: &str, called_for: CalledFor) -> Result<(), DbError> {
    control::audit(tx, actor, action, subject, Some(&format!("job {}", called_for.job))).await
}
