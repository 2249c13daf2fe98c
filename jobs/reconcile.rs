//! Makes sure that every session has the job its state calls for: rebuilds what was lost, also the whole `jobs` table.
//!
//! Takes no input and scans: loads sessions between settling and verdict, verdicts that wait for a diagnosis, and operations that
//! run, compares them with the live jobs, and enqueues what is missing. Also marks paid calls whose process died as `lost`, and adds up the
//! totals that monitoring reads.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AnalyzeSession, ApplyOperation, DiagnoseSession, VerifySession};
use crate::{
    db::{Db, DbError, Tx},
    domain::session::{Generation, SessionKey, SessionState},
    env::Env,
    operation,
    queue::{self, Job, JobContext, JobError, Limit, Outcome, Policy, minutes},
    store::{
        diagnoses, llm,
        sessions::{self, StoredSession},
        totals,
    },
};

/// Sessions of one page.
const PAGE: u32 = 500;

/// Reconcile at this tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconcile {
    /// The schedule's tick.
    pub tick: DateTime<Utc>,
}

impl Reconcile {
    /// Name of its schedule.
    pub const CRON: &'static str = "reconcile";
}

impl Job for Reconcile {
    type Env = Env;
    const NAME: &'static str = "reconcile"; // stored in rows: never rename, only retire
    const POLICY: Policy = Policy::new()
        .attempts(3)
        .timeout(minutes(10))
        .limit(Limit::queue(1))
        .priority(5);

    fn unique_key(&self) -> Option<String> {
        Some(self.tick.timestamp().to_string())
    }

    async fn run(&self, ctx: &JobContext, env: &Env) -> Result<Outcome, JobError> {
        let mut rebuilt = 0_u64;
        let mut after = SessionKey::new("", "");
        loop {
            let page = sessions::in_progress_after(&env.db, &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.key.clone();
            rebuilt += enqueue_missing(ctx, env, page.iter().filter_map(job_called_for).collect()).await?;
        }
        let mut after = SessionKey::new("", "");
        loop {
            let page = diagnoses::pending_after(&env.db, &after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = last.clone();
            rebuilt += enqueue_missing(ctx, env, page.into_iter().map(diagnosis_called_for).collect()).await?;
        }
        let running = operation::running(&env.db).await?;
        rebuilt += enqueue_missing(ctx, env, running.into_iter().map(operation_called_for).collect()).await?;
        // Nothing of this job hangs on it, and the next tick tries it again.
        if let Err(error) = totals::fold(&env.db).await {
            tracing::warn!(%error, "totals for monitoring are not added up yet");
        }
        let mut tx = ctx.begin().await?;
        let lost = llm::mark_lost(&mut tx).await?;
        if rebuilt + lost > 0 {
            tracing::warn!(
                rebuilt,
                lost_llm_calls = lost,
                "reconciled: jobs that were missing are enqueued again"
            );
        }
        tx.set_progress(serde_json::json!({ "rebuilt": rebuilt, "lost_llm_calls": lost }));
        ctx.finish(tx).await
    }
}

/// Enqueues what is called for and not live. What became live meanwhile is caught by the unique key: a twin is no harm. What
/// ended between the two looks is no longer called for: its state, which moved on with its end, is read once more.
async fn enqueue_missing(ctx: &JobContext, env: &Env, wanted: Vec<Wanted>) -> Result<u64, JobError> {
    let mut live = BTreeMap::new();
    for queue in [
        AnalyzeSession::NAME,
        VerifySession::NAME,
        DiagnoseSession::NAME,
        ApplyOperation::NAME,
    ] {
        let keys: Vec<String> = wanted
            .iter()
            .filter(|job| job.queue() == queue)
            .map(Wanted::key)
            .collect();
        live.insert(queue, queue::live_among(&env.db, queue, &keys).await?);
    }
    let missing: Vec<Wanted> = wanted
        .into_iter()
        .filter(|job| !live.get(job.queue()).is_some_and(|live| live.contains(&job.key())))
        .collect();
    if missing.is_empty() {
        return Ok(0);
    }
    let mut rebuilt = 0;
    let mut tx = ctx.begin().await?;
    for job in missing {
        if !job.is_called_for(&env.db, &mut tx).await? {
            continue;
        }
        rebuilt += u64::from(job.enqueue(&mut tx).await?);
    }
    ctx.progress(tx).await?;
    Ok(rebuilt)
}

/// A job that a state calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Analyze(AnalyzeSession),
    Verify(VerifySession),
    Diagnose(DiagnoseSession),
    Apply(ApplyOperation),
}

impl Wanted {
    fn queue(&self) -> &'static str {
        match self {
            Self::Analyze(_) => AnalyzeSession::NAME,
            Self::Verify(_) => VerifySession::NAME,
            Self::Diagnose(_) => DiagnoseSession::NAME,
            Self::Apply(_) => ApplyOperation::NAME,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Analyze(job) => job.unique_key(),
            Self::Verify(job) => job.unique_key(),
            Self::Diagnose(job) => job.unique_key(),
            Self::Apply(job) => job.unique_key(),
        }
        .unwrap_or_default()
    }

    /// Whether its state calls for it, as of now.
    async fn is_called_for(&self, db: &Db, tx: &mut Tx) -> Result<bool, DbError> {
        let key = match self {
            Self::Analyze(job) => SessionKey::new(&job.source, &job.session_id),
            Self::Verify(job) => SessionKey::new(&job.source, &job.session_id),
            Self::Diagnose(job) => {
                let key = SessionKey::new(&job.source, &job.session_id);
                return diagnoses::is_pending(tx, &key, job.generation).await;
            }
            Self::Apply(job) => {
                let operation = operation::load(db, job.operation).await?;
                return Ok(operation.is_some_and(|operation| operation.state == "running"));
            }
        };
        let session = sessions::load(db, &key).await?;
        Ok(session.as_ref().and_then(job_called_for).as_ref() == Some(self))
    }

    /// Answers true when it was not live.
    async fn enqueue(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let enqueued = match self {
            Self::Analyze(job) => queue::enqueue(tx, job).await?,
            Self::Verify(job) => queue::enqueue(tx, job).await?,
            Self::Diagnose(job) => queue::enqueue(tx, job).await?,
            Self::Apply(job) => queue::enqueue(tx, job).await?,
        };
        Ok(enqueued.is_new())
    }
}

/// The job that a session's state calls for. Sessions that wait to settle are discovery's.
fn job_called_for(session: &StoredSession) -> Option<Wanted> {
    let SessionKey { source, session_id } = session.key.clone();
    let generation = session.generation;
    match (session.state, &session.system) {
        // Analysis says which system's turn it is.
        (SessionState::Settled | SessionState::Analyzing, _) | (SessionState::Verifying, None) => {
            Some(Wanted::Analyze(AnalyzeSession {
                source,
                session_id,
                generation,
            }))
        }
        (SessionState::Verifying, Some(system)) => Some(Wanted::Verify(VerifySession {
            source,
            session_id,
            generation,
            system: system.clone(),
        })),
        (SessionState::Open | SessionState::Done | SessionState::Reopened, _) => None,
    }
}

fn operation_called_for(operation: Uuid) -> Wanted {
    Wanted::Apply(ApplyOperation { operation })
}

fn diagnosis_called_for((key, generation): (SessionKey, Generation)) -> Wanted {
    Wanted::Diagnose(DiagnoseSession {
        source: key.source,
        session_id: key.session_id,
        generation,
    })
}
