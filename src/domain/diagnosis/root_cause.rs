//! The rules: from what was asked, what the calls answered and what is there to who has to act.
//!
//! Each failing request gets a cause of its own; the worst of them is the session's. A rule says only what the evidence
//! shows: it cites words of the session, and its confidence says how much is inference.

use serde_json::Value;

use super::{
    FaultOwner, Quote, RootCause, StepReport, StepStatus, ToolError,
    attempts::Attempt,
    error_class::ErrorClass,
    evidence::{of_error, of_input, of_output, of_value, spoken},
};
use crate::domain::{
    claim::{Claim, ClaimState},
    compare::fold,
    playbook::Playbook,
    reading::Operation,
    transcript::{Speaker, ToolCall, Transcript},
    verdict::{Finding, Outcome, Reason, Verdict},
};

/// Everything that the rules look at.
pub(super) struct Scene<'a> {
    pub(super) playbook: &'a Playbook,
    pub(super) transcript: &'a Transcript,
    pub(super) claims: &'a [Claim],
    pub(super) verdict: &'a Verdict,
    pub(super) steps: &'a [StepReport],
    pub(super) tool_errors: &'a [ToolError],
}

/// The cause of the session's worst finding.
pub(super) fn find(scene: &Scene<'_>) -> RootCause {
    let mut best: Option<(&Finding, RootCause)> = None;
    for finding in &scene.verdict.findings {
        let Some(cause) = scene.cause_of(finding) else { continue };
        let better = best
            .as_ref()
            .is_none_or(|(worst, known)| (finding.severity, cause.confidence) > (worst.severity, known.confidence));
        if better {
            best = Some((finding, cause));
        }
    }
    best.map_or_else(|| scene.without_finding(), |(_, cause)| cause)
}

