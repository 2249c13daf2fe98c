//! The sections of a playbook, as the engine uses them: everything is compiled, every name resolves.
//!
//! `docs/playbooks.md` is the reference for people; the two say the same.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use serde_json::{Value, json};
use wildmatch::WildMatch;

use super::expression::{Expression, Path, Source};
use crate::domain::{
    compare::Rule,
    lookup::RecordLookup,
    reading::{Operation, Says},
};

/// `[playbook]`: what holds for the whole domain.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its name: stored with each verdict.
    pub name: String,
    /// Its version: stored with each verdict.
    pub version: u32,
    /// One sentence for people and for an LLM reader.
    pub description: String,
    /// Zone of instants that carry none.
    pub timezone: Tz,
    /// Region of phone numbers that carry no country code, as its calling code (`1`).
    pub calling_code: String,
    /// Observations to leave out of the transcript.
    pub internal_steps: Vec<WildMatch>,
    /// What a session is made of when it is summed up.
    pub roll_up: RollUp,
    /// Fewer turns cannot be judged.
    pub min_turns: usize,
    /// What a subject is called in a summary (`child`).
    pub subject: String,
    /// The plural of it.
    pub subjects: String,
    /// The intent's detail that lists the subjects named.
    pub subject_detail: Option<String>,
    /// What whoever has no subject is called in a summary (`parent`).
    pub responsible: String,
    /// Other spellings of first names.
    pub nicknames: BTreeMap<String, Vec<String>>,
    /// Told to an LLM reader.
    pub reader_hints: String,
}

/// What a session is made of when it is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollUp {
    /// Each finding counts.
    Request,
    /// Findings are gathered by subject; those without one count only where no subject has any.
    Subject,
}

/// `[phrases]`: what the offline reader recognises, in lower case.
#[derive(Debug, Clone, Default)]
pub struct Phrases {
    /// Agent: it is done.
    pub done: Vec<String>,
    /// Agent: it will be done.
    pub promised: Vec<String>,
    /// Agent: it was tried and did not work.
    pub failed: Vec<String>,
    /// Agent: it cannot or may not be done.
    pub declined: Vec<String>,
    /// Caller: takes it back.
    pub withdrawn: Vec<String>,
}

impl Phrases {
    /// The agent's phrases by what they say.
    pub fn of(&self, says: Says) -> &[String] {
        match says {
            Says::Done => &self.done,
            Says::Promised => &self.promised,
            Says::Failed => &self.failed,
            Says::Declined => &self.declined,
        }
    }
}

/// `[[tool]]`: a tool of the agent, by whatever names its observations bear.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Our name of it.
    pub name: String,
    /// Names of observations, as globs.
    pub matches: Vec<WildMatch>,
    /// Where a call says which action it takes, in `input` or `output`.
    pub action: Option<Source>,
    /// Our name of an action, by every spelling in lower case.
    pub actions: BTreeMap<String, String>,
    /// Actions that write.
    pub writes: Vec<String>,
    /// Every call writes: a tool without actions.
    pub always_writes: bool,
    /// Calling it hands the caller to a person: what was asked is declined.
    pub escalates: bool,
    /// Calls that failed although nothing else shows it.
    pub failed: Option<Expression>,
}

impl Tool {
    /// Whether a call of it with this action changes something.
    pub fn writes_when(&self, action: Option<&str>) -> bool {
        self.always_writes || action.is_some_and(|action| self.writes.iter().any(|writes| writes == action))
    }
}

/// `[[intent]]`: something that callers want.
#[derive(Debug, Clone)]
pub struct Intent {
    /// Its name.
    pub name: String,
    /// For people and for an LLM reader.
    pub description: String,
    /// Whether there is something to verify.
    pub verify: bool,
    /// Status when everything was declined.
    pub declined_is_fail: bool,
    /// What it asks for when the reader names nothing more exact.
    pub calls_for: Vec<CallsFor>,
    /// Words of a caller that point to it, in lower case.
    pub signals: Vec<String>,
    /// Tool actions that point to it: `schedule.book_child`, or `cancel_reservation` for a tool without actions.
    pub tools: Vec<ToolAction>,
    /// What a reader should find beside the requests: name and description.
    pub details: BTreeMap<String, String>,
    /// Tool calls that it takes.
    pub steps: Vec<Step>,
}

