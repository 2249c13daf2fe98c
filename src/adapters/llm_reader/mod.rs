//! Has a language model read a transcript: what was asked, and what the agent said it did.
//!
//! This is the conversation alone, without IO: it says what to ask, is told the answer, and says what next. The caller asks,
//! pays, and keeps the ledger; the same answers lead to the same questions, so a crash repeats nothing that was stored.
//!
//! ```text
//! start ─► ask ─► answer ─┬─ valid ────────────────► Done
//!                         ├─ too long for the model ─► ask again with a shorter transcript (at most 3 times)
//!                         ├─ not valid ────────────► ask once more, showing the problems
//!                         └─ refused, cut, filtered, or not valid twice ─► Unusable, with the reason
//! ```
//!
//! The model never decides a pass: its reading is checked here for shape and by the caller for truth, and an item whose quote
//! is not in the transcript is dropped.

mod answer;
mod brief;
mod prompt;
mod schema;
mod transcript_text;

pub(super) use self::{
    answer::{Objection, json_object, objection, repair},
    schema::strict,
    transcript_text::{data_line, transcript_lines},
};
pub use self::{
    brief::{FieldBrief, IntentBrief, ReaderBrief, RecordBrief},
    schema::reading_schema,
};

use serde_json::Value;

use super::mask::Mask;
use crate::{
    domain::{
        reading::{Reading, UNKNOWN_INTENT},
        transcript::Transcript,
    },
    ports::{ChatAnswer, ChatMessage, ChatRequest, Finish},
};

/// How often a transcript is shortened for a model that cannot take it.
const SHORTER: u32 = 3;

/// Bounds and privacy of a conversation with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialogSettings {
    /// E-mail addresses, phone numbers, dates of birth and card numbers leave only as tokens.
    pub mask: bool,
    /// Characters of transcript in a prompt.
    pub max_chars: usize,
    /// Tokens of an answer.
    pub max_tokens: u32,
}

impl Default for DialogSettings {
    fn default() -> Self {
        Self {
            mask: true,
            max_chars: 60_000,
            max_tokens: 4_096,
        }
    }
}

/// What to do after an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Step<T> {
    /// There is a result.
    Done {
        /// The result.
        found: T,
        /// It took a second answer.
        repaired: bool,
        /// What the check dropped or changed, in words.
        notes: Vec<String>,
    },
    /// Ask this.
    Ask(ChatRequest),
    /// No result will come of it. The reason holds no words of the session.
    Unusable(String),
}

/// One reading of one transcript.
#[derive(Debug)]
pub struct ReadingDialog<'a> {
    brief: &'a ReaderBrief,
    transcript: &'a Transcript,
    settings: DialogSettings,
    mask: Mask,
    asked: ChatRequest,
    shortened: u32,
    repairing: bool,
}

impl<'a> ReadingDialog<'a> {
    /// Begins, and gives the first question.
    pub fn start(brief: &'a ReaderBrief, transcript: &'a Transcript, settings: DialogSettings) -> (Self, ChatRequest) {
        let mask = if settings.mask {
            let mut mask = Mask::over(transcript.turns.iter().map(|turn| turn.text.as_str()));
            for call in &transcript.calls {
                mask.learn(&call.input);
                mask.learn(&call.output);
            }
            mask
        } else {
            Mask::off()
        };
        let mut dialog = Self {
            brief,
            transcript,
            settings,
            mask,
            asked: ChatRequest {
                messages: Vec::new(),
                schema: None,
                max_tokens: settings.max_tokens,
            },
            shortened: 0,
            repairing: false,
        };
        let request = dialog.question();
        (dialog, request)
    }

    fn question(&mut self) -> ChatRequest {
        let lines = transcript_lines(self.transcript, &mut self.mask, self.settings.max_chars);
        self.asked = ChatRequest {
            messages: prompt::reading(self.brief, &lines),
            schema: Some(reading_schema(self.brief)),
            max_tokens: self.settings.max_tokens,
        };
        self.asked.clone()
    }

