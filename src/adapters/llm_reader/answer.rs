//! An answer of a model: whether it is one at all, and where the JSON in it is.

use serde_json::Value;

use super::message;
use crate::{
    adapters::plain_text::head,
    ports::{ChatAnswer, ChatMessage, Finish, Role},
};

/// Places that are tried for the beginning of a JSON object.
const STARTS: usize = 50;
/// Problems shown in a repair turn, and characters of each.
const PROBLEMS: usize = 10;
const PROBLEM: usize = 300;
/// Characters of the first answer that a repair turn repeats.
const REPEATED: usize = 12_000;

/// Why an answer is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Objection {
    /// For people: without words of the session.
    pub(crate) reason: String,
    /// For the model: what to do better.
    pub(crate) problems: Vec<String>,
}

/// Why an answer is none, whatever its text says.
pub(crate) fn objection(answer: &ChatAnswer) -> Option<String> {
    match answer.finish {
        Finish::Stop => None,
        Finish::Length => Some("the model's answer was cut by the token limit".to_owned()),
        Finish::ContentFilter => Some("the provider's content filter stopped the answer".to_owned()),
        Finish::Refusal { .. } => Some("the model refused to answer".to_owned()),
        Finish::ContextOverflow { .. } => Some("the question is too long for the model".to_owned()),
    }
}

/// The JSON object in a text: the text itself, a fenced block, or the first object after some prose.
pub(crate) fn json_object(text: &str) -> Result<Value, Objection> {
    let text = match text.rsplit_once("</think>") {
        Some((_, after)) => after,
        None => text,
    };
    let mut starts = 0;
    let mut broke_off = false;
    for (start, _) in text.match_indices('{').take(STARTS) {
        starts += 1;
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value @ Value::Object(_))) => return Ok(value),
            Some(Err(error)) => broke_off |= error.is_eof(),
            _ => {}
        }
    }
    let (reason, problem) = match (starts, broke_off) {
        (0, _) => ("the model answered in prose", "There was no JSON object in the answer."),
        (_, true) => ("the model's JSON breaks off", "The JSON object did not end."),
        _ => ("the model's answer is not valid JSON", "The JSON was not valid."),
    };
    Err(Objection {
        reason: reason.to_owned(),
        problems: vec![problem.to_owned()],
    })
}

/// The repair turn: the answer, and what is wrong with it.
pub(crate) fn repair(answer: &str, problems: &[String]) -> [ChatMessage; 2] {
    let mut text = "Your answer cannot be used:\n".to_owned();
    for problem in problems.iter().take(PROBLEMS) {
        text.push_str("- ");
        text.push_str(&head(problem, PROBLEM));
        text.push('\n');
    }
    text.push_str("Answer again with the whole JSON object, in the schema asked for, and nothing else.");
    [
        message(Role::Assistant, head(answer, REPEATED)),
        message(Role::User, text),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_found_in_fences_after_prose_and_after_thoughts() {
        for text in [
            "{\"a\": 1}",
            "```json\n{\"a\": 1}\n```",
            "Sure! Here it is {as asked}:\n{\"a\": 1}\nAnything else?",
            "<think>{\"a\": 2}</think>\n{\"a\": 1}",
            // As most readers of JSON do: the last of equal keys counts.
            "{\"a\": 2, \"a\": 1}",
        ] {
            assert_eq!(json_object(text), Ok(json!({"a": 1})), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_named() {
        for (text, reason) in [
            ("I cannot tell.", "prose"),
            ("", "prose"),
            ("{\"a\": [1, ", "breaks off"),
            ("{'a': 1}", "not valid JSON"),
            ("{\"a\": NaN}", "not valid JSON"),
        ] {
            let objection = json_object(text).unwrap_err();
            assert!(objection.reason.contains(reason), "{text}: {}", objection.reason);
        }
    }
}