/// An operation on a kind of record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallsFor {
    /// What should happen.
    pub operation: Operation,
    /// To which kind of record.
    pub record: String,
}

/// A tool, and one of its actions where it has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolAction {
    /// The tool.
    pub tool: String,
    /// The action; any when `None`.
    pub action: Option<String>,
}

/// `[[intent.step]]`: a tool call that an intent takes.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its id.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// Any of these actions; any at all when empty.
    pub actions: Vec<String>,
    /// Once for each subject.
    pub per_subject: bool,
    /// Not missed when absent.
    pub optional: bool,
}

/// What a `[[claim]]` says of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimEffect {
    /// Writes it.
    Write(Operation),
    /// Reads it.
    Read,
}

/// `[[claim]]`: which tool call claims which record.
#[derive(Debug, Clone)]
pub struct ClaimRule {
    /// Its id.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// Any of these actions; any at all when empty.
    pub actions: Vec<String>,
    /// Only calls of which this holds.
    pub when: Option<Expression>,
    /// One claim for each of these; one for the call without it.
    pub each: Option<Path>,
    /// Only items of which this holds.
    pub only: Option<Expression>,
    /// Kind of the record.
    pub record: String,
    /// What it says of it.
    pub effect: ClaimEffect,
    /// Where the record's id is.
    pub record_id: Source,
    /// For whom.
    pub subject: Source,
    /// Values that a lookup needs.
    pub keys: BTreeMap<String, Source>,
    /// Values written or read.
    pub fields: BTreeMap<String, Source>,
    /// Where the call's answer shows the record as it then is.
    pub shows: Option<Source>,
    /// Accepted but not done yet.
    pub promised: Option<Expression>,
    /// Failed; without it, a call with an error failed.
    pub failed: Option<Expression>,
    /// The tool's words on a failure.
    pub error: Source,
    /// A step on the way to records of these kinds: not a wish of its own.
    pub supports: Vec<String>,
}

/// How a lookup's key is found where the claim does not hold it.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The id of another kind's record of the same subject.
    Record(String),
    /// CEL over `subject`, `fields`, `keys`.
    Value(Expression),
}

/// `[[record]]`: a kind of record, where it is kept and how it is compared.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its name.
    pub kind: String,
    /// For people and for an LLM reader.
    pub description: String,
    /// Name of the configured system of record.
    pub system: String,
    /// How it is asked for.
    pub lookup: Option<RecordLookup>,
    /// Keys that the lookup needs beside the session: without them it cannot be asked.
    pub needs: Vec<String>,
    /// The lookup needs the record's id.
    pub needs_id: bool,
    /// The lookup names the session.
    pub names_session: bool,
    /// The records in the answer, where it is a list: the first path that selects any.
    pub each: Vec<Path>,
    /// Where a record carries its id.
    pub id: Source,
    /// Fields of a request that hold the record's id.
    pub id_fields: Vec<String>,
    /// How keys are found.
    pub keys: BTreeMap<String, KeySource>,
    /// A record of which this holds counts as not there.
    pub absent: Option<Expression>,
    /// A record of which this holds is cancelled.
    pub cancelled: Option<Expression>,
    /// Changing one may mean cancelling it and creating another.
    pub replaceable: bool,
    /// Its fields.
    pub fields: Vec<Field>,
}

fn holds_of(condition: Option<&Expression>, record: &Value) -> bool {
    condition.is_some_and(|condition| condition.holds(&json!({"record": record})))
}

impl Record {
    /// Whether a record counts as not there.
    pub fn is_absent(&self, record: &Value) -> bool {
        holds_of(self.absent.as_ref(), record)
    }

