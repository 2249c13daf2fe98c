//! A transcript as lines of JSON for a prompt: data that cannot pass for anything else, within a bound.
//!
//! Each turn and each tool call is one JSON object on one line, with `<` escaped, so that no text can fake another turn or the
//! end of the data. What is too long is cut by turns: the beginning, the end, calls that write or failed and what the caller and
//! the agent said around them are kept first, then the other calls with theirs, and every gap is marked.

use serde_json::{Map, Value, json};

use crate::{
    adapters::{
        mask::Mask,
        plain_text::{head, strip_controls},
    },
    domain::transcript::{Speaker, ToolCall, Transcript, Turn},
};

/// Turns kept at the beginning and at the end, whatever else must go.
const FIRST: usize = 4;
const LAST: usize = 6;

/// Characters of a tool's input and output when there is room.
const INPUT: usize = 800;
const OUTPUT: usize = 1_200;

enum Item<'t> {
    Turn(&'t Turn),
    Call(&'t ToolCall),
}

/// The transcript in order, in at most about `max_chars` characters.
pub(crate) fn transcript_lines(transcript: &Transcript, mask: &mut Mask, max_chars: usize) -> String {
    // Ten turns are always kept: together they take at most two thirds.
    let turn_limit = (max_chars / 16).clamp(100, 4_000);
    let items = in_order(transcript);
    let mut lines: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        lines.push(match item {
            Item::Turn(turn) => turn_line(turn, mask, turn_limit),
            Item::Call(call) => {
                let share = |limit: usize| (max_chars / 40).clamp(100, limit);
                call_line(call, mask, share(INPUT), share(OUTPUT))
            }
        });
    }
    let kept = chosen(&items, &lines, max_chars);
    let mut text = String::new();
    let mut gap = 0;
    for (line, kept) in lines.iter().zip(kept) {
        if !kept {
            gap += 1;
            continue;
        }
        if gap > 0 {
            text.push_str(&data_line(&json!({"left_out": gap})));
            gap = 0;
        }
        text.push_str(line);
    }
    if gap > 0 {
        text.push_str(&data_line(&json!({"left_out": gap})));
    }
    text
}

fn in_order(transcript: &Transcript) -> Vec<Item<'_>> {
    let mut items: Vec<Item<'_>> = Vec::with_capacity(transcript.turns.len() + transcript.calls.len());
    let mut calls = transcript.calls.iter().peekable();
    for turn in &transcript.turns {
        while let Some(call) = calls.next_if(|call| call.turn < turn.index) {
            items.push(Item::Call(call));
        }
        items.push(Item::Turn(turn));
    }
    items.extend(calls.map(Item::Call));
    items
}

/// Which lines fit: the least important go first, and of equals those in the middle.
fn chosen(items: &[Item<'_>], lines: &[String], max_chars: usize) -> Vec<bool> {
    let count = items.len();
    let around = around_calls(items);
    let mut order: Vec<(u8, usize, usize)> = Vec::with_capacity(count);
    for (position, item) in items.iter().enumerate() {
        let importance = match item {
            _ if position < FIRST || position + LAST >= count => 0,
            Item::Call(call) if matters(call) => 1,
            Item::Call(_) => 3,
            Item::Turn(_) => around[position],
        };
        order.push((importance, position.min(count - 1 - position), position));
    }
    order.sort_unstable();
    let mut kept = vec![false; count];
    let mut left = max_chars;
    for (importance, _, position) in order {
        let length = lines[position].len();
        if importance == 0 || length <= left {
            kept[position] = true;
            left = left.saturating_sub(length);
        } else if importance > 2 {
            // Not a smaller one from further in: what is kept should hang together.
            break;
        }
    }
    kept
}

/// Calls that a verdict may turn on.
fn matters(call: &ToolCall) -> bool {
    call.writes || call.error.is_some()
}

/// How important each turn is by the calls that it stands beside: 2 beside one that matters, also the caller's last words
/// before it, 3 beside another, 4 elsewhere.
fn around_calls(items: &[Item<'_>]) -> Vec<u8> {
    let mut around = vec![4_u8; items.len()];
    let mut words = |position: usize, importance: u8| {
        if let Some(at) = around.get_mut(position) {
            *at = (*at).min(importance);
        }
    };
    let mut caller = None;
    let mut turn = None;
    let mut since: Option<u8> = None;
    for (position, item) in items.iter().enumerate() {
        match item {
            Item::Turn(said) => {
                if let Some(importance) = since.take() {
                    words(position, importance);
                }
                turn = Some(position);
                if said.speaker == Speaker::Caller {
                    caller = turn;
                }
            }
            Item::Call(call) => {
                let importance = if matters(call) { 2 } else { 3 };
                for before in turn.into_iter().chain(caller) {
                    words(before, importance);
                }
                since = Some(since.map_or(importance, |since| since.min(importance)));
            }
        }
    }
    around
}

fn turn_line(turn: &Turn, mask: &mut Mask, limit: usize) -> String {
    let speaker = match turn.speaker {
        Speaker::Caller => "caller",
        Speaker::Agent => "agent",
    };
    data_line(&json!({"turn": turn.index, "speaker": speaker, "text": fit(&turn.text, mask, limit)}))
}

fn call_line(call: &ToolCall, mask: &mut Mask, input: usize, output: usize) -> String {
    let mut line = Map::new();
    line.insert("tool".to_owned(), json!(fit(&call.tool, mask, 100)));
    if let Some(action) = &call.action {
        line.insert("action".to_owned(), json!(fit(action, mask, 100)));
    }
    line.insert("step".to_owned(), json!(fit(&call.step, mask, 100)));
    line.insert("input".to_owned(), json!(fit(&as_text(&call.input), mask, input)));
    line.insert("output".to_owned(), json!(fit(&as_text(&call.output), mask, output)));
    if let Some(error) = &call.error {
        line.insert("error".to_owned(), json!(fit(error, mask, 500)));
    }
    data_line(&Value::Object(line))
}

/// A value as one line of data.
pub(crate) fn data_line(value: &Value) -> String {
    // `<` stands in JSON only inside texts, where its escape means the same.
    let mut line = value.to_string().replace('<', "\\u003c");
    line.push('\n');
    line
}

/// Cleaned, masked, bounded. Masked before the last cut, so that no half of a phone number is left over.
fn fit(text: &str, mask: &mut Mask, limit: usize) -> String {
    let clean = strip_controls(&head(text, limit.saturating_mul(4)));
    head(&mask.hide(&clean), limit)
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
