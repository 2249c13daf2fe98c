//! What is there, with other values than were asked for: on which side of the call the value changed.

use serde_json::Value;

use super::{
    FaultOwner, RootCause,
    attempts::Attempt,
    evidence::{of_input, of_output, of_value, spoken},
    root_cause::{Scene, called, whom},
    steps::names_subject,
};
use crate::domain::{
    claim::ClaimState,
    compare::{Match, Rule, compare, fold},
    transcript::Speaker,
    verdict::{FieldVerdict, Finding, Outcome},
};

impl Scene<'_> {
    /// There, with other values.
    pub(super) fn wrong(&self, finding: &Finding) -> RootCause {
        let whom = whom(finding);
        let told = finding
            .said_done
            .as_deref()
            .and_then(|words| spoken(self.transcript, Speaker::Agent, words));
        let field = finding
            .fields
            .iter()
            .find(|field| field.outcome == Outcome::Wrong)
            .or_else(|| finding.fields.first());
        let attempt = self
            .attempts(finding)
            .into_iter()
            .rev()
            .find(|attempt| !matches!(attempt.state, ClaimState::Failed { .. }));
        let (Some(attempt), Some(field)) = (attempt, field) else {
            return RootCause {
                owner: FaultOwner::SystemOfRecord,
                failure: "record_differs".to_owned(),
                step: None,
                cause: format!(
                    "The {}{whom} holds other values than were asked for, and no call of the session wrote them.",
                    finding.record
                ),
                confidence: 40,
                quotes: told
                    .into_iter()
                    .chain(spoken(self.transcript, Speaker::Caller, &finding.asked))
                    .collect(),
                suggestion: Some("Look in the system of record's own history at who wrote these values.".to_owned()),
                diff: None,
            };
        };
        let name = called(attempt.call);
        let (owner, confidence, cause, suggestion) = match self.went_wrong(finding, field, &attempt) {
            FaultOwner::Agent => (
                FaultOwner::Agent,
                85,
                format!(
                    "{name} was called with another {}{whom} than was asked for, and the {} holds that.",
                    field.name, finding.record
                ),
                "Have the agent repeat the values to the caller from the call that it is about to make, and make the call with these.",
            ),
            FaultOwner::Tool => (
                FaultOwner::Tool,
                80,
                format!(
                    "{name} was asked for the right {}{whom}, and wrote another one.",
                    field.name
                ),
                "Compare what the tool was asked for with what it sent on; let it answer with an error instead of taking another value.",
            ),
            _ => (
                FaultOwner::SystemOfRecord,
                60,
                format!(
                    "{name} was called with the right {}{whom}, and the {} holds another one.",
                    field.name, finding.record
                ),
                "Look in the system of record's own history: it changed the value on writing or afterwards (a time zone, a rounding, a person).",
            ),
        };
        let written = match owner {
            FaultOwner::Agent => {
                let values = about(&attempt.call.input, finding);
                // As it was written, else as it means: the system may spell it otherwise.
                let written = values
                    .iter()
                    .find(|value| ***value == field.actual)
                    .or_else(|| {
                        values
                            .iter()
                            .find(|value| self.same(finding, field, value, &field.actual))
                    })
                    .copied();
                written
                    .and_then(|value| of_value(attempt.call, value))
                    .or_else(|| of_input(attempt.call))
            }
            _ => of_output(attempt.call),
        };
        RootCause {
            owner,
            failure: "record_differs".to_owned(),
            step: Some(attempt.call.step.clone()),
            cause,
            confidence,
            quotes: written.into_iter().chain(told).collect(),
            suggestion: Some(suggestion.to_owned()),
            diff: None,
        }
    }

    /// Whether two values of a field mean the same, by the playbook's rule.
    fn same(&self, finding: &Finding, field: &FieldVerdict, left: &Value, right: &Value) -> bool {
        let text = Rule::Text;
        let rule = self
            .playbook
            .record(&finding.record)
            .and_then(|record| record.field(&field.name))
            .map_or(&text, |field| &field.compare);
        // A finding does not say when its words were said; most sessions have one day.
        let context = self.playbook.context().said_at(self.transcript.said_at(None));
        compare(rule, context, left, right).outcome == Match::Same
    }

    /// On which side of the call the value changed.
    fn went_wrong(&self, finding: &Finding, field: &FieldVerdict, attempt: &Attempt<'_>) -> FaultOwner {
        let same = |left: &Value, right: &Value| self.same(finding, field, left, right);
        let call = attempt.call;
        if !about(&call.input, finding)
            .into_iter()
            .any(|value| same(&field.expected, value))
        {
            return FaultOwner::Agent;
        }
        // A tool that answers with the other value took it itself; one that answers as it was asked was overruled.
        let answered = about(&call.output, finding);
        let other = answered.iter().any(|value| same(&field.actual, value));
        let as_asked = answered.iter().any(|value| same(&field.expected, value));
        if other && !as_asked {
            FaultOwner::Tool
        } else {
            FaultOwner::SystemOfRecord
        }
    }
}

/// Every value of a call's arguments or answer that may be about the finding: of a list in which some items name its
/// subject, only those.
fn about<'v>(value: &'v Value, finding: &Finding) -> Vec<&'v Value> {
    let mut found = vec![value];
    match value {
        Value::Array(items) => {
            let names = |item: &Value| {
                let subject = finding.subject.as_deref().unwrap_or_default();
                names_subject(&fold(&item.to_string()), subject)
            };
            let chosen = items.iter().any(names);
            let items = items.iter().filter(|item| !chosen || names(item));
            found.extend(items.flat_map(|item| about(item, finding)));
        }
        Value::Object(members) => found.extend(members.values().flat_map(|member| about(member, finding))),
        _ => {}
    }
    found
}
