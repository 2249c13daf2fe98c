//! The calls that were to bring about what a finding is about, and which of them decided.

use super::root_cause::Scene;
use crate::domain::{
    claim::{Claim, ClaimState},
    compare::same_name,
    playbook::ClaimEffect,
    reading::Operation,
    transcript::ToolCall,
    verdict::{Finding, Outcome},
};

/// One call that was to bring about what a finding is about.
pub(super) struct Attempt<'a> {
    pub(super) call: &'a ToolCall,
    pub(super) state: ClaimState,
    pub(super) operation: Operation,
}

impl Scene<'_> {
    /// The calls that were to bring it about, in order.
    pub(super) fn attempts(&self, finding: &Finding) -> Vec<Attempt<'_>> {
        let mut attempts = Vec::new();
        for call in &self.transcript.calls {
            let mut claimed = false;
            for claim in self.claims.iter().filter(|claim| claim.step == call.step) {
                claimed |= claim.is_write();
                let Some(operation) = claim.operation() else { continue };
                if claim.record == finding.record && fits(finding, operation) && self.same_subject(finding, claim) {
                    attempts.push(Attempt {
                        call,
                        state: claim.state.clone(),
                        operation,
                    });
                }
            }
            // A call that failed before it could claim anything is an attempt as well.
            if let (false, Some(error)) = (claimed, &call.error)
                && let Some(operation) = self.would_write(call, finding)
            {
                attempts.push(Attempt {
                    call,
                    state: ClaimState::Failed { error: error.clone() },
                    operation,
                });
            }
        }
        attempts
    }

    /// The attempt that decided: of each operation the last counts; of these a failure before a promise before a success.
    pub(super) fn decisive_attempt(&self, finding: &Finding) -> Option<Attempt<'_>> {
        let mut last: Vec<Attempt<'_>> = Vec::new();
        for attempt in self.attempts(finding) {
            last.retain(|earlier| earlier.operation != attempt.operation);
            last.push(attempt);
        }
        last.into_iter().min_by_key(|attempt| match attempt.state {
            ClaimState::Failed { .. } => 0,
            ClaimState::Promised => 1,
            ClaimState::Done => 2,
        })
    }

    fn would_write(&self, call: &ToolCall, finding: &Finding) -> Option<Operation> {
        self.playbook.claims.iter().find_map(|rule| match rule.effect {
            ClaimEffect::Write(operation)
                if rule.tool == call.tool
                    && rule.record == finding.record
                    && fits(finding, operation)
                    && (rule.actions.is_empty()
                        || call.action.as_ref().is_some_and(|action| rule.actions.contains(action))) =>
            {
                Some(operation)
            }
            _ => None,
        })
    }

    fn same_subject(&self, finding: &Finding, claim: &Claim) -> bool {
        match (&finding.subject, &claim.subject) {
            (Some(wanted), Some(claimed)) => same_name(&self.playbook.head.nicknames, wanted, claimed),
            _ => true,
        }
    }

    /// Whether the same call, or another, did for somebody else what it did not do here.
    pub(super) fn succeeded_for_others(&self, finding: &Finding, call: &ToolCall) -> bool {
        let in_call = self.claims.iter().any(|claim| {
            claim.step == call.step
                && claim.record == finding.record
                && claim.is_write()
                && claim.state == ClaimState::Done
        });
        let confirmed = self.verdict.findings.iter().any(|other| {
            other.outcome == Outcome::Confirmed
                && other.record == finding.record
                && other.operation == finding.operation
        });
        in_call || confirmed
    }

    pub(super) fn last_error(&self) -> Option<(&ToolCall, &str)> {
        let error = self.tool_errors.last()?;
        let call = self.transcript.calls.iter().find(|call| call.step == error.step)?;
        Some((call, &error.error))
    }
}

/// Changing a record may take any operation; the others only their own.
fn fits(finding: &Finding, operation: Operation) -> bool {
    finding.operation == operation || finding.operation == Operation::Update
}
