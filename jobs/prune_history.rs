//! Deletes what nobody needs any more: finished jobs and their attempts, old ticks and starts, snapshots of sessions that
//! have their verdict, idempotency keys of the API after a day. Verdicts and evidence stay, and so do the totals that monitoring
//! reads: what goes is added up first.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    env::Env,
    queue::{Job, JobContext, JobError, Limit, Outcome, Policy, minutes},
    store::{retention, totals},
};

/// Prune at this tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneHistory {
    /// The schedule's tick.
    pub tick: DateTime<Utc>,
}

impl PruneHistory {
    /// Name of its schedule.
    pub const CRON: &'static str = "prune_history";
}

impl Job for PruneHistory {
    type Env = Env;
    const NAME: &'static str = "prune_history"; // stored in rows: never rename, only retire
    const POLICY: Policy = Policy::new()
        .attempts(3)
        .timeout(minutes(30))
        .limit(Limit::queue(1))
        .priority(-10);

    fn unique_key(&self) -> Option<String> {
        Some(self.tick.timestamp().to_string())
    }

    async fn run(&self, ctx: &JobContext, env: &Env) -> Result<Outcome, JobError> {
        totals::fold(&env.db).await?;
        let mut deleted = 0;
        loop {
            if ctx.cancelled().is_cancelled() {
                return Err(JobError::ShuttingDown);
            }
            match retention::prune_batch(&env.db, &env.settings.retention).await? {
                0 => break,
                rows => deleted += rows,
            }
        }
        let mut tx = ctx.begin().await?;
        tx.set_progress(serde_json::json!({ "deleted": deleted }));
        ctx.finish(tx).await
    }
}
