//! Measures what the alert rules ask for, and opens or closes alerts.
//!
//! On its own queue, every minute: nothing in monitoring can stop it. It reads only stored verdicts and never waits for an
//! upstream. A rule that cannot be evaluated is logged and does not stop the others.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    config::{AlertMetric, AlertRule},
    db::{DbError, Tx},
    env::Env,
    queue::{Job, JobContext, JobError, Limit, Outcome, Policy, seconds},
    store::alerts::{self, Firing, VerdictCounts},
};

/// Evaluate all rules for this tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluateAlerts {
    /// The schedule's tick.
    pub tick: DateTime<Utc>,
}

impl EvaluateAlerts {
    /// Name of its schedule.
    pub const CRON: &'static str = "evaluate_alerts";
}

impl Job for EvaluateAlerts {
    type Env = Env;
    const NAME: &'static str = "evaluate_alerts"; // stored in rows: never rename, only retire
    const POLICY: Policy = Policy::new()
        .attempts(2) // the next tick comes in a minute
        .timeout(seconds(50))
        .limit(Limit::queue(1))
        .priority(10);

    fn unique_key(&self) -> Option<String> {
        Some(self.tick.timestamp().to_string())
    }

    async fn run(&self, ctx: &JobContext, env: &Env) -> Result<Outcome, JobError> {
        let mut unevaluated = Vec::new();
        for rule in &env.settings.alerts {
            // Each in a transaction of its own: what one cannot write or read does not undo the others.
            let mut tx = ctx.begin().await?;
            match evaluate(&mut tx, rule).await {
                Ok(()) => ctx.progress(tx).await?,
                Err(error) if error.is_passing() => return Err(JobError::retry(error)),
                Err(error) => {
                    tracing::error!(rule = rule.name, %error, "an alert rule cannot be evaluated");
                    unevaluated.push(&rule.name);
                }
            }
        }
        let mut tx = ctx.begin().await?;
        tx.set_progress(json!({ "rules": env.settings.alerts.len(), "unevaluated": unevaluated }));
        ctx.finish(tx).await
    }
}

async fn evaluate(tx: &mut Tx, rule: &AlertRule) -> Result<(), DbError> {
    let now = tx.now().await?;
    let since = now - rule.look_back;
    let counts = alerts::count_verdicts(tx, since).await?;
    let Some(value) = measure(rule, &counts) else {
        return Ok(()); // too few sessions to say anything: an open alert stays as it is
    };
    if !rule.op.holds(value, rule.threshold) {
        if alerts::resolve(tx, &rule.name).await? {
            tracing::info!(rule = rule.name, value, threshold = rule.threshold, "alert resolved");
        }
        return Ok(());
    }
    let cooling = alerts::last_fired(tx, &rule.name)
        .await?
        .is_some_and(|last| now < last + rule.cooldown);
    let statuses = match rule.metric {
        AlertMetric::FulfilmentRate => ["fail", "partial"],
        AlertMetric::ErrorRate => ["error", "error"],
    };
    let firing = Firing {
        rule: &rule.name,
        metric: rule.metric.as_str(),
        severity: rule.severity.as_str(),
        value,
        threshold: rule.threshold,
        sessions: alerts::samples(tx, since, statuses).await?,
    };
    if alerts::fire(tx, &firing, !cooling).await? {
        tracing::warn!(
            rule = rule.name,
            metric = firing.metric,
            severity = firing.severity,
            value,
            threshold = rule.threshold,
            "alert fired"
        );
    }
    Ok(())
}

/// The metric's value, 0 to 1; `None` when there are fewer sessions than the rule asks for.
fn measure(rule: &AlertRule, counts: &VerdictCounts) -> Option<f64> {
    let VerdictCounts {
        pass,
        partial,
        fail,
        skipped,
        error,
    } = *counts;
    let (part, whole) = match rule.metric {
        AlertMetric::FulfilmentRate => (pass, pass + partial + fail),
        AlertMetric::ErrorRate => (error, pass + partial + fail + skipped + error),
    };
    (whole > 0 && whole >= u64::from(rule.min_sessions)).then(|| part as f64 / whole as f64)
}
