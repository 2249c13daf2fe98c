//! Whom to ask: the playbook's experts, by their own conditions over what the rules found.

use serde_json::json;

use super::{Route, StepReport, StepStatus, ToolError};
use crate::domain::{playbook::Playbook, verdict::Verdict};

/// The experts whose condition holds, in the playbook's order.
pub(super) fn routes(playbook: &Playbook, verdict: &Verdict, steps: &[StepReport], errors: &[ToolError]) -> Vec<Route> {
    let of_status = |status: StepStatus| -> Vec<&str> {
        steps
            .iter()
            .filter(|step| step.status == status)
            .map(|step| step.step.as_str())
            .collect()
    };
    let intent = playbook.intent(&verdict.intent);
    let is_required =
        |id: &str| intent.is_some_and(|intent| intent.steps.iter().any(|step| step.id == id && !step.optional));
    let failed = of_status(StepStatus::Failed);
    let missing = of_status(StepStatus::Missing);
    // Optional steps would make the share of completed ones look better than it is.
    let completed: Vec<&str> = of_status(StepStatus::Completed)
        .into_iter()
        .filter(|id| is_required(id))
        .collect();
    let required = intent.map_or(0, |intent| intent.steps.iter().filter(|step| !step.optional).count());
    let case = json!({
        "failed_steps": failed,
        "missing_steps": missing,
        "completed_steps": completed,
        "required_steps": required,
        "errors": errors,
        "intent": verdict.intent,
        "verdict": verdict,
    });
    let mut reasons = Vec::new();
    if !failed.is_empty() {
        reasons.push(format!("failed steps: {}", failed.join(", ")));
    }
    if !missing.is_empty() {
        reasons.push(format!("steps not taken: {}", missing.join(", ")));
    }
    if !errors.is_empty() {
        reasons.push(format!("tool errors: {}", errors.len()));
    }
    reasons.push(format!("{} of {required} required steps completed", completed.len()));
    reasons.push(format!(
        "verdict {}, {}",
        verdict.status.as_str(),
        verdict.reason.as_str()
    ));
    let why = reasons.join("; ");
    playbook
        .experts_for(&case)
        .into_iter()
        .map(|expert| Route {
            expert: expert.id.clone(),
            why: why.clone(),
        })
        .collect()
}
