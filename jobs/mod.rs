//! # What the program does
//!
//! ```text
//!         cron 5 min            LLM                 system of record         LLM
//!    discover_sessions ──► analyze_session ──► verify_session ──► diagnose_session
//!       one per source      one per session     serial per system    3 at a time, 3 starts per 5 min
//!
//!    evaluate_alerts (cron 1 min, its own queue) · reconcile (cron 5 min) · prune_history (cron daily)
//! ```
//!
//! One file per job. Each reads top to bottom: what and why, payload (ids only), policy, `run`, helpers, tests.

mod analyze_session;
mod diagnose_session;
mod discover_sessions;
mod evaluate_alerts;
mod prune_history;
mod reconcile;
mod verify_session;

use std::sync::Arc;

use futures::FutureExt;

pub use self::{
    analyze_session::AnalyzeSession, diagnose_session::DiagnoseSession, discover_sessions::DiscoverSessions,
    evaluate_alerts::EvaluateAlerts, prune_history::PruneHistory, reconcile::Reconcile, verify_session::VerifySession,
};
use crate::{
    env::Env,
    queue::{self, Cron, Registry},
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
}

/// What is enqueued by the clock.
pub fn crons(env: &Env) -> Vec<Cron> {
    let sources: Vec<String> = env.sources.values().filter(|source| source.enabled).map(|source| source.name().to_owned()).collect();
    let sources = Arc::new(sources);
    let schedule = &env.settings.schedule;
    vec![
        Cron::new(DiscoverSessions::CRON, schedule.discover_sessions.clone(), move |tx, _| {
            let sources = Arc::clone(&sources);
            async move {
                for source in sources.iter() {
                    queue::enqueue(tx, &DiscoverSessions { source: source.clone() }).await?;
                }
                Ok(())
            }
            .boxed()
        }),
        Cron::new(EvaluateAlerts::CRON, schedule.evaluate_alerts.clone(), |tx, tick| {
            async move { queue::enqueue(tx, &EvaluateAlerts { tick }).await.map(drop) }.boxed()
        }),
        Cron::new(Reconcile::CRON, schedule.reconcile.clone(), |tx, tick| {
            async move { queue::enqueue(tx, &Reconcile { tick }).await.map(drop) }.boxed()
        }),
        Cron::new(PruneHistory::CRON, schedule.prune_history.clone(), |tx, tick| {
            async move { queue::enqueue(tx, &PruneHistory { tick }).await.map(drop) }.boxed()
        }),
    ]
}
