//! Turns: what caller and agent said, found in whatever shape the application traces it.

use serde_json::Value;

use super::{Speaker, Turn, decode::decode, is_internal};
use crate::domain::{compare::fold, observation::Observation, playbook::Playbook};

/// Longer histories are read from their end only.
const LONGEST_HISTORY: usize = 1000;

/// What one trace tells of the conversation.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    /// Earlier turns that the trace repeats.
    history: Vec<(Speaker, String)>,
    caller: Option<String>,
    agent: Option<String>,
}

/// Finds the words of one trace.
pub(super) fn of_trace(trace: &[&Observation], playbook: &Playbook) -> Spoken {
    let is_tool =
        |observation: &Observation| observation.kind == "TOOL" || playbook.tool_of(&observation.name).is_some();
    let is_root = |observation: &Observation| {
        observation.is_root_observation
            || observation
                .parent_observation_id
                .as_ref()
                .is_none_or(|parent| !trace.iter().any(|other| other.id == *parent))
    };
    let roots = || {
        trace
            .iter()
            .filter(|observation| is_root(observation) && !is_tool(observation))
    };
    let mut spoken = Spoken::default();
    // A framework's plumbing at the root still carries the words; it is asked last.
    let ordered = roots()
        .filter(|root| !is_internal(playbook, root))
        .chain(roots().filter(|root| is_internal(playbook, root)));
    for root in ordered {
        let input = decode(&root.input);
        if spoken.caller.is_none() {
            spoken.history = history(&input);
            spoken.caller = caller_text(&input);
        }
        if spoken.agent.is_none() {
            spoken.agent = agent_text(&decode(&root.output));
        }
    }
    let generations: Vec<&&Observation> = trace
        .iter()
        .filter(|observation| observation.kind == "GENERATION" && !is_tool(observation))
        .collect();
    if spoken.caller.is_none() && spoken.history.is_empty() {
        let longest = generations
            .iter()
            .map(|generation| history(&decode(&generation.input)))
            .max_by_key(Vec::len);
        spoken.history = longest.unwrap_or_default();
    }
    if spoken.agent.is_none() {
        spoken.agent = generations
            .iter()
            .rev()
            .find_map(|generation| agent_text(&decode(&generation.output)));
    }
    spoken
}

/// The conversation so far.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) turns: Vec<Turn>,
    /// The same, folded: every trace's history is compared with all of it.
    folded: Vec<Said>,
}

/// Where the calls of an added trace stand.
pub(super) struct Added {
    /// Index of the last turn before them.
    pub(super) before_calls: u32,
    /// How many turns were put in front of all that was known.
    pub(super) shift: u32,
}

impl Conversation {
    /// Adds a trace.
    pub(super) fn add(&mut self, trace: &[&Observation], spoken: Spoken) -> Added {
        let (prepended, appended) = news(&self.folded, &spoken.history);
        let shift = prepended.len();
        for (at, said) in prepended.into_iter().enumerate() {
            self.put(at, turn(trace, said, false));
        }
        for said in appended {
            self.put(self.turns.len(), turn(trace, said, false));
        }
        if let Some(text) = spoken.caller {
            // Message lists hold the current question as well.
            let repeated = !spoken.history.is_empty()
                && spoken
                    .history
                    .last()
                    .is_some_and(|(speaker, last)| *speaker == Speaker::Caller && fold(last) == fold(&text));
            if !repeated {
                self.put(self.turns.len(), turn(trace, (Speaker::Caller, text), true));
            }
        }
        let before_calls = self.turns.len();
        if let Some(text) = spoken.agent {
            let mut turn = turn(trace, (Speaker::Agent, text), true);
            turn.at = trace.iter().map(|observation| observation.last_activity()).max();
            self.put(self.turns.len(), turn);
        }
        for (at, turn) in self.turns.iter_mut().enumerate() {
            turn.index = u32::try_from(at + 1).unwrap_or(u32::MAX);
        }
        Added {
            before_calls: u32::try_from(before_calls).unwrap_or(u32::MAX),
            shift: u32::try_from(shift).unwrap_or(u32::MAX),
        }
    }

    fn put(&mut self, at: usize, turn: Turn) {
        self.folded.insert(at, (turn.speaker, fold(&turn.text)));
        self.turns.insert(at, turn);
    }
}

fn turn(trace: &[&Observation], (speaker, text): Said, timed: bool) -> Turn {
    Turn {
        index: 0,
        speaker,
        text,
        trace_id: trace.first().map(|first| first.trace_id.clone()).unwrap_or_default(),
        at: timed.then(|| trace.first().map(|first| first.start_time)).flatten(),
    }
}

type Said = (Speaker, String);