    /// Whether a record is in a cancelled state.
    pub fn is_cancelled(&self, record: &Value) -> bool {
        holds_of(self.cancelled.as_ref(), record)
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// `[[record.field]]`: one field of a record.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name, in readings, claims and verdicts.
    pub name: String,
    /// For people and for an LLM reader.
    pub description: String,
    /// Where the record keeps it; variables of the expression: `record`.
    pub source: Source,
    /// How it is compared.
    pub compare: Rule,
    /// Operations by which it is stored: on others it is not compared.
    pub stored_on: Vec<Operation>,
    /// Says how a request is carried out, not what is wanted: it alone ties no call to a request.
    pub incidental: bool,
    /// Tells one record of a list from another.
    pub identifies: bool,
}

impl Field {
    /// The field's value in a record, `None` where it is not there.
    pub fn of(&self, record: &Value) -> Option<Value> {
        // The record's own members stand at the root of its paths; an expression calls it `record`.
        let computed = self
            .source
            .value
            .as_ref()
            .and_then(|value| value.value(&json!({"record": record})));
        computed.or_else(|| {
            let paths = Source {
                value: None,
                ..self.source.clone()
            };
            paths.get(record)
        })
    }
}

/// `[[search]]`: finds records of a kind whose id is not known.
#[derive(Debug, Clone)]
pub struct Search {
    /// Its name: the `record` of its lookups.
    pub name: String,
    /// Kind of the records found.
    pub record: String,
    /// Name of the configured system of record.
    pub system: String,
    /// How it is asked for.
    pub lookup: Option<RecordLookup>,
    /// The lookup names the session.
    pub names_session: bool,
    /// Keys by CEL over `subject`, `fields`, `keys`.
    pub keys: BTreeMap<String, Expression>,
    /// Keys that it does without where nothing gives them.
    pub optional: BTreeSet<String>,
    /// The records in the answer: the first path that selects any; the answer itself without one.
    pub each: Vec<Path>,
    /// Field of the record that must match the subject; any hit otherwise.
    pub subject_field: Option<String>,
}

/// `[[effect]]`: what an operation on one kind of record does to another (a booking charges the user's account).
#[derive(Debug, Clone)]
pub struct EffectRule {
    /// Its id.
    pub id: String,
    /// Kind of the record written.
    pub of: String,
    /// By which operations; any when empty.
    pub operations: Vec<Operation>,
    /// Only where this holds of `want`, `did`, `before`, `record`, `id`.
    pub when: Option<Expression>,
    /// Kind of the record touched.
    pub record: String,
    /// Its id.
    pub record_id: Source,
    /// What it must hold.
    pub fields: BTreeMap<String, Source>,
    /// Fields that must be as a call last showed them.
    pub keeps: Vec<String>,
    /// The same, as long as the session writes nothing else.
    pub undisturbed: Vec<String>,
    /// Fields of the record written that decide what happens to the record touched; any when empty.
    pub by: Vec<String>,
}

/// `[[expert]]`: whom to ask why a session failed.
#[derive(Debug, Clone)]
pub struct Expert {
    /// Its id.
    pub id: String,
    /// When to ask it: CEL over [`EXPERT_VARIABLES`].
    pub when: Expression,
    /// What it is told.
    pub prompt: String,
    /// Files it may cite and change, relative to the configuration's `artifacts` directory.
    pub artifacts: Vec<String>,
}

/// What an expert's `when` may speak of.
///
/// `failed_steps`, `missing_steps`, `completed_steps`: ids of `[[intent.step]]`; `required_steps`: how many are not
/// optional; `errors`: list of `{step, tool, action, error}`; `intent`; `verdict`: the verdict as JSON; `chosen`: experts
/// chosen before this one.
pub const EXPERT_VARIABLES: [&str; 8] = [
    "failed_steps",
    "missing_steps",
    "completed_steps",
    "required_steps",
    "errors",
    "intent",
    "verdict",
    "chosen",
];

/// What a claim's expressions and paths may speak of: the call `{tool, action, name, error, turn, order}`, its input and
/// output, and with `each` the item and its index (from 0).
pub const CLAIM_VARIABLES: [&str; 5] = ["call", "input", "output", "item", "index"];
