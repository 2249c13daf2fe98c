//! A claim: what a tool call says of a record. A tool's OK is never a success by itself; the system of record decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    compare::Rule,
    playbook::{ClaimEffect, ClaimRule, Playbook},
    reading::Operation,
    transcript::{ToolCall, Transcript},
};

/// More items than this of one call are left out: no caller has so many wishes, a runaway tool may.
const MOST_ITEMS: usize = 500;

/// What the call says it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It wrote.
    Write(Operation),
    /// It only read: what the record held at that time.
    Read,
}

/// How far the call got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// The tool says it is done.
    Done,
    /// Accepted but not done yet (queued): to be looked for, not a success.
    Promised,
    /// The tool says it failed.
    Failed {
        /// The tool's words.
        error: String,
    },
}

/// One tool call's word on one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Id of the playbook's `[[claim]]` rule.
    pub rule: String,
    /// The tool call.
    pub step: String,
    /// Position of the call among the session's tool calls, from 1.
    pub order: u32,
    /// What it did.
    pub effect: Effect,
    /// How far it got.
    pub state: ClaimState,
    /// Kind of the record.
    pub record: String,
    /// Id of the record, where the call gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Values that the call wrote or read, by the playbook's field names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
    /// Values that the call says the record holds besides: they should be there, but they are no wish.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reported: BTreeMap<String, Value>,
    /// Further values that a lookup needs (a patient's id for an appointment), by the playbook's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
}

impl Claim {
    /// It wrote, or tried to.
    pub fn is_write(&self) -> bool {
        matches!(self.effect, Effect::Write(_))
    }

    /// The operation that it wrote, or tried.
    pub fn operation(&self) -> Option<Operation> {
        match self.effect {
            Effect::Write(operation) => Some(operation),
            Effect::Read => None,
        }
    }
}

/// More claims than these are left out, the latest first: matching them costs the square of their number.
const MOST_CLAIMS: usize = 2000;

/// Everything that the calls claim, in the order of the calls.
pub fn claims(playbook: &Playbook, transcript: &Transcript) -> Vec<Claim> {
    let mut claims = Vec::new();
    for call in &transcript.calls {
        let mut document = None;
        for rule in playbook.claims.iter().filter(|rule| fits(rule, call)) {
            let document = document.get_or_insert_with(|| document_of(call));
            if rule.when.as_ref().is_none_or(|when| when.holds(document)) {
                claims_of(playbook, rule, call, document, &mut claims);
            }
        }
        if claims.len() >= MOST_CLAIMS {
            claims.truncate(MOST_CLAIMS);
            break;
        }
    }
    claims
}

fn fits(rule: &ClaimRule, call: &ToolCall) -> bool {
    rule.tool == call.tool
        && (rule.actions.is_empty() || call.action.as_ref().is_some_and(|action| rule.actions.contains(action)))
}

/// What a rule's paths and conditions see of a call. Input and output are always objects: a text is `{text}`, a list
/// `{list}`, anything else `{value}`, so that a condition can ask for a member without asking for the type first.
fn document_of(call: &ToolCall) -> Value {
    let object = |value: &Value| match value {
        Value::Object(_) => value.clone(),
        Value::String(text) => json!({"text": text}),
        Value::Array(_) => json!({"list": value}),
        Value::Null => json!({}),
        other => json!({"value": other}),
    };
    json!({
        "call": {
            "tool": call.tool, "action": call.action, "name": call.name, "error": call.error, "turn": call.turn,
            "order": call.order,
        },
        "input": object(&call.input),
        "output": object(&call.output),
        "item": null,
        "index": 0,
    })
}

fn claims_of(playbook: &Playbook, rule: &ClaimRule, call: &ToolCall, document: &mut Value, into: &mut Vec<Claim>) {
    let items: Vec<Value> = match &rule.each {
        Some(path) => path.all(document).into_iter().take(MOST_ITEMS).cloned().collect(),
        None => vec![Value::Null],
    };
    for (index, item) in items.into_iter().enumerate() {
        document["item"] = item;
        document["index"] = index.into();
        if rule.only.as_ref().is_none_or(|only| only.holds(document)) {
            into.push(claim_of(playbook, rule, call, document));
        }
    }
    document["item"] = Value::Null;
    document["index"] = 0.into();
}

fn claim_of(playbook: &Playbook, rule: &ClaimRule, call: &ToolCall, document: &Value) -> Claim {
    let failed = match &rule.failed {
        Some(condition) => condition.holds(document),
        None => call.error.is_some(),
    };
    let state = if failed {
        let words = rule
            .error
            .get(document)
            .and_then(|value| value.as_str().map(str::to_owned));
        let error = words.or_else(|| call.error.clone());
        ClaimState::Failed {
            error: error.unwrap_or_else(|| "the tool says that it failed".to_owned()),
        }
    } else if rule.promised.as_ref().is_some_and(|promised| promised.holds(document)) {
        ClaimState::Promised
    } else {
        ClaimState::Done
    };
    let subject = rule.subject.get(document).and_then(|value| match value {
        Value::String(text) => Some(super::compare::squeeze(&text)),
        _ => None,
    });
    Claim {
        rule: rule.id.clone(),
        step: call.step.clone(),
        order: call.order,
        effect: match rule.effect {
            ClaimEffect::Write(operation) => Effect::Write(operation),
            ClaimEffect::Read => Effect::Read,
        },
        state,
        record: rule.record.clone(),
        id: rule.record_id.get_id(document),
        subject: subject.filter(|subject| !subject.is_empty()),
        fields: rule
            .fields
            .iter()
            .filter_map(|(name, source)| Some((name.clone(), source.get(document)?)))
            .collect(),
        reported: shown(playbook, rule, document),
        keys: rule
            .keys
            .iter()
            .filter_map(|(name, source)| Some((name.clone(), source.get_id(document)?)))
            .collect(),
    }
}

/// The record's fields in the record that the call's answer shows.
fn shown(playbook: &Playbook, rule: &ClaimRule, document: &Value) -> BTreeMap<String, Value> {
    let record = playbook.record(&rule.record);
    let shown = rule
        .shows
        .as_ref()
        .and_then(|shows| shows.get(document))
        .filter(Value::is_object);
    let (Some(record), Some(shown)) = (record, shown) else {
        return BTreeMap::new();
    };
    let mut fields = BTreeMap::new();
    for field in record
        .fields
        .iter()
        .filter(|field| !matches!(field.compare, Rule::Lacks(_)))
    {
        if let Some(value) = field.of(&shown) {
            fields.insert(field.name.clone(), value);
        }
    }
    fields
}

#[cfg(test)]
mod tests;