/// What a history tells that is not known yet: what came before the known turns, and what came after.
fn news(known: &[Said], history: &[Said]) -> (Vec<Said>, Vec<Said>) {
    if history.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let told: Vec<(Speaker, String)> = history.iter().map(|(speaker, text)| (*speaker, fold(text))).collect();
    if known.is_empty() {
        return (Vec::new(), history.to_vec());
    }
    if told.len() <= known.len() && known.windows(told.len()).any(|window| window == told) {
        return (Vec::new(), Vec::new());
    }
    if known.len() <= told.len()
        && let Some(at) = told.windows(known.len()).position(|window| window == known)
    {
        return (history[..at].to_vec(), history[at + known.len()..].to_vec());
    }
    let longest = known.len().min(told.len());
    for length in (1..=longest).rev() {
        if known[known.len() - length..] == told[..length] {
            return (Vec::new(), history[length..].to_vec());
        }
    }
    // It fits nowhere: only what was never heard is new.
    let unheard = told
        .iter()
        .zip(history)
        .filter(|(folded, _)| !known.contains(folded))
        .map(|(_, said)| said.clone())
        .collect();
    (Vec::new(), unheard)
}

/// The first text among the keys that applications use for the caller's words.
fn caller_text(input: &Value) -> Option<String> {
    match input {
        Value::String(text) => non_empty(text),
        Value::Object(members) => {
            for key in ["question", "message", "input", "text", "content"] {
                match members.get(key) {
                    Some(Value::String(text)) if !text.trim().is_empty() => return non_empty(text),
                    Some(inner @ (Value::Object(_) | Value::Array(_))) => {
                        if let Some(text) = caller_text(inner) {
                            return Some(text);
                        }
                    }
                    _ => {}
                }
            }
            members.get("messages").and_then(caller_text)
        }
        Value::Array(items) => {
            let last = items.iter().rev().find_map(said)?;
            (last.0 == Speaker::Caller).then_some(last.1)
        }
        _ => None,
    }
}

/// Turns that an input repeats: Flowise's `history`, or a list of chat messages.
fn history(input: &Value) -> Vec<Said> {
    let list = match input {
        Value::Array(items) => Some(items),
        Value::Object(members) => ["history", "chat_history", "messages"]
            .iter()
            .find_map(|key| members.get(*key).and_then(Value::as_array)),
        _ => None,
    };
    let Some(list) = list else {
        return Vec::new();
    };
    let skip = list.len().saturating_sub(LONGEST_HISTORY);
    list[skip..].iter().filter_map(said).collect()
}

/// One message of a history.
fn said(message: &Value) -> Option<Said> {
    let role = ["role", "type"].iter().find_map(|key| message.get(*key)?.as_str())?;
    let speaker = match role {
        "apiMessage" | "assistant" | "ai" => Speaker::Agent,
        "userMessage" | "user" | "human" => Speaker::Caller,
        _ => return None,
    };
    let content = ["content", "message", "text"]
        .iter()
        .find_map(|key| message.get(*key).filter(|value| !value.is_null()))?;
    let text = match speaker {
        Speaker::Agent => agent_text(content)?,
        Speaker::Caller => parts_text(content)?,
    };
    Some((speaker, text))
}

/// A text, or `OpenAI`'s list of `{type: text, text}` parts.
fn parts_text(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => non_empty(text),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            non_empty(&texts.join("\n"))
        }
        Value::Object(members) => members.get("text").and_then(parts_text),
        _ => None,
    }
}

/// The agent's words in an output.
fn agent_text(output: &Value) -> Option<String> {
    match output {
        Value::String(text) => non_empty(&without_payload(text)),
        Value::Array(_) => parts_text(output).and_then(|text| non_empty(&without_payload(&text))),
        Value::Object(members) => {
            let nested = output.pointer("/returnValues/output");
            let choice = output.pointer("/choices/0/message");
            let keys = ["text", "content", "output", "response", "message"]
                .iter()
                .filter_map(|key| members.get(*key));
            nested.into_iter().chain(keys).chain(choice).find_map(agent_text)
        }
        _ => None,
    }
}

/// `ANSWER: …`, then a line `PAYLOAD:` with machine JSON: the answer alone was spoken.
fn without_payload(text: &str) -> String {
    let mut kept = Vec::new();
    for line in text.lines() {
        let start = line.trim_start();
        if let Some(rest) = start.strip_prefix("PAYLOAD:")
            && (rest.trim().is_empty() || rest.trim_start().starts_with(['{', '[']))
        {
            break;
        }
        kept.push(line);
    }
    let answer = kept.join("\n");
    let answer = answer.trim();
    answer.strip_prefix("ANSWER:").unwrap_or(answer).trim().to_owned()
}

fn non_empty(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
