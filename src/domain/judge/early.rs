//! Verdicts that need no system of record: the session is skipped, with the reason.

use super::{Case, requests::requests};
use crate::domain::{
    claim::{Claim, ClaimState},
    playbook::Playbook,
    reading::{CONFIDENCE_FLOOR, Operation, Reader, UNKNOWN_INTENT},
    signals,
    verdict::{Finding, Outcome, Reason, Severity, Status, Verdict},
};

pub(super) fn verdict(playbook: &Playbook, case: &Case) -> Option<Verdict> {
    let reading = &case.reading;
    let turns = case.transcript.turns.len();
    if turns < playbook.head.min_turns {
        let noun = if turns == 1 { "turn" } else { "turns" };
        let summary = format!("{turns} {noun}: too short to be judged.");
        return Some(skipped(playbook, case, Reason::TooShort, summary));
    }
    let known = playbook.intent(&reading.intent);
    if reading.intent == UNKNOWN_INTENT || known.is_none() {
        return Some(skipped(
            playbook,
            case,
            Reason::UnknownIntent,
            "What the caller wanted could not be told.".into(),
        ));
    }
    // A confidence that is no number is low as well.
    if reading.confidence.is_nan() || reading.confidence < CONFIDENCE_FLOOR {
        let percent = (reading.confidence.clamp(0.0, 1.0) * 100.0).round();
        let summary = format!(
            "The reader is only {percent} % sure that this is \"{}\".",
            reading.intent
        );
        return Some(skipped(playbook, case, Reason::LowConfidence, summary));
    }
    let requests = requests(playbook, case);
    let wrote = case
        .claims
        .iter()
        .any(|claim| claim.is_write() && !matches!(claim.state, ClaimState::Failed { .. }));
    let tried = case.claims.iter().any(Claim::is_write);
    if requests.is_empty() {
        let verify = known.is_some_and(|intent| intent.verify);
        // The user's own file may say outright that nothing was to be done: then what was written is unwanted. Anyone else
        // who reads no request beside writes or booking words has misread something.
        let declared = case.reader == Reader::File && !verify;
        let signalled = || signals::calls_for_something(playbook, &case.transcript);
        if !declared && (tried || verify || signalled()) {
            let summary =
                "The reading names no request, but the session holds writes or words of one: it needs a second look.";
            return Some(skipped(playbook, case, Reason::InconsistentReading, summary.into()));
        }
        if !wrote {
            return Some(skipped(
                playbook,
                case,
                Reason::NothingToVerify,
                "Nothing was asked for that would have to be verified.".into(),
            ));
        }
        return None;
    }
    if !wrote && requests.iter().all(|request| request.withdrawn.is_some()) {
        let mut verdict = skipped(
            playbook,
            case,
            Reason::Withdrawn,
            "The caller took back what was asked for.".into(),
        );
        verdict.findings = requests
            .iter()
            .map(|request| Finding {
                operation: request.operation,
                record: request.record.clone(),
                system: None,
                id: request.id.clone(),
                subject: request.subject.clone(),
                outcome: Outcome::Withdrawn,
                severity: Severity::None,
                fields: Vec::new(),
                touches: Vec::new(),
                asked: request.quote.clone(),
                said_done: None,
                steps: Vec::new(),
                why: "the caller took it back".into(),
            })
            .collect();
        return Some(verdict);
    }
    if !tried
        && !requests
            .iter()
            .any(|request| playbook.record(&request.record).is_some())
    {
        let operations: Vec<&str> = requests
            .iter()
            .map(|request| Operation::as_str(request.operation))
            .collect();
        let summary = format!(
            "The playbook knows none of the records asked for ({}).",
            operations.join(", ")
        );
        return Some(skipped(playbook, case, Reason::NothingToVerify, summary));
    }
    None
}

fn skipped(playbook: &Playbook, case: &Case, reason: Reason, summary: String) -> Verdict {
    let confidence = case.reading.confidence;
    Verdict {
        status: Status::Skipped,
        reason,
        severity: Severity::None,
        summary,
        intent: case.reading.intent.clone(),
        confidence: if confidence.is_finite() { confidence } else { 0.0 },
        reader: case.reader.clone(),
        findings: Vec::new(),
        playbook: playbook.reference(),
        looks: 0,
        incomplete: case.incomplete,
    }
}
