//! Holds an expert's finding against the session: a report that cites what is not there is worse than none.

use super::{
    RootCause,
    evidence::{call_says, turn_at, turn_says},
};
use crate::domain::{judge::Case, transcript::Transcript};

/// Longer texts are cut for a report: an answer is no place for a novel.
const LONGEST_TEXT: usize = 4_000;
const LONGEST_DIFF: usize = 40_000;
const MOST_QUOTES: usize = 20;

/// A finding that holds, as it was given.
///
/// # Errors
/// What does not hold, in words that quote nothing of the session.
pub fn check(finding: RootCause, case: &Case) -> Result<RootCause, String> {
    let problems = problems(&finding, case);
    if problems.is_empty() {
        Ok(finding)
    } else {
        Err(problems.join("; "))
    }
}

/// Everything about a finding that does not hold; empty when it does.
pub fn problems(finding: &RootCause, case: &Case) -> Vec<String> {
    problems_in(finding, &case.transcript)
}

pub(super) fn problems_in(finding: &RootCause, transcript: &Transcript) -> Vec<String> {
    let mut problems = Vec::new();
    if finding.confidence > 100 {
        problems.push("confidence is not between 0 and 100".to_owned());
    }
    if !is_snake_case(&finding.failure) {
        problems.push("failure is not a name in snake_case".to_owned());
    }
    if finding.cause.trim().is_empty() {
        problems.push("cause is empty".to_owned());
    }
    if let Some(step) = &finding.step
        && !transcript.calls.iter().any(|call| call.step == *step)
    {
        problems.push("step is not one of the session's tool calls".to_owned());
    }
    if finding.step.is_none() && finding.quotes.is_empty() {
        problems.push("neither a step nor a quote shows it".to_owned());
    }
    if finding.quotes.len() > MOST_QUOTES {
        problems.push(format!("more than {MOST_QUOTES} quotes"));
    }
    for (index, quote) in finding.quotes.iter().take(MOST_QUOTES).enumerate() {
        let number = index + 1;
        if let Some(call) = transcript.calls.iter().find(|call| call.step == quote.at) {
            if !call_says(call, &quote.text) {
                problems.push(format!(
                    "quote {number} is not in the input or output of the step it names"
                ));
            }
        } else if let Some(turn) = turn_at(transcript, &quote.at) {
            if !turn_says(turn, &quote.text) {
                problems.push(format!("quote {number} is not in the turn it names"));
            }
        } else {
            problems.push(format!("quote {number} names neither a step nor a turn of the session"));
        }
    }
    for (name, text, longest) in [
        ("cause", Some(&finding.cause), LONGEST_TEXT),
        ("suggestion", finding.suggestion.as_ref(), LONGEST_TEXT),
        ("diff", finding.diff.as_ref(), LONGEST_DIFF),
    ] {
        if text.is_some_and(|text| text.len() > longest) {
            problems.push(format!("{name} is longer than {longest} bytes"));
        }
    }
    problems
}

fn is_snake_case(name: &str) -> bool {
    let starts_with_letter = name.chars().next().is_some_and(|letter| letter.is_ascii_lowercase());
    starts_with_letter
        && name.len() <= 64
        && name
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}
