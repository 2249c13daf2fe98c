//! The fleet at one moment: what `top` draws.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    db::{Db, DbError},
    queue::inspect::{
        self, QueueDepth,
        gates::{self, GateLine},
        processes::{self, Process},
        recent::{self, Recent},
    },
};

/// Failures that a look brings along.
const FAILURES: u32 = 10;

/// The fleet at one moment.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Look {
    /// When.
    pub at: DateTime<Utc>,
    /// Every queue.
    pub queues: Vec<QueueDepth>,
    /// Upstreams that are down.
    pub gates: Vec<GateLine>,
    /// Processes that live, and those that died.
    pub processes: Vec<Process>,
    /// What ended lately.
    pub recent: Recent,
}

impl Look {
    /// Looks. `lease` is how long a process may be silent.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn read(db: &Db, lease: Duration) -> Result<Self, DbError> {
        let mut gates = gates::all(db).await?;
        gates.retain(|gate| gate.state != "open");
        Ok(Self {
            queues: inspect::queue_depths(db).await?,
            gates,
            processes: processes::processes(db, lease, false).await?,
            recent: recent::recent(db, FAILURES).await?,
            at: db.now().await?,
        })
    }
}
