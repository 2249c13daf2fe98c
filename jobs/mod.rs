//! # What the program does
//!
//! ```text
//!         cron 5 min            LLM                 system of record         LLM
//!    discover_sessions ──► analyze_session ──► verify_session ──► diagnose_session
//!       one per source      one per session     serial per system    3 at a time, 3 starts per 5 min
//!
//!    evaluate_alerts (cron 1 min, its own queue) · reconcile (cron 5 min) · prune_history (cron daily)
//!    apply_operation (what an operator does to many jobs or sessions)
//! ```
//!
//! One file per job. Each reads top to bottom: what and why, payload (ids only), policy, `run`, helpers, tests.

mod analyze_session;
mod apply_operation;
mod diagnose_session;
mod discover_sessions;
mod evaluate_alerts;
mod prune_history;
mod reconcile;
mod verify_session;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cron::Schedule;
use futures::future::BoxFuture;

pub use self::{
    analyze_session::AnalyzeSession, apply_operation::ApplyOperation, diagnose_session::DiagnoseSession,
    discover_sessions::DiscoverSessions, evaluate_alerts::EvaluateAlerts, prune_history::PruneHistory,
    reconcile::Reconcile, verify_session::VerifySession,
};
use crate::{
    db::DbError,
    env::{Env, Schedules},
    queue::{self, Cron, Job, Registry},
};

/// Every job, in flow order.
pub fn registry() -> Registry<Env> {
    Registry::new()
        .register::<DiscoverSessions>()
        .register::<AnalyzeSession>()
        .register::<VerifySession>()
        .register::<DiagnoseSession>()
        .register::<EvaluateAlerts>()
        .register::<Reconcile>()
        .register::<PruneHistory>()
        .register::<ApplyOperation>()
}

/// What is enqueued by the clock. `sources` are the names of those that are scanned.
pub fn crons(sources: impl IntoIterator<Item = String>, schedule: &Schedules) -> Vec<Cron> {
    let sources: Arc<[String]> = sources.into_iter().collect();
    vec![
        Cron {
            name: DiscoverSessions::CRON.to_owned(),
            schedule: schedule.discover_sessions.clone(),
            enqueue: Arc::new(move |tx, _| {
                let sources = Arc::clone(&sources);
                Box::pin(async move {
                    for source in sources.iter() {
                        queue::enqueue(tx, &DiscoverSessions { source: source.clone() }).await?;
                    }
                    Ok(())
                })
            }),
        },
        per_tick(EvaluateAlerts::CRON, &schedule.evaluate_alerts, |tick| EvaluateAlerts {
            tick,
        }),
        per_tick(Reconcile::CRON, &schedule.reconcile, |tick| Reconcile { tick }),
        per_tick(PruneHistory::CRON, &schedule.prune_history, |tick| PruneHistory {
            tick,
        }),
    ]
}

/// One job per tick.
fn per_tick<J: Job>(name: &str, schedule: &Schedule, job: fn(DateTime<Utc>) -> J) -> Cron {
    Cron {
        name: name.to_owned(),
        schedule: schedule.clone(),
        enqueue: Arc::new(move |tx, tick| -> BoxFuture<'_, Result<(), DbError>> {
            Box::pin(async move { queue::enqueue(tx, &job(tick)).await.map(drop) })
        }),
    }
}
