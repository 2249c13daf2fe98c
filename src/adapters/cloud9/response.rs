//! What comes back: a `GetDataResponse`, read leniently in its shape and strictly as XML.
//!
//! The namespace may be there, missing or another; `Records` missing, empty, with one `Record` or many; fields are kept
//! under the names that they come with. There is no document type and no entity beside XML's own five: an answer that
//! declares any is not read. Bounded in depth and in elements; the size of the answer is the client's bound.

use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
};
use serde_json::{Map, Value};

/// Deeper answers are not this protocol's.
const DEEPEST: usize = 16;
/// Larger answers are not this protocol's.
const MOST_ELEMENTS: usize = 200_000;

const ROOT: &str = "GetDataResponse";

/// An answer of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Response {
    /// What was asked for: records as objects of texts.
    Records(Vec<Value>),
    /// `Success`, with a record that says that it is none.
    ErrorResult,
    /// `Error`.
    Error {
        /// Its code, where it is a number.
        code: Option<u32>,
        /// The system's words.
        message: String,
    },
}

/// Reads an answer.
///
/// # Errors
/// Says why it cannot be read, without content.
pub(super) fn parse(text: &str) -> Result<Response, String> {
    let answer = document(text)?;
    let Value::Object(answer) = &answer else {
        return Err(format!("{ROOT} is empty"));
    };
    let status = text_of(answer, "ResponseStatus");
    let code = text_of(answer, "ErrorCode").parse::<u32>().ok();
    let error = || Response::Error {
        code,
        message: text_of(answer, "ErrorMessage").to_owned(),
    };
    if status.eq_ignore_ascii_case("error") || code.is_some_and(|code| code != 0) {
        return Ok(error());
    }
    if !status.eq_ignore_ascii_case("success") {
        return Err(format!("{ROOT} says neither Success nor Error"));
    }
    let records = match member(answer, "Records") {
        None => Vec::new(),
        Some(Value::String(text)) if text.is_empty() => Vec::new(),
        Some(Value::String(text)) if is_error(text) => return Ok(Response::ErrorResult),
        Some(Value::Object(records)) => match member(records, "Record") {
            None => return Err("Records holds no Record".to_owned()),
            Some(Value::Array(records)) => records.clone(),
            Some(record) => vec![record.clone()],
        },
        Some(_) => return Err("Records holds no Record".to_owned()),
    };
    let says_error = |record: &Value| match record {
        Value::Object(fields) => is_error(text_of(fields, "Result")),
        Value::String(text) => is_error(text),
        _ => false,
    };
    if records.iter().any(says_error) {
        return Ok(Response::ErrorResult);
    }
    // An empty `<Record />` says nothing of anybody.
    Ok(Response::Records(
        records.into_iter().filter(Value::is_object).collect(),
    ))
}

fn is_error(text: &str) -> bool {
    text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"))
}

/// A member by its name in any case.
fn member<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    object.get(name).or_else(|| {
        object
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

fn text_of<'v>(object: &'v Map<String, Value>, name: &str) -> &'v str {
    member(object, name).and_then(Value::as_str).unwrap_or_default()
}

/// An element that is not closed yet.
struct Open {
    name: String,
    nil: bool,
    text: String,
    members: Map<String, Value>,
}

impl Open {
    fn new(start: &BytesStart<'_>) -> Self {
        let nil = start.attributes().flatten().any(|attribute| {
            attribute.key.local_name().as_ref() == "nil" && matches!(attribute.value.as_ref(), "true" | "1")
        });
        Self {
            name: start.local_name().as_ref().to_owned(),
            nil,
            text: String::new(),
            members: Map::new(),
        }
    }

    /// Null, the text without blanks around it, or an object; what is named twice is a list.
    fn close(self) -> (String, Value) {
        let value = if self.nil {
            Value::Null
        } else if self.members.is_empty() {
            Value::String(self.text.trim().to_owned())
        } else {
            Value::Object(self.members)
        };
        (self.name, value)
    }

    fn add(&mut self, name: String, value: Value) {
        match self.members.get_mut(&name) {
            None => {
                self.members.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(known) => {
                let first = known.take();
                *known = Value::Array(vec![first, value]);
            }
        }
    }
}

/// The root element as JSON.
fn document(text: &str) -> Result<Value, String> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Open> = Vec::new();
    let mut root: Option<Value> = None;
    let mut elements = 0;
    loop {
        // The parser's own words may quote the answer.
        let event = reader.read_event().map_err(|_| broken())?;
        let closed = match event {
            Event::Start(start) => {
                elements += 1;
                enter(&mut open, &start, root.is_some(), elements)?;
                None
            }
            Event::Empty(start) => {
                elements += 1;
                enter(&mut open, &start, root.is_some(), elements)?;
                open.pop()
            }
            Event::End(_) => Some(open.pop().ok_or_else(broken)?),
            Event::Text(words) => {
                push(&mut open, &words.xml10_content())?;
                None
            }
            Event::CData(words) => {
                push(&mut open, &words.xml10_content())?;
                None
            }
            Event::GeneralRef(reference) => {
                let character = resolve(&reference)?;
                push(&mut open, &character)?;
                None
            }
            Event::DocType(_) => return Err("it declares a document type, which this protocol has not".to_owned()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => None,
            Event::Eof => break,
        };
        if let Some(element) = closed {
            let (name, value) = element.close();
            match open.last_mut() {
                Some(parent) => parent.add(name, value),
                None => root = Some(value),
            }
        }
    }
    if !open.is_empty() {
        return Err("it breaks off".to_owned());
    }
    root.ok_or_else(broken)
}

fn enter(open: &mut Vec<Open>, start: &BytesStart<'_>, rooted: bool, elements: usize) -> Result<(), String> {
    if rooted {
        return Err(broken());
    }
    let element = Open::new(start);
    if open.is_empty() && element.name != ROOT {
        return Err(format!("it is no {ROOT}"));
    }
    if open.len() >= DEEPEST || elements > MOST_ELEMENTS {
        return Err(format!(
            "it is nested deeper than {DEEPEST} levels or has more than {MOST_ELEMENTS} elements"
        ));
    }
    open.push(element);
    Ok(())
}

fn push(open: &mut [Open], words: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(words),
        None if words.trim().is_empty() => {}
        None => return Err(broken()),
    }
    Ok(())
}

/// A character by its number, or one of XML's own five. Every other entity would be the answer's own.
fn resolve(reference: &BytesRef<'_>) -> Result<String, String> {
    let unknown = || "it uses an entity that XML does not define".to_owned();
    if reference.is_char_ref() {
        let character = reference.resolve_char_ref().ok().flatten().ok_or_else(unknown)?;
        return Ok(character.to_string());
    }
    resolve_predefined_entity(reference)
        .map(str::to_owned)
        .ok_or_else(unknown)
}

fn broken() -> String {
    "it is not well-formed XML".to_owned()
}

#[cfg(test)]
mod tests;
