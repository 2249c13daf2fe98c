//! Expected steps of the intent against the calls: the first thing that a diagnosis looks at.

use super::{Case, requests::requests};
use crate::domain::{
    diagnosis::{StepReport, StepStatus},
    playbook::{Playbook, Step},
    transcript::ToolCall,
};

/// How each expected step of the intent went. Optional steps are reported only when they were called.
pub fn steps(playbook: &Playbook, case: &Case) -> Vec<StepReport> {
    let Some(intent) = playbook.intent(&case.reading.intent) else {
        return Vec::new();
    };
    let requests = requests(playbook, case);
    let subjects = requests
        .iter()
        .filter(|request| request.withdrawn.is_none() && request.subject.is_some())
        .count();
    let subjects = u32::try_from(subjects.max(1)).unwrap_or(u32::MAX);
    let mut reports = Vec::new();
    for step in &intent.steps {
        let calls: Vec<&ToolCall> = case
            .transcript
            .calls
            .iter()
            .filter(|call| is_call_of(step, call))
            .collect();
        if calls.is_empty() && step.optional {
            continue;
        }
        let good = calls.iter().filter(|call| call.error.is_none()).count();
        // One call may serve several subjects: what it wrote is counted by its claims.
        let served = case
            .claims
            .iter()
            .filter(|claim| claim.is_write() && calls.iter().any(|call| call.step == claim.step))
            .filter(|claim| {
                playbook
                    .claim_rule(&claim.rule)
                    .is_some_and(|rule| rule.supports.is_empty())
            })
            .count();
        let expected = if step.per_subject { subjects } else { 1 };
        let done = u32::try_from(calls.len().max(served)).unwrap_or(u32::MAX);
        let status = if calls.is_empty() {
            StepStatus::Missing
        } else if good == 0 {
            StepStatus::Failed
        } else if done < expected {
            StepStatus::Missing
        } else {
            StepStatus::Completed
        };
        reports.push(StepReport {
            step: step.id.clone(),
            status,
            expected,
            calls: calls.iter().map(|call| call.step.clone()).collect(),
            error: calls.iter().find_map(|call| call.error.clone()),
        });
    }
    reports
}

fn is_call_of(step: &Step, call: &ToolCall) -> bool {
    step.tool == call.tool
        && (step.actions.is_empty() || call.action.as_ref().is_some_and(|action| step.actions.contains(action)))
}
