//! The steps that an intent takes, against the calls.
//!
//! A step is counted by what its calls cover, not by their number alone: one call may book two children, and one search for
//! free times may serve both.

use super::{StepReport, StepStatus, ToolError};
use crate::domain::{
    claim::{Claim, ClaimState},
    compare::{fold, same_name},
    playbook::{Playbook, Step},
    reading::Reading,
    transcript::{ToolCall, Transcript},
};

/// Whether a call is an attempt at a step.
pub(super) fn is_call_of(step: &Step, call: &ToolCall) -> bool {
    step.tool == call.tool
        && (step.actions.is_empty() || call.action.as_ref().is_some_and(|action| step.actions.contains(action)))
}

/// Whom the session is about: the subjects of what was asked, and those that the reading lists.
pub(super) fn subjects(playbook: &Playbook, reading: &Reading) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let asked = reading.requests.iter().filter(|request| request.withdrawn.is_none());
    let mut names: Vec<&str> = asked.filter_map(|request| request.subject.as_deref()).collect();
    let listed = playbook
        .head
        .subject_detail
        .as_ref()
        .and_then(|detail| reading.details.get(detail));
    names.extend(
        listed
            .and_then(|list| list.as_array())
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str()),
    );
    for name in names {
        let known = found
            .iter()
            .any(|known| same_name(&playbook.head.nicknames, known, name));
        if !known && !name.trim().is_empty() {
            found.push(name.to_owned());
        }
    }
    found
}

/// Whether a call is about a subject: its claims or its arguments name it, or it names nobody.
pub(super) fn concerns(playbook: &Playbook, call: &ToolCall, claims: &[Claim], subject: &str, all: &[String]) -> bool {
    let claimed: Vec<&str> = of_call(claims, call)
        .filter_map(|claim| claim.subject.as_deref())
        .collect();
    if !claimed.is_empty() {
        return claimed
            .iter()
            .any(|name| same_name(&playbook.head.nicknames, name, subject));
    }
    let arguments = fold(&call.input.to_string());
    if names_subject(&arguments, subject) {
        return true;
    }
    !all.iter().any(|other| names_subject(&arguments, other))
}

/// Whether a folded text holds the first word of a name as a word.
pub(super) fn names_subject(folded: &str, subject: &str) -> bool {
    let subject = fold(subject);
    let Some(first) = subject.split(' ').next().filter(|first| !first.is_empty()) else {
        return false;
    };
    folded
        .split(|letter: char| !letter.is_alphanumeric())
        .any(|word| word == first)
}

fn of_call<'a>(claims: &'a [Claim], call: &'a ToolCall) -> impl Iterator<Item = &'a Claim> {
    claims
        .iter()
        .filter(|claim| claim.is_write() && claim.step == call.step)
}

/// Why a call failed for a subject: its claims' words on that subject, else the call's own error.
fn failure_of(playbook: &Playbook, call: &ToolCall, claims: &[Claim], subject: Option<&str>) -> Option<String> {
    let about: Vec<&Claim> = of_call(claims, call)
        .filter(|claim| match (subject, claim.subject.as_deref()) {
            (Some(subject), Some(name)) => same_name(&playbook.head.nicknames, name, subject),
            _ => false,
        })
        .collect();
    if about.is_empty() {
        return call.error.clone();
    }
    about.iter().find_map(|claim| match &claim.state {
        ClaimState::Failed { error } => Some(error.clone()),
        ClaimState::Done | ClaimState::Promised => None,
    })
}

/// The steps of an intent. An optional step that was not taken is left out: it is not missed.
pub(super) fn report(
    playbook: &Playbook,
    intent: &str,
    transcript: &Transcript,
    claims: &[Claim],
    subjects: &[String],
) -> Vec<StepReport> {
    let steps = playbook.intent(intent).map_or(&[][..], |intent| &intent.steps);
    let mut reports = Vec::new();
    for step in steps {
        let calls: Vec<&ToolCall> = transcript.calls.iter().filter(|call| is_call_of(step, call)).collect();
        if calls.is_empty() && step.optional {
            continue;
        }
        let whom: Vec<Option<&str>> = if step.per_subject && !subjects.is_empty() {
            subjects.iter().map(|subject| Some(subject.as_str())).collect()
        } else {
            vec![None]
        };
        let mut status = StepStatus::Completed;
        let mut error = None;
        for subject in &whom {
            let about: Vec<&&ToolCall> = calls
                .iter()
                .filter(|call| subject.is_none_or(|subject| concerns(playbook, call, claims, subject, subjects)))
                .collect();
            let mut errors = about.iter().map(|call| failure_of(playbook, call, claims, *subject));
            if about.is_empty() && step.optional {
                continue;
            }
            if about.is_empty() {
                // A failure says more than an absence: it keeps its place.
                if status == StepStatus::Completed {
                    status = StepStatus::Missing;
                }
            } else if errors.clone().all(|found| found.is_some()) {
                status = StepStatus::Failed;
                error = error.or(errors.next().flatten());
            } else {
                error = error.or(errors.flatten().next());
            }
        }
        reports.push(StepReport {
            step: step.id.clone(),
            status,
            expected: u32::try_from(whom.len()).unwrap_or(u32::MAX),
            calls: calls.iter().map(|call| call.step.clone()).collect(),
            error,
        });
    }
    reports
}

/// Every call that failed, as a whole or for one of its items.
pub(super) fn tool_errors(transcript: &Transcript, claims: &[Claim]) -> Vec<ToolError> {
    let mut errors = Vec::new();
    for call in &transcript.calls {
        let of_claim = of_call(claims, call).find_map(|claim| match &claim.state {
            ClaimState::Failed { error } => Some(error.clone()),
            ClaimState::Done | ClaimState::Promised => None,
        });
        if let Some(error) = call.error.clone().or(of_claim) {
            errors.push(ToolError {
                step: call.step.clone(),
                tool: call.tool.clone(),
                action: call.action.clone(),
                error,
            });
        }
    }
    errors
}
