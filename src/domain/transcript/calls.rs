//! Tool calls: found by type or by name, counted once however many spans wrap them, with what went wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{ToolCall, decode::decode, is_internal};
use crate::domain::{
    observation::{Observation, Snapshot},
    playbook::{Playbook, Tool, is_blank},
};

/// Longer error words are cut: they are kept with the verdict.
const LONGEST_ERROR: usize = 500;

/// Above so many calls of one tool in one trace, wrappers are no longer looked for: it costs the square of their number.
const MOST_COMPARED: usize = 500;

struct Candidate<'a> {
    observation: &'a Observation,
    tool: String,
    action: Option<String>,
    input: Value,
    output: Value,
    error: Option<String>,
}

/// The session's calls in order.
pub(super) fn of(snapshot: &Snapshot, playbook: &Playbook, turn_of_trace: &BTreeMap<&str, u32>) -> Vec<ToolCall> {
    let mut candidates = Vec::new();
    for observation in &snapshot.observations {
        if !is_internal(playbook, observation) {
            candidates.extend(observed(observation, playbook));
        }
    }
    let parents: BTreeMap<&str, &str> = snapshot
        .observations
        .iter()
        .filter_map(|observation| Some((observation.id.as_str(), observation.parent_observation_id.as_deref()?)))
        .collect();
    let mut of_trace: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        of_trace
            .entry((&candidate.observation.trace_id, &candidate.tool))
            .or_default()
            .push(at);
    }
    let mut kept: Vec<bool> = vec![true; candidates.len()];
    for together in of_trace.values().filter(|together| together.len() <= MOST_COMPARED) {
        for &at in together {
            let wrapper = together.iter().any(|&other| {
                at != other && kept[other] && wraps(&candidates[at], &candidates[other], at > other, &parents)
            });
            kept[at] = !wrapper;
        }
    }
    let mut flags = kept.into_iter();
    candidates.retain(|_| flags.next().unwrap_or(true));
    let from_chat = called_in_chat(snapshot, playbook, &candidates);
    candidates.extend(from_chat);
    candidates.sort_by_key(|candidate| (candidate.observation.start_time, candidate.observation.last_activity()));
    let mut calls = Vec::new();
    for (at, candidate) in candidates.into_iter().enumerate() {
        let observation = candidate.observation;
        let tool = playbook.tools.iter().find(|tool| tool.name == candidate.tool);
        calls.push(ToolCall {
            writes: tool.is_some_and(|tool| tool.writes_when(candidate.action.as_deref())),
            step: observation.id.clone(),
            order: u32::try_from(at + 1).unwrap_or(u32::MAX),
            turn: turn_of_trace.get(observation.trace_id.as_str()).copied().unwrap_or(0),
            tool: candidate.tool,
            action: candidate.action,
            name: observation.name.clone(),
            input: candidate.input,
            output: candidate.output,
            error: candidate.error,
            started_at: observation.start_time,
            latency_ms: observation
                .end_time
                .and_then(|end| u64::try_from((end - observation.start_time).num_milliseconds()).ok()),
        });
    }
    calls
}

fn observed<'a>(observation: &'a Observation, playbook: &Playbook) -> Option<Candidate<'a>> {
    let tool = playbook.tool_of(&observation.name);
    if tool.is_none() && observation.kind != "TOOL" {
        return None;
    }
    let (input, output) = (decode(&observation.input), decode(&observation.output));
    let error = error_of(observation, tool, &input, &output);
    Some(Candidate {
        observation,
        tool: tool.map_or_else(|| observation.name.clone(), |tool| tool.name.clone()),
        action: tool.and_then(|tool| action_of(tool, &input, &output)),
        input,
        output,
        error,
    })
}

/// `one` is a span around `other`, or the same call reported twice.
fn wraps(one: &Candidate<'_>, other: &Candidate<'_>, later: bool, parents: &BTreeMap<&str, &str>) -> bool {
    let same_input = one.input == other.input;
    let same_output = one.output == other.output;
    if is_ancestor(&one.observation.id, &other.observation.id, parents) {
        return same_input || same_output && !is_blank(&one.output) || is_blank(&one.input);
    }
    // Beside each other, begun at once, with the same words both ways: one call, reported twice. The first is kept.
    same_input && same_output && later && one.observation.start_time == other.observation.start_time
}

fn is_ancestor(ancestor: &str, of: &str, parents: &BTreeMap<&str, &str>) -> bool {
    let mut at = of;
    // Hostile traces may be their own ancestors.
    for _ in 0..64 {
        match parents.get(at) {
            Some(parent) if *parent == ancestor => return ancestor != of,
            Some(parent) => at = parent,
            None => return false,
        }
    }
    false
}

fn action_of(tool: &Tool, input: &Value, output: &Value) -> Option<String> {
    let document = json!({"input": input, "output": output});
    let spelled = tool.action.as_ref()?.get(&document)?;
    let spelled = spelled.as_str()?.trim();
    Some(
        tool.actions
            .get(&spelled.to_lowercase())
            .cloned()
            .unwrap_or_else(|| spelled.to_owned()),
    )
}

