//! Where words stand in a session: finds them for the rules, and holds an expert's quotes against them.

use serde_json::Value;

use super::Quote;
use crate::domain::{
    compare::fold,
    transcript::{Speaker, ToolCall, Transcript, Turn},
};

/// Characters of a quote: enough to recognise the place, short enough for a report.
const LONGEST: usize = 300;

/// Words compared without white space and case: a model wraps lines and re-indents JSON, and means the same words.
pub(super) fn squash(text: &str) -> String {
    fold(text).chars().filter(|letter| !letter.is_whitespace()).collect()
}

/// Every text inside a value, depth first.
pub(super) fn texts(value: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    collect(value, &mut found);
    found
}

fn collect<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Object(members) => members.values().for_each(|member| collect(member, into)),
        _ => {}
    }
}

/// Whether the words stand in a call's arguments, result or error.
pub(super) fn call_says(call: &ToolCall, words: &str) -> bool {
    let words = squash(words);
    if words.is_empty() {
        return false;
    }
    [&call.input, &call.output].into_iter().any(|value| {
        texts(value).into_iter().any(|text| squash(text).contains(&words))
            || squash(&value.to_string()).contains(&words)
    }) || call
        .error
        .as_deref()
        .is_some_and(|error| squash(error).contains(&words))
}

/// Whether the words stand in a turn.
pub(super) fn turn_says(turn: &Turn, words: &str) -> bool {
    let words = squash(words);
    !words.is_empty() && squash(&turn.text).contains(&words)
}

/// The turn that a quote's `at` names: `turn 4`.
pub(super) fn turn_at<'a>(transcript: &'a Transcript, at: &str) -> Option<&'a Turn> {
    let number = at
        .trim()
        .strip_prefix("turn")
        .or_else(|| at.trim().strip_prefix("Turn"))?;
    let index: u32 = number.trim().parse().ok()?;
    transcript.turns.iter().find(|turn| turn.index == index)
}

/// Words of one speaker as a quote of the turn that holds them.
pub(super) fn spoken(transcript: &Transcript, speaker: Speaker, words: &str) -> Option<Quote> {
    let turn = transcript
        .turns
        .iter()
        .find(|turn| turn.speaker == speaker && turn_says(turn, words))?;
    Some(Quote {
        at: format!("turn {}", turn.index),
        text: head(words),
    })
}

/// What a call says of its failure, as a quote: the tool's own words where they are found, else its first text.
pub(super) fn of_error(call: &ToolCall, error: &str) -> Option<Quote> {
    let wanted = squash(error);
    let found = texts(&call.output).into_iter().find(|text| {
        let text = squash(text);
        // Short texts ("no") are in every sentence.
        text.len() >= 8 && (wanted.contains(&text) || (!wanted.is_empty() && text.contains(&wanted)))
    });
    let words = match found {
        Some(words) => words.to_owned(),
        None if call_says(call, error) => error.to_owned(),
        None => return of_output(call),
    };
    quote(call, &words)
}

/// The beginning of a call's result, as a quote.
pub(super) fn of_output(call: &ToolCall) -> Option<Quote> {
    match &call.output {
        Value::Null => None,
        Value::String(text) => quote(call, text),
        other => quote(call, &other.to_string()),
    }
}

/// The beginning of a call's arguments, as a quote.
pub(super) fn of_input(call: &ToolCall) -> Option<Quote> {
    match &call.input {
        Value::Null => None,
        Value::String(text) => quote(call, text),
        other => quote(call, &other.to_string()),
    }
}

/// A value that stands in a call, as a quote of it.
pub(super) fn of_value(call: &ToolCall, value: &Value) -> Option<Quote> {
    let words = match value {
        Value::String(text) => text.clone(),
        Value::Null => return None,
        other => other.to_string(),
    };
    if call_says(call, &words) {
        quote(call, &words)
    } else {
        None
    }
}

fn quote(call: &ToolCall, words: &str) -> Option<Quote> {
    let text = head(words);
    (!text.trim().is_empty()).then(|| Quote {
        at: call.step.clone(),
        text,
    })
}

/// Cut without a mark: the mark would not be in the session.
fn head(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}
