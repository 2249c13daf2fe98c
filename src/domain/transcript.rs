//! What was said and done in a session: turns and tool calls, in order, internal steps left out.
//!
//! Applications trace the same thing in many shapes; `turns` and `calls` know them, `decode` undoes JSON inside texts.
//! Everything here is hostile input: it is read, never obeyed, and nothing in it can make this fail.

mod calls;
mod decode;
mod turns;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    observation::{Observation, Snapshot},
    playbook::Playbook,
};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The person.
    Caller,
    /// The AI agent.
    Agent,
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Position in the conversation, from 1: what a reading's `turn` cites.
    pub index: u32,
    /// Who said it.
    pub speaker: Speaker,
    /// The words, without machine payload.
    pub text: String,
    /// The trace that it came from.
    pub trace_id: String,
    /// When it was said, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
}

/// One call of a tool by the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Id of the observation: the step id that a diagnosis cites.
    pub step: String,
    /// Position among the session's tool calls, from 1.
    pub order: u32,
    /// Index of the last turn before it; 0 when nothing was said yet.
    pub turn: u32,
    /// The playbook's name of the tool; the observation's name where the playbook knows none.
    pub tool: String,
    /// The playbook's name of the action, where the tool has actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// It changes something, by the playbook.
    #[serde(default)]
    pub writes: bool,
    /// The observation's own name.
    pub name: String,
    /// Arguments; a string inside a string is decoded.
    pub input: Value,
    /// Result; a string inside a string is decoded.
    pub output: Value,
    /// Why it failed; `None` when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took, in milliseconds, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
}

/// A session as people and rules read it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Transcript {
    /// What was said.
    pub turns: Vec<Turn>,
    /// What was done.
    pub calls: Vec<ToolCall>,
}

impl Transcript {
    /// Reads a snapshot: traces in order of their start, in each the caller's words, the calls, the agent's words.
    pub fn of(snapshot: &Snapshot, playbook: &Playbook) -> Self {
        let mut conversation = turns::Conversation::default();
        let mut turn_of_trace: BTreeMap<&str, u32> = BTreeMap::new();
        for trace in traces(snapshot) {
            let spoken = turns::of_trace(&trace, playbook);
            let added = conversation.add(&trace, spoken);
            for turn in turn_of_trace.values_mut() {
                *turn = turn.saturating_add(added.shift);
            }
            turn_of_trace.insert(trace[0].trace_id.as_str(), added.before_calls);
        }
        let calls = calls::of(snapshot, playbook, &turn_of_trace);
        Self {
            turns: conversation.turns,
            calls,
        }
    }

    /// When a turn was said: what "tomorrow" in it is counted from. Where its own time is not known, that of what came
    /// before it, else the session's first. A session that is resumed days later has a day of its own for each part.
    pub fn said_at(&self, turn: Option<u32>) -> Option<DateTime<Utc>> {
        let said = self.turns.iter().filter_map(|turn| Some((turn.index, turn.at?)));
        let called = self
            .calls
            .iter()
            .map(|call| (call.turn.saturating_add(1), call.started_at));
        let own = || said.clone().find(|(index, _)| Some(*index) == turn).map(|(_, at)| at);
        let earlier = || {
            let known = said.clone().chain(called.clone());
            known
                .filter(|(index, _)| turn.is_some_and(|turn| *index <= turn))
                .map(|(_, at)| at)
                .max()
        };
        let first = || said.clone().chain(called.clone()).map(|(_, at)| at).min();
        own().or_else(earlier).or_else(first)
    }
}

/// The observations of each trace, traces in order of their earliest start.
fn traces(snapshot: &Snapshot) -> Vec<Vec<&Observation>> {
    let mut by_id: BTreeMap<&str, Vec<&Observation>> = BTreeMap::new();
    for observation in &snapshot.observations {
        by_id.entry(&observation.trace_id).or_default().push(observation);
    }
    let mut traces: Vec<Vec<&Observation>> = by_id.into_values().collect();
    for trace in &mut traces {
        // Parents come first where they begin at the same instant as their children.
        trace.sort_by_key(|observation| (observation.start_time, std::cmp::Reverse(observation.last_activity())));
    }
    traces.sort_by(|a, b| (a[0].start_time, &a[0].trace_id).cmp(&(b[0].start_time, &b[0].trace_id)));
    traces
}

/// Observations that are the framework's own plumbing.
fn is_internal(playbook: &Playbook, observation: &Observation) -> bool {
    playbook
        .head
        .internal_steps
        .iter()
        .any(|glob| glob.matches(&observation.name))
}

#[cfg(test)]
mod tests;
