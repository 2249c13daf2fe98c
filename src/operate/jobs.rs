//! One job with its history.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    db::{Db, DbError},
    queue::inspect::{self, AttemptRow, JobRow},
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
