//! What the rules say of a failed session.

use super::{
    Explanation,
    root_cause::{self, Scene},
    routing, steps,
};
use crate::domain::{
    claim::{Claim, claims},
    judge::Case,
    playbook::Playbook,
    reading::Reading,
    transcript::Transcript,
    verdict::Verdict,
};

/// Explains a verdict by the rules alone: what was expected and what was done, why it failed, and whom to ask.
pub fn explain(playbook: &Playbook, case: &Case, verdict: &Verdict) -> Explanation {
    explain_parts(playbook, &case.transcript, &case.reading, &claims(playbook, &case.transcript), verdict)
}

pub(super) fn explain_parts(
    playbook: &Playbook,
    transcript: &Transcript,
    reading: &Reading,
    claims: &[Claim],
    verdict: &Verdict,
) -> Explanation {
    let subjects = steps::subjects(playbook, reading);
    let steps = steps::report(playbook, &verdict.intent, transcript, claims, &subjects);
    let tool_errors = steps::tool_errors(transcript, claims);
    let scene = Scene {
        playbook,
        transcript,
        claims,
        verdict,
        steps: &steps,
        tool_errors: &tool_errors,
    };
    let root_cause = root_cause::find(&scene);
    let experts = routing::routes(playbook, verdict, &steps, &tool_errors);
    Explanation {
        steps,
        root_cause,
        experts,
        tool_errors,
        summary: verdict.summary.clone(),
    }
}
