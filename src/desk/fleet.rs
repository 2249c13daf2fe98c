//! Processes, and the fleet at one moment.

use super::{Desk, Trouble, pages::walk};
use crate::{
    operate::look::Look,
    queue::inspect::processes::{self, Process},
};

impl Desk {
    /// The processes of the fleet: those that live, then the dead, then, where they are asked for, those that stopped.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn processes(&self, with_stopped: bool) -> Result<Vec<Process>, Trouble> {
        match self {
            Self::Database(here) => Ok(processes::processes(&here.db, here.config.queue.lease, with_stopped).await?),
            Self::Api(api) => {
                let query = [("stopped", with_stopped.to_string())];
                let (mut all, _): (Vec<Process>, _) = walk(api, &["workers"], &query, None, usize::MAX).await?;
                all.sort_by_key(|process| process.state);
                Ok(all)
            }
        }
    }

    /// The fleet at one moment.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn look(&self) -> Result<Look, Trouble> {
        match self {
            Self::Database(here) => Ok(Look::read(&here.db, here.config.queue.lease).await?),
            Self::Api(api) => Ok(api.get(&["top"], &[]).await?),
        }
    }
}