    /// Takes an answer. `check` holds a reading against the transcript and the playbook: it gives back what held, with notes
    /// on what it dropped.
    pub fn answer(&mut self, answer: &ChatAnswer, check: impl Fn(Reading) -> (Reading, Vec<String>)) -> Step<Reading> {
        if let Finish::ContextOverflow { sent, limit } = answer.finish {
            return self.shorter(sent, limit);
        }
        if let Some(reason) = objection(answer) {
            return Step::Unusable(reason);
        }
        match self.reading_of(&answer.text) {
            Ok(reading) => {
                let (found, notes) = check(reading);
                Step::Done {
                    found,
                    repaired: self.repairing,
                    notes,
                }
            }
            Err(objection) if self.repairing => Step::Unusable(format!("{} (asked twice)", objection.reason)),
            Err(objection) => {
                self.repairing = true;
                self.asked.messages.extend(repair(&answer.text, &objection.problems));
                Step::Ask(self.asked.clone())
            }
        }
    }

    fn shorter(&mut self, sent: Option<u64>, limit: Option<u64>) -> Step<Reading> {
        if self.shortened == SHORTER {
            let reason = "the transcript is too long for the model, even shortened: use a model with a larger context";
            return Step::Unusable(reason.to_owned());
        }
        self.shortened += 1;
        self.repairing = false;
        self.settings.max_chars = shortened(self.settings.max_chars, sent, limit);
        Step::Ask(self.question())
    }

    fn reading_of(&self, text: &str) -> Result<Reading, Objection> {
        let mut value = json_object(text)?;
        self.mask.restore_all(&mut value);
        pairs_to_object(&mut value, "details");
        let reading: Reading = serde_json::from_value(value).map_err(|error| Objection {
            reason: "the model's answer does not have the shape of a reading".to_owned(),
            problems: vec![self.mask.hide_known(&error.to_string())],
        })?;
        let problems = self.problems(&reading);
        if problems.is_empty() {
            return Ok(reading);
        }
        let problems = problems.iter().map(|problem| self.mask.hide_known(problem)).collect();
        Err(Objection {
            reason: "the model's answer names an intent, a record or a confidence that does not exist".to_owned(),
            problems,
        })
    }

    /// What a schema would have prevented, where the server keeps to it.
    fn problems(&self, reading: &Reading) -> Vec<String> {
        let mut problems = Vec::new();
        let intents: Vec<&str> = self.brief.intents.iter().map(|intent| intent.name.as_str()).collect();
        if reading.intent != UNKNOWN_INTENT && !intents.contains(&reading.intent.as_str()) {
            problems.push(format!(
                "intent `{}` is not one of: {}, {UNKNOWN_INTENT}",
                reading.intent,
                intents.join(", ")
            ));
        }
        if !(0.0..=1.0).contains(&reading.confidence) {
            problems.push(format!("confidence {} is not between 0 and 1", reading.confidence));
        }
        let records: Vec<&str> = self.brief.records.iter().map(|record| record.kind.as_str()).collect();
        let named = reading.requests.iter().map(|request| Some(request.record.as_str()));
        let stated = reading.statements.iter().map(|statement| statement.record.as_deref());
        for record in named.chain(stated).flatten() {
            if !records.contains(&record) {
                problems.push(format!("record `{record}` is not one of: {}", records.join(", ")));
            }
        }
        problems
    }
}

/// The next bound of a transcript: what the server's numbers suggest, and always clearly less than before.
pub(super) fn shortened(chars: usize, sent: Option<u64>, limit: Option<u64>) -> usize {
    let half = chars / 2;
    match (sent, limit) {
        (Some(sent), Some(limit)) if limit < sent => {
            // The instructions and the answer need room as well: aim at half of what fits.
            let share = usize::try_from(limit * 100 / sent / 2).unwrap_or(50);
            (chars / 100 * share).min(half)
        }
        _ => half,
    }
}

/// Strict schemas allow no free keys: what is an object for us comes as a list of `{name, value}`.
fn pairs_to_object(value: &mut Value, key: &str) {
    let Some(pairs) = value.get(key).and_then(Value::as_array) else {
        if value.get(key).is_some_and(Value::is_null) {
            value[key] = Value::Object(serde_json::Map::new());
        }
        return;
    };
    let mut object = serde_json::Map::new();
    for pair in pairs {
        if let Some(name) = pair["name"].as_str() {
            object.insert(name.to_owned(), pair["value"].clone());
        }
    }
    value[key] = Value::Object(object);
}

/// A message of ours.
pub(super) fn message(role: crate::ports::Role, content: impl Into<String>) -> ChatMessage {
    ChatMessage {
        role,
        content: content.into(),
    }
}

#[cfg(test)]
mod tests;
