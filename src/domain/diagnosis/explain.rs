//! What the rules say of a failed session.

use super::{
    Explanation,
    root_cause::{self, Scene},
    routing, steps,
};
use crate::domain::{judge::Case, playbook::Playbook, verdict::Verdict};

/// Explains a verdict by the rules alone: what was expected and what was done, why it failed, and whom to ask.
pub fn explain(playbook: &Playbook, case: &Case, verdict: &Verdict) -> Explanation {
    let subjects = steps::subjects(playbook, &case.reading);
    let steps = steps::report(playbook, &verdict.intent, &case.transcript, &case.claims, &subjects);
    let tool_errors = steps::tool_errors(&case.transcript, &case.claims);
    let root_cause = root_cause::find(&Scene {
        playbook,
        transcript: &case.transcript,
        claims: &case.claims,
        verdict,
        steps: &steps,
        tool_errors: &tool_errors,
    });
    let experts = routing::routes(playbook, verdict, &steps, &tool_errors);
    Explanation {
        steps,
        root_cause,
        experts,
        tool_errors,
        summary: verdict.summary.clone(),
    }
}
