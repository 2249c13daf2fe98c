//! One job: its history, and another try.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    db::{Db, DbError, Tx},
    jobs::registry,
    queue::{
        control::{self, Retried},
        inspect::{self, AttemptRow, JobRow},
    },
};

/// A job with every attempt, oldest first.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobDetail {
    /// The job.
    #[serde(flatten)]
    pub job: JobRow,
    /// Every claim of it, and what became of each.
    pub attempts: Vec<AttemptRow>,
}

/// One job, or `None`.
///
/// # Errors
/// When the database cannot answer.
pub async fn detail(db: &Db, id: Uuid) -> Result<Option<JobDetail>, DbError> {
    let Some(job) = inspect::job(db, id).await? else {
        return Ok(None);
    };
    let attempts = inspect::attempts(db, id).await?;
    Ok(Some(JobDetail { job, attempts }))
}

/// Lets a job run now, or its work be called for anew.
///
/// # Errors
/// When the database refuses it.
pub async fn retry(tx: &mut Tx, id: Uuid, actor: &str) -> Result<Retried, DbError> {
    control::retry(tx, &registry(), id, actor).await
}