impl Scene<'_> {
    fn cause_of(&self, finding: &Finding) -> Option<RootCause> {
        match finding.outcome {
            Outcome::Missing => Some(self.missing(finding)),
            Outcome::Wrong => Some(self.wrong(finding)),
            Outcome::Unwanted => Some(self.unwanted(finding)),
            Outcome::Declined if self.verdict.status.needs_diagnosis() => Some(self.declined(finding)),
            Outcome::Confirmed if self.verdict.reason == Reason::DoneButToldFailed => Some(self.told_failed(finding)),
            Outcome::Confirmed | Outcome::Declined | Outcome::Withdrawn | Outcome::Unknown => None,
        }
    }

    /// Asked for, and not there.
    fn missing(&self, finding: &Finding) -> RootCause {
        let whom = whom(finding);
        let what = format!("{} of the {}", noun(finding.operation), finding.record);
        let told = finding
            .said_done
            .as_deref()
            .and_then(|words| spoken(self.transcript, Speaker::Agent, words));
        let Some(attempt) = self.decisive_attempt(finding) else {
            return self.never_attempted(finding, told);
        };
        let step = Some(attempt.call.step.clone());
        match &attempt.state {
            ClaimState::Failed { error } if finding.said_done.is_some() => {
                let partly = self.succeeded_for_others(finding, attempt.call);
                let quotes = [of_error(attempt.call, error), told].into_iter().flatten().collect();
                let name = called(attempt.call);
                if partly {
                    RootCause {
                        owner: FaultOwner::Agent,
                        failure: "partial_confirmed_as_whole".to_owned(),
                        step,
                        cause: format!("{name} succeeded for some and failed{whom}, and the agent told the caller that all of it was done."),
                        confidence: 90,
                        quotes,
                        suggestion: Some("Have the agent read the result item by item: confirm by name what is done, name what is not, and hand that over to a person.".to_owned()),
                        diff: None,
                    }
                } else {
                    RootCause {
                        owner: FaultOwner::Agent,
                        failure: "tool_error_ignored".to_owned(),
                        step,
                        cause: format!("{name} answered with an error{whom}, and the agent told the caller that it was done."),
                        confidence: 95,
                        quotes,
                        suggestion: Some("Let the agent confirm only what the tool's last answer for it shows as done, with an id; on an error say so and offer another way.".to_owned()),
                        diff: None,
                    }
                }
            }
            ClaimState::Failed { error } => Self::failed(attempt.call, error, &format!("The {what}{whom} is missing because")),
            ClaimState::Promised => RootCause {
                owner: FaultOwner::Environment,
                failure: "queued_never_worked".to_owned(),
                step,
                cause: format!("{} accepted the {what}{whom} for later; it was never carried out.", called(attempt.call)),
                confidence: 90,
                quotes: [of_promise(&attempt), told].into_iter().flatten().collect(),
                suggestion: Some("Look at the queue behind the tool: what was accepted and never worked. Until a queued request is done the agent should say that it is not confirmed yet.".to_owned()),
                diff: None,
            },
            ClaimState::Done => RootCause {
                owner: FaultOwner::Tool,
                failure: "reported_done_not_stored".to_owned(),
                step,
                cause: format!("{} reported the {what}{whom} as done; the system of record does not have it.", called(attempt.call)),
                confidence: 75,
                quotes: [of_output(attempt.call), told].into_iter().flatten().collect(),
                suggestion: Some("Let the tool read the record back before it reports success, and return the id that the system gave.".to_owned()),
                diff: None,
            },
        }
    }

    /// The step that writes failed, and the agent did not hide it.
    fn failed(call: &ToolCall, error: &str, because: &str) -> RootCause {
        let class = ErrorClass::of(error);
        let quotes: Vec<Quote> = of_error(call, error).into_iter().collect();
        if let Some(key) = empty_id(&call.input)
            && matches!(class, ErrorClass::Arguments | ErrorClass::Other)
        {
            return RootCause {
                owner: FaultOwner::Agent,
                failure: "empty_id_passed".to_owned(),
                step: Some(call.step.clone()),
                cause: format!("{because} {} was called with an empty {key} and failed.", called(call)),
                confidence: 80,
                quotes: quotes.into_iter().chain(of_input(call)).collect(),
                suggestion: Some("Have the agent pass on the id that an earlier call gave, and let the tool refuse an empty one by name.".to_owned()),
                diff: None,
            };
        }
        RootCause {
            owner: class.owner(),
            failure: class.failure().to_owned(),
            step: Some(call.step.clone()),
            cause: match class {
                ErrorClass::Taken => format!("{because} what {} asked for was gone by then.", called(call)),
                ErrorClass::Unreachable => format!("{because} {} could not reach what is behind it.", called(call)),
                ErrorClass::Arguments => format!("{because} {} refused its arguments.", called(call)),
                ErrorClass::Other => format!("{because} {} failed.", called(call)),
            },
            confidence: if class == ErrorClass::Other { 65 } else { 85 },
            quotes,
            suggestion: Some(class.suggestion().to_owned()),
            diff: None,
        }
    }

    /// No call was to bring it about.
    fn never_attempted(&self, finding: &Finding, told: Option<Quote>) -> RootCause {
        let whom = whom(finding);
        let what = format!("{} of the {}", noun(finding.operation), finding.record);
        let asked = spoken(self.transcript, Speaker::Caller, &finding.asked);
        if finding.said_done.is_some() {
            return RootCause {
                owner: FaultOwner::Agent,
                failure: "confirmed_without_call".to_owned(),
                step: None,
                cause: format!("The agent told the caller that the {what}{whom} was done, and called no tool for it."),
                confidence: 90,
                quotes: told.into_iter().chain(asked).collect(),
                suggestion: Some(
                    "Let the agent confirm only what a tool's answer in the same session shows as done.".to_owned(),
                ),
                diff: None,
            };
        }
        // An error on the way there explains better than the absence of what would have come after.
        if let Some((call, error)) = self.last_error() {
            let mut cause = Self::failed(call, error, &format!("The {what}{whom} was never attempted:"));
            cause.confidence = cause.confidence.saturating_sub(20);
            return cause;
        }
        let missing: Vec<&str> = self
            .steps
            .iter()
            .filter(|step| step.status == StepStatus::Missing)
            .map(|step| step.step.as_str())
            .collect();
        let steps = if missing.is_empty() {
            String::new()
        } else {
            format!(" Steps not taken: {}.", missing.join(", "))
        };
        RootCause {
            owner: FaultOwner::Agent,
            failure: "never_called".to_owned(),
            step: None,
            cause: format!("The caller asked for the {what}{whom}, and the agent never called the tool that does it.{steps}"),
            confidence: 75,
            quotes: asked.into_iter().collect(),
            suggestion: Some("Look at where the conversation turned round: let the agent call the tool as soon as it has what the call needs, and hand over to a person when it cannot get there.".to_owned()),
            diff: None,
        }
    }

    /// There, and nobody asked for it.
    fn unwanted(&self, finding: &Finding) -> RootCause {
        let call = self
            .transcript
            .calls
            .iter()
            .rev()
            .find(|call| finding.steps.contains(&call.step));
        RootCause {
            owner: FaultOwner::Agent,
            failure: "unwanted_effect".to_owned(),
            step: call.map(|call| call.step.clone()),
            cause: format!(
                "The session brought about the {} of the {}{}, and the caller had not asked for it.",
                noun(finding.operation),
                finding.record,
                whom(finding)
            ),
            confidence: 75,
            quotes: call
                .and_then(of_input)
                .into_iter()
                .chain(spoken(self.transcript, Speaker::Caller, &finding.asked))
                .collect(),
            suggestion: Some(
                "Let the agent ask for a clear yes before a call that writes, and take the effect back here."
                    .to_owned(),
            ),
            diff: None,
        }
    }

    /// There, although the caller was told that it failed.
    fn told_failed(&self, finding: &Finding) -> RootCause {
        let attempt = self.attempts(finding).into_iter().next_back();
        let call = attempt.as_ref().map(|attempt| attempt.call);
        let error = call.and_then(|call| call.error.as_deref());
        let told = self
            .transcript
            .turns
            .iter()
            .rev()
            .find(|turn| {
                let text = fold(&turn.text);
                let phrases = &self.playbook.phrases;
                turn.speaker == Speaker::Agent
                    && phrases
                        .failed
                        .iter()
                        .chain(&phrases.declined)
                        .any(|phrase| text.contains(phrase))
            })
            .map(|turn| Quote {
                at: format!("turn {}", turn.index),
                text: turn.text.chars().take(300).collect(),
            });
        let tool_said_so = error.is_some();
        RootCause {
            owner: if tool_said_so { FaultOwner::Tool } else { FaultOwner::Agent },
            failure: "told_failed_but_done".to_owned(),
            step: call.map(|call| call.step.clone()),
            cause: match call {
                Some(call) if tool_said_so => format!("{} answered with an error although it had been done, and the caller was told that it failed.", called(call)),
                _ => "It was done, and the agent told the caller that it failed.".to_owned(),
            },
            confidence: 85,
            quotes: call
                .and_then(|call| error.and_then(|error| of_error(call, error)).or_else(|| of_output(call)))
                .into_iter()
                .chain(told)
                .collect(),
            suggestion: Some("Let the tool look whether it was done before it answers with an error, and tell the caller that it stands: they may do it twice.".to_owned()),
            diff: None,
        }
    }

    /// The agent said no where the playbook counts that as a failure.
    fn declined(&self, finding: &Finding) -> RootCause {
        RootCause {
            owner: FaultOwner::Agent,
            failure: "declined".to_owned(),
            step: None,
            cause: format!(
                "The agent declined the {} of the {}{}, which this intent counts as a failure.",
                noun(finding.operation),
                finding.record,
                whom(finding)
            ),
            confidence: 60,
            quotes: spoken(self.transcript, Speaker::Caller, &finding.asked)
                .into_iter()
                .collect(),
            suggestion: Some("Look whether the agent may and should do this itself.".to_owned()),
            diff: None,
        }
    }

    /// A failure that no single request shows.
    fn without_finding(&self) -> RootCause {
        if let Some((call, error)) = self.last_error() {
            let mut cause = Self::failed(call, error, "What was asked for was not done:");
            cause.confidence = cause.confidence.saturating_sub(20);
            return cause;
        }
        let nothing_done = self.verdict.reason == Reason::NothingDone;
        RootCause {
            owner: FaultOwner::Agent,
            failure: if nothing_done { "never_called" } else { "unknown" }.to_owned(),
            step: None,
            cause: if nothing_done {
                "Something was asked for, and the agent never called a tool that does it.".to_owned()
            } else {
                "The rules find no single step that explains it.".to_owned()
            },
            confidence: if nothing_done { 60 } else { 10 },
            quotes: Vec::new(),
            suggestion: None,
            diff: None,
        }
    }
}

pub(super) fn noun(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "creation",
        Operation::Update => "change",
        Operation::Cancel => "cancellation",
    }
}

pub(super) fn whom(finding: &Finding) -> String {
    finding
        .subject
        .as_ref()
        .map_or_else(String::new, |subject| format!(" for {subject}"))
}

/// A call as people name it: schedule.book_child.
pub(super) fn called(call: &ToolCall) -> String {
    match &call.action {
        Some(action) => format!("{}.{action}", call.tool),
        None => call.tool.clone(),
    }
}

fn of_promise(attempt: &Attempt<'_>) -> Option<Quote> {
    of_value(attempt.call, &Value::from("queued")).or_else(|| of_output(attempt.call))
}

/// The name of an id that was passed on empty.
fn empty_id(input: &Value) -> Option<&str> {
    match input {
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let lower = name.to_lowercase();
            let is_id = lower == "id" || lower.ends_with("guid") || lower.ends_with("_id") || name.ends_with("Id");
            if is_id && value.as_str().is_some_and(|text| text.trim().is_empty()) {
                Some(name.as_str())
            } else {
                empty_id(value)
            }
        }),
        Value::Array(items) => items.iter().find_map(empty_id),
        _ => None,
    }
}