/// Why a call failed, in the tool's words where it has any.
fn error_of(observation: &Observation, tool: Option<&Tool>, input: &Value, output: &Value) -> Option<String> {
    let message = || {
        let message = observation.status_message.as_deref().map(str::trim);
        message.filter(|message| !message.is_empty()).map(cut)
    };
    let marked = || {
        let is_error = observation.level.eq_ignore_ascii_case("ERROR");
        is_error.then(|| "the call is marked as an error".to_owned())
    };
    words_of(output)
        .or_else(message)
        .or_else(|| signs_of(output))
        .or_else(marked)
        .or_else(|| failed_by_rule(tool, input, output))
}

/// The tool's own words on its failure.
fn words_of(output: &Value) -> Option<String> {
    let told = output.as_object().and_then(|members| {
        ["error", "errorMessage", "_debug_error"]
            .iter()
            .find_map(|key| error_words(members.get(*key)?))
    });
    let text = || output.as_str().map(str::trim).filter(|text| text.starts_with("Error"));
    told.or_else(|| text().map(cut))
}

/// An answer that says without words that it is a failure.
fn signs_of(output: &Value) -> Option<String> {
    if output.get("success") == Some(&Value::Bool(false)) {
        let words = output
            .get("message")
            .and_then(Value::as_str)
            .filter(|text| !text.trim().is_empty());
        return Some(words.map_or_else(|| "the tool answered success: false".to_owned(), cut));
    }
    http_status(output).map(|status| format!("the tool answered HTTP status {status}"))
}

fn failed_by_rule(tool: Option<&Tool>, input: &Value, output: &Value) -> Option<String> {
    let rule = tool.and_then(|tool| tool.failed.as_ref())?;
    let document = json!({"input": input, "output": output});
    rule.holds(&document)
        .then(|| "the tool's answer is a failure by the playbook".to_owned())
}

fn error_words(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("the tool answered error: true".to_owned()),
        Value::String(text) => (!text.trim().is_empty()).then(|| cut(text.trim())),
        Value::Object(members) => {
            let message = members.get("message").and_then(Value::as_str);
            Some(message.map_or_else(|| cut(&value.to_string()), cut))
        }
        Value::Array(items) => (!items.is_empty()).then(|| cut(&value.to_string())),
        Value::Number(number) => (number.as_f64() != Some(0.0)).then(|| format!("error {number}")),
    }
}

fn http_status(output: &Value) -> Option<u64> {
    let members = output.as_object()?;
    ["status", "statusCode", "status_code", "httpStatus", "http_status"]
        .iter()
        .find_map(|key| members.get(*key)?.as_u64())
        .filter(|status| (400..600).contains(status))
}

fn cut(text: &str) -> String {
    if text.len() <= LONGEST_ERROR {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONGEST_ERROR)])
}

/// Calls that are known only from chat messages: `tool_calls` of a generation whose tool was not traced itself.
fn called_in_chat<'a>(snapshot: &'a Snapshot, playbook: &Playbook, seen: &[Candidate<'_>]) -> Vec<Candidate<'a>> {
    let mut calls = Vec::new();
    let mut taken = BTreeSet::new();
    let mut results: Option<BTreeMap<String, Value>> = None;
    let traced: BTreeSet<(&str, &str)> = seen
        .iter()
        .map(|call| (call.observation.trace_id.as_str(), call.tool.as_str()))
        .collect();
    for observation in snapshot
        .observations
        .iter()
        .filter(|observation| observation.kind == "GENERATION")
    {
        let output = decode(&observation.output);
        let message = output.pointer("/choices/0/message").unwrap_or(&output);
        for call in message
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let Some(name) = call.pointer("/function/name").and_then(Value::as_str) else {
                continue;
            };
            let input = call.pointer("/function/arguments").cloned().unwrap_or(Value::Null);
            let tool = playbook.tool_of(name);
            let our_name = tool.map_or_else(|| name.to_owned(), |tool| tool.name.clone());
            let id = call.get("id").and_then(Value::as_str).unwrap_or_default();
            if traced.contains(&(observation.trace_id.as_str(), our_name.as_str()))
                || tool.is_none()
                || !id.is_empty() && !taken.insert(id.to_owned())
            {
                continue;
            }
            let results = results.get_or_insert_with(|| chat_results(snapshot));
            let output = results.get(id).cloned().unwrap_or(Value::Null);
            let error = words_of(&output)
                .or_else(|| signs_of(&output))
                .or_else(|| failed_by_rule(tool, &input, &output));
            calls.push(Candidate {
                observation,
                action: tool.and_then(|tool| action_of(tool, &input, &output)),
                tool: our_name,
                input,
                output,
                error,
            });
        }
    }
    calls
}

/// Tools' answers in the chat messages that later generations were given, by call id.
fn chat_results(snapshot: &Snapshot) -> BTreeMap<String, Value> {
    let mut results = BTreeMap::new();
    for observation in snapshot
        .observations
        .iter()
        .filter(|observation| observation.kind == "GENERATION")
    {
        let input = decode(&observation.input);
        let messages = input
            .as_array()
            .or_else(|| input.get("messages").and_then(Value::as_array));
        for message in messages.into_iter().flatten() {
            if message.get("role").and_then(Value::as_str) == Some("tool")
                && let Some(id) = message.get("tool_call_id").and_then(Value::as_str)
            {
                results.insert(id.to_owned(), message.get("content").cloned().unwrap_or(Value::Null));
            }
        }
    }
    results
}
