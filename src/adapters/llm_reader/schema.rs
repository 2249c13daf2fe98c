//! The strict JSON schema that a reading is asked for in, derived from types.
//!
//! Strict means what servers that enforce a schema ask for: every property required, nothing additional, no free keys. So
//! `fields` and `details` are lists of `{name, value}` here; `domain::reading` reads both forms.

use schemars::{JsonSchema as Derived, generate::SchemaSettings};
use serde_json::{Value, json};

use super::ReaderBrief;
use crate::{domain::reading::UNKNOWN_INTENT, ports::JsonSchema};

/// What the model answers.
#[derive(Derived)]
#[expect(
    dead_code,
    reason = "only its schema is used: the answer is read as a domain::reading::Reading"
)]
struct AnsweredReading {
    /// What the conversation was about.
    intent: String,
    /// How sure you are of the intent, 0 to 1.
    confidence: f64,
    /// One sentence, without personal data.
    summary: String,
    /// Further values that were asked for by name.
    details: Vec<NamedValue>,
    /// Changes that the caller asked for.
    requests: Vec<AnsweredRequest>,
    /// What the agent said became of them.
    statements: Vec<AnsweredStatement>,
}

#[derive(Derived)]
#[expect(dead_code, reason = "only its schema is used")]
struct AnsweredRequest {
    operation: AnsweredOperation,
    /// Kind of the record.
    record: String,
    /// For whom, or null.
    subject: Option<String>,
    /// The record's id, or null.
    id: Option<String>,
    /// Values asked for.
    fields: Vec<NamedValue>,
    /// Words copied from one turn.
    quote: String,
    /// That turn's number.
    turn: u32,
    /// The caller's words that took it back, or null.
    withdrawn: Option<AnsweredWithdrawal>,
}

#[derive(Derived)]
#[expect(dead_code, reason = "only its schema is used")]
struct AnsweredWithdrawal {
    /// Words copied from one caller turn.
    quote: String,
    /// That turn's number.
    turn: u32,
}

#[derive(Derived)]
#[expect(dead_code, reason = "only its schema is used")]
struct AnsweredStatement {
    says: AnsweredSays,
    /// Which change, or null.
    operation: Option<AnsweredOperation>,
    /// Kind of the record, or null.
    record: Option<String>,
    /// For whom, or null.
    subject: Option<String>,
    /// Values named.
    fields: Vec<NamedValue>,
    /// Words copied from one agent turn.
    quote: String,
    /// That turn's number.
    turn: u32,
}

#[derive(Derived)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum AnsweredOperation {
    Create,
    Update,
    Cancel,
}

#[derive(Derived)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum AnsweredSays {
    Done,
    Promised,
    Failed,
    Declined,
}

#[derive(Derived)]
#[expect(dead_code, reason = "only its schema is used")]
struct NamedValue {
    /// Name of the field.
    name: String,
    /// Its value.
    value: Value,
}

/// The schema for this playbook: its intents and records are the only ones there are.
pub fn reading_schema(brief: &ReaderBrief) -> JsonSchema {
    let mut schema = strict::<AnsweredReading>();
    let mut intents: Vec<&str> = brief.intents.iter().map(|intent| intent.name.as_str()).collect();
    if !intents.contains(&UNKNOWN_INTENT) {
        intents.push(UNKNOWN_INTENT);
    }
    schema["properties"]["intent"]["enum"] = json!(intents);
    let records: Vec<&str> = brief.records.iter().map(|record| record.kind.as_str()).collect();
    if !records.is_empty() {
        schema["properties"]["requests"]["items"]["properties"]["record"]["enum"] = json!(records);
        let mut or_null: Vec<Value> = records.iter().map(|record| json!(record)).collect();
        or_null.push(Value::Null);
        schema["properties"]["statements"]["items"]["properties"]["record"]["enum"] = json!(or_null);
    }
    JsonSchema {
        name: "reading".to_owned(),
        schema,
    }
}

/// A type's schema in the strict form, without references.
pub(crate) fn strict<T: Derived>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tighten(&mut schema);
    schema
}

fn tighten(schema: &mut Value) {
    match schema {
        // A value that may be anything: strict schemas have to say what.
        Value::Bool(true) => {
            *schema = json!({"anyOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"type": "array", "items": {"type": ["string", "number"]}},
            ]});
        }
        Value::Object(object) => {
            for key in ["title", "format", "minimum", "maximum", "default", "$schema"] {
                // Only as keywords: `properties` holds names.
                object.remove(key);
            }
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                let names: Vec<String> = properties.keys().cloned().collect();
                for property in properties.values_mut() {
                    if let Some(description) = only_description(property) {
                        *property = Value::Bool(true);
                        tighten(property);
                        property["description"] = description;
                    } else {
                        tighten(property);
                    }
                }
                object.insert("required".to_owned(), json!(names));
                object.insert("additionalProperties".to_owned(), json!(false));
            }
            if let Some(items) = object.get_mut("items") {
                tighten(items);
            }
            for key in ["anyOf", "oneOf", "allOf"] {
                if let Some(Value::Array(choices)) = object.get_mut(key) {
                    choices.iter_mut().for_each(tighten);
                }
            }
        }
        _ => {}
    }
}

/// A property of any type that has a description says nothing else.
fn only_description(property: &Value) -> Option<Value> {
    let object = property.as_object()?;
    (object.len() == 1)
        .then(|| object.get("description").cloned())
        .flatten()
}
