//! The report for a person. Everything from the session is hostile: it is escaped, so that it can neither format the report,
//! nor place a link or HTML in it, nor act on a terminal.

use std::fmt::Write as _;

use super::{ExpertReport, ExpertResult, Explanation, FaultOwner, RootCause, StepStatus};

/// Writing to a String cannot fail.
macro_rules! line {
    ($to:expr, $($argument:tt)*) => {{ let _ = writeln!($to, $($argument)*); }};
}

pub(super) fn report(explanation: &Explanation, cause: &RootCause, basis: &str, experts: &[ExpertReport]) -> String {
    let mut text = String::new();
    line!(text, "# Diagnosis: {}\n", escape(&cause.failure.replace('_', " ")));
    line!(text, "{}\n", escape(&explanation.summary));
    line!(text, "- **Who has to act:** {}", owner(cause.owner));
    line!(text, "- **Failure:** {}", escape(&cause.failure));
    if let Some(step) = &cause.step {
        line!(text, "- **Step:** {}", escape(step));
    }
    line!(text, "- **Confidence:** {} of 100", cause.confidence);
    let by = match (basis, experts.is_empty()) {
        ("experts", _) => "an expert's answer whose step and quotes were found in the session",
        (_, true) => "the rules alone: no expert was asked",
        _ if experts
            .iter()
            .all(|report| matches!(report.result, ExpertResult::NotAsked)) =>
        {
            "the rules alone: no LLM is configured"
        }
        _ => "the rules alone: no expert's answer held",
    };
    line!(text, "- **Based on:** {by}\n");
    line!(text, "## What happened\n\n{}\n", escape(&cause.cause));
    quotes(&mut text, cause);
    if let Some(suggestion) = &cause.suggestion {
        line!(text, "## What to change\n\n{}\n", escape(suggestion));
    }
    if let Some(diff) = &cause.diff {
        fenced(&mut text, "diff", diff);
    }
    steps(&mut text, explanation);
    if !explanation.tool_errors.is_empty() {
        line!(text, "## Tool errors\n");
        for error in &explanation.tool_errors {
            let action = error
                .action
                .as_ref()
                .map_or_else(String::new, |action| format!(".{action}"));
            line!(
                text,
                "- {} ({}): {}",
                escape(&format!("{}{action}", error.tool)),
                escape(&error.step),
                escape(&error.error)
            );
        }
        text.push('\n');
    }
    if basis == "experts" {
        let rules = &explanation.root_cause;
        line!(
            text,
            "## What the rules said\n\n{} ({}, {} of 100): {}\n",
            escape(&rules.failure),
            owner(rules.owner),
            rules.confidence,
            escape(&rules.cause)
        );
    }
    if !experts.is_empty() {
        line!(text, "## Experts\n");
        for report in experts {
            line!(text, "- **{}:** {}", escape(&report.expert), expert(&report.result));
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn quotes(text: &mut String, cause: &RootCause) {
    if cause.quotes.is_empty() {
        return;
    }
    line!(text, "## Evidence\n");
    for quote in &cause.quotes {
        line!(text, "- {}: “{}”", escape(&quote.at), escape(&quote.text));
    }
    text.push('\n');
}

fn steps(text: &mut String, explanation: &Explanation) {
    if explanation.steps.is_empty() {
        return;
    }
    line!(text, "## Expected steps\n\n| step | status | calls |\n|---|---|---|");
    for step in &explanation.steps {
        let status = match step.status {
            StepStatus::Completed => "completed",
            StepStatus::Failed => "**failed**",
            StepStatus::Missing => "**missing**",
        };
        let calls = if step.calls.is_empty() {
            "none".to_owned()
        } else {
            escape(&step.calls.join(", "))
        };
        line!(text, "| {} | {status} | {calls} |", escape(&step.step));
    }
    text.push('\n');
}

fn expert(result: &ExpertResult) -> String {
    match result {
        ExpertResult::Answered { finding, model } => format!(
            "{} ({}, {} of 100, by {}): {}",
            escape(&finding.failure),
            owner(finding.owner),
            finding.confidence,
            escape(model),
            escape(&finding.cause)
        ),
        ExpertResult::NotAsked => "not asked: no LLM is configured".to_owned(),
        ExpertResult::Rejected { reason } => format!("its answer was refused: {}", escape(reason)),
    }
}

fn owner(owner: FaultOwner) -> &'static str {
    match owner {
        FaultOwner::Agent => "the agent (its prompt or model)",
        FaultOwner::Tool => "the tool (its code)",
        FaultOwner::Environment => "the environment (flows, queues, networks)",
        FaultOwner::SystemOfRecord => "the system of record",
        FaultOwner::Caller => "the caller",
    }
}

/// Text as one line of plain words: it cannot start a block, because something of ours always stands before it.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' | '\t' => safe.push(' '),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            // `://` would become a link by itself in many renderers.
            ':' => safe.push(letter),
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' => {
                safe.push('\\');
                safe.push(letter);
            }
            letter if acts(letter) => {
                let _ = write!(safe, "\\\\u{{{:x}}}", u32::from(letter));
            }
            letter => safe.push(letter),
        }
    }
    emphasis(
        &safe
            .replace("://", "&#58;//")
            .replace("www.", "www&#46;")
            .replace("WWW.", "WWW&#46;"),
    )
}

/// An underscore inside a word is plain text; at a word's edge it would be emphasis.
fn emphasis(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut safe = String::with_capacity(text.len());
    for (index, letter) in letters.iter().enumerate() {
        let beside = |index: Option<usize>| {
            index
                .and_then(|index| letters.get(index))
                .is_some_and(|c| c.is_alphanumeric())
        };
        if *letter == '_' && !(beside(index.checked_sub(1)) && beside(Some(index + 1))) {
            safe.push('\\');
        }
        safe.push(*letter);
    }
    safe
}

/// Acts on a terminal or on the eye instead of being seen.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A block of code: its fence is longer than any inside it.
fn fenced(text: &mut String, language: &str, code: &str) {
    let mut longest = 0;
    let mut run = 0;
    for letter in code.chars() {
        run = if letter == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest.max(2) + 1);
    let safe: String = code
        .chars()
        .filter(|letter| matches!(letter, '\n' | '\t') || !acts(*letter))
        .collect();
    // `<` stays out even of code: some readers show Markdown as HTML without rendering it.
    let safe = safe.replace('&', "&amp;").replace('<', "&lt;");
    line!(text, "{fence}{language}\n{}\n{fence}\n", safe.trim_end());
}
