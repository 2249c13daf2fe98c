//! What would be done to many jobs or sessions, before it is done: how many match, and some of them.

use serde::{Deserialize, Serialize};

use crate::{
    db::{Db, DbError},
    operation::Task,
    queue::inspect::{self, JobRow},
    store::inspect::sessions::{self, SessionFilter, SessionLine},
};

/// Jobs that a preview shows: the newest.
pub const JOBS_SHOWN: u32 = 5;

/// Sessions that a preview shows: those with the latest activity.
pub const SESSIONS_SHOWN: u32 = 20;

/// What matches now. Nothing was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Preview<T: utoipa::ToSchema> {
    /// How many match.
    pub matched: u64,
    /// `false`: this only shows.
    pub acted: bool,
    /// Some of them.
    pub sample: Vec<T>,
}

/// Shows which jobs a task is for; none for a task of sessions.
///
/// # Errors
/// When the database cannot answer.
pub async fn jobs(db: &Db, task: &Task) -> Result<Preview<JobRow>, DbError> {
    let sample = match task {
        Task::Jobs { filter, .. } => inspect::jobs(db, filter, None, JOBS_SHOWN).await?.jobs,
        Task::Discarded { .. } | Task::Sessions { .. } => Vec::new(),
    };
    Ok(Preview {
        matched: task.count(db).await?,
        acted: false,
        sample,
    })
}

/// Shows which sessions would be judged again.
///
/// # Errors
/// When the database cannot answer.
pub async fn sessions(db: &Db, filter: &SessionFilter) -> Result<Preview<SessionLine>, DbError> {
    let shown = SessionFilter {
        limit: SESSIONS_SHOWN,
        ..filter.clone()
    };
    Ok(Preview {
        matched: sessions::count(db, filter).await?,
        acted: false,
        sample: sessions::list(db, &shown).await?,
    })
}
