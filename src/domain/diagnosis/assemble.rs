//! One report of what the rules and the experts found.

use super::{Diagnosis, ExpertReport, ExpertResult, Explanation, RootCause, markdown};

/// Puts the report together: the surest expert whose answer held has the word, the rules where none did.
pub fn assemble(explanation: Explanation, experts: Vec<ExpertReport>) -> Diagnosis {
    let mut best: Option<&RootCause> = None;
    for report in &experts {
        if let ExpertResult::Answered { finding, .. } = &report.result
            // The first of equals stays: the playbook asks in order.
            && best.is_none_or(|known| finding.confidence > known.confidence)
        {
            best = Some(finding);
        }
    }
    let (root_cause, basis) = match best {
        Some(finding) => (finding.clone(), "experts"),
        None => (explanation.root_cause.clone(), "rules"),
    };
    let markdown = markdown::report(&explanation, &root_cause, basis, &experts);
    Diagnosis {
        root_cause,
        basis: basis.to_owned(),
        steps: explanation.steps,
        experts,
        markdown,
    }
}
