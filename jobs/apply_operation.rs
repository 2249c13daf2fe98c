//! Does what an operator called for to many jobs or sessions: batch by batch, each committed with how far it came, and with a
//! pause after each ([`operation::pause_after`]), so that the queue's own work comes first.
//!
//! Safe to run twice: the operation's row says where to go on.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    env::Env,
    operation,
    queue::{Job, JobContext, JobError, Limit, Outcome, Policy, hours},
};

/// Apply this operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyOperation {
    /// Which.
    pub operation: Uuid,
}

impl Job for ApplyOperation {
    type Env = Env;
    const NAME: &'static str = "apply_operation"; // stored in rows: never rename, only retire
    const POLICY: Policy = Policy::new()
        .attempts(20)
        .timeout(hours(12))
        .limit(Limit::queue(2))
        .priority(10);

    fn unique_key(&self) -> Option<String> {
        Some(self.operation.to_string())
    }

    async fn run(&self, ctx: &JobContext, env: &Env) -> Result<Outcome, JobError> {
        loop {
            if ctx.cancelled().is_cancelled() {
                return Err(JobError::ShuttingDown);
            }
            let began = Instant::now();
            let mut tx = ctx.begin().await?;
            let step = operation::step(&mut tx, self.operation).await?;
            if step.is_last() {
                return ctx.finish(tx).await;
            }
            ctx.progress(tx).await?;
            let pause = operation::pause_after(&env.db, step, began.elapsed()).unwrap_or_default();
            tokio::select! {
                () = ctx.cancelled().cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
