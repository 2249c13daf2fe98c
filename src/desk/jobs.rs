//! Jobs.

use uuid::Uuid;

use super::{
    Desk, Trouble,
    pages::{asked, walk},
};
use crate::{
    operate::{
        jobs::{self, JobDetail},
        page,
    },
    queue::inspect::{self, JobFilter, JobPage},
};

/// The list that cursors of jobs belong to.
const KIND: &str = "jobs";

impl Desk {
    /// The newest `most` jobs that match, before `after`, and where to go on.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn jobs(&self, filter: &JobFilter, after: Option<Uuid>, most: u32) -> Result<JobPage, Trouble> {
        match self {
            Self::Database(here) => Ok(inspect::jobs(&here.db, filter, after, most).await?),
            Self::Api(api) => {
                let after = after.map(|after| page::encode(KIND, &after));
                let (jobs, next) = walk(api, &["jobs"], &query(filter), after, most as usize).await?;
                let next = next.map(|next| page::decode(KIND, &next));
                Ok(JobPage {
                    jobs,
                    next: next.map(|next| next.ok_or_else(unreadable)).transpose()?,
                })
            }
        }
    }

    /// One job with every attempt.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn job(&self, id: Uuid) -> Result<Option<JobDetail>, Trouble> {
        match self {
            Self::Database(here) => Ok(jobs::detail(&here.db, id).await?),
            Self::Api(api) => super::known(api.get(&["jobs", &id.to_string()], &[]).await, "unknown_job"),
        }
    }
}

fn query(filter: &JobFilter) -> Vec<(&'static str, String)> {
    [
        asked("queue", filter.queue.as_ref()),
        asked("state", filter.state.as_ref()),
        asked("partition", filter.partition.as_ref()),
        asked("key", filter.key_contains.as_ref()),
        asked("error", filter.error_contains.as_ref()),
        asked("arg", filter.arg.as_ref()),
        asked("attempts", filter.attempts.as_ref()),
        asked("since", filter.created_since.map(|at| at.to_rfc3339()).as_ref()),
        asked("until", filter.created_until.map(|at| at.to_rfc3339()).as_ref()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn unreadable() -> Trouble {
    Trouble::Away(
        "where the list goes on cannot be read: the server may be of another version; use the same version on both sides"
            .to_owned(),
    )
}
