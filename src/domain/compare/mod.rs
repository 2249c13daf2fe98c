//! Compares what was asked for with what is there, the way a person would.
//!
//! Every comparison is total: any two JSON values get an answer with its reason, whatever stands in them. A comparison
//! that cannot decide (an expected phone number of three digits) says so; it is neither a match nor a difference.

mod instant;
mod name;
mod phone;
mod text;
mod value;

use std::{collections::BTreeMap, time::Duration};

use chrono_tz::Tz;
use serde_json::Value;

pub(crate) use name::same_name;
pub(crate) use text::{fold, squeeze};

/// Longer lists are not compared element by element: it would cost the square of their length.
const LONGEST_LIST: usize = 1000;

/// A comparison rule of a playbook.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Equal JSON; numbers by value, texts character by character.
    Exact,
    /// Equal texts, ignoring case, white space and diacritics; a number equals its digits.
    Text,
    /// Loosely equal JSON: texts as [`Rule::Text`], numbers by value, objects by the expected members.
    Value,
    /// Names of people: case, order, diacritics, nicknames, first name only.
    Name,
    /// Phone numbers in E.164.
    Phone {
        /// Calling code of numbers that carry none.
        code: String,
    },
    /// Points in time; parts that one side does not name are not compared.
    Instant {
        /// Zone of texts that carry none.
        zone: Tz,
        /// Largest difference that still counts as the same.
        tolerance: Duration,
    },
    /// Calendar dates.
    Date {
        /// Zone in which an instant has its date.
        zone: Tz,
    },
    /// Amounts of money.
    Money {
        /// Largest difference that still counts as the same.
        within: f64,
    },
    /// As many elements, in the same order.
    List(Box<Rule>),
    /// As many elements, in any order.
    Set(Box<Rule>),
    /// Every expected element is there; there may be more.
    Contains(Box<Rule>),
    /// No expected element is there.
    Lacks(Box<Rule>),
}

impl Rule {
    /// The rules that need no element rule.
    pub const SIMPLE: [&'static str; 8] = ["exact", "text", "value", "name", "phone", "instant", "date", "money"];

    /// A rule by its name in a playbook.
    pub fn simple(name: &str, zone: Tz, code: &str, tolerance: Duration, within: f64) -> Option<Self> {
        Some(match name {
            "exact" => Self::Exact,
            "text" => Self::Text,
            "value" => Self::Value,
            "name" => Self::Name,
            "phone" => Self::Phone { code: code.to_owned() },
            "instant" => Self::Instant { zone, tolerance },
            "date" => Self::Date { zone },
            "money" => Self::Money { within },
            _ => return None,
        })
    }
}

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// They mean the same.
    Same,
    /// They do not.
    Different,
    /// It cannot be told.
    Undecided,
}

/// A comparison with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What came of it.
    pub outcome: Match,
    /// How it was decided, for a person; never empty.
    pub why: String,
}

impl Comparison {
    pub(crate) fn new(outcome: Match, why: impl Into<String>) -> Self {
        Self {
            outcome,
            why: why.into(),
        }
    }

    pub(crate) fn of(same: bool, same_why: &str, different_why: &str) -> Self {
        if same {
            Self::new(Match::Same, same_why)
        } else {
            Self::new(Match::Different, different_why)
        }
    }
}

/// Other spellings of first names, folded.
pub type Nicknames = BTreeMap<String, Vec<String>>;

/// Compares two values by a rule.
pub fn compare(rule: &Rule, nicknames: &Nicknames, expected: &Value, actual: &Value) -> Comparison {
    if crate::domain::playbook::is_blank(expected) && crate::domain::playbook::is_blank(actual) {
        return Comparison::new(Match::Same, "both are empty");
    }
    match rule {
        Rule::Exact => Comparison::of(value::exact(expected, actual), "equal", "not equal"),
        Rule::Text => Comparison::of(
            value::same_text(expected, actual),
            "the same text, ignoring case and white space",
            "another text",
        ),
        Rule::Value => Comparison::of(value::loose(expected, actual), "the same value", "another value"),
        Rule::Name => name::compare(nicknames, expected, actual),
        Rule::Phone { code } => phone::compare(code, expected, actual),
        Rule::Instant { zone, tolerance } => instant::compare(*zone, *tolerance, expected, actual),
        Rule::Date { zone } => instant::compare_dates(*zone, expected, actual),
        Rule::Money { within } => value::money(*within, expected, actual),
        Rule::List(item) => list(item, nicknames, expected, actual),
        Rule::Set(item) => set(item, nicknames, expected, actual, true),
        Rule::Contains(item) => set(item, nicknames, expected, actual, false),
        Rule::Lacks(item) => lacks(item, nicknames, expected, actual),
    }
}

/// A list, one value standing for a list of one, null for none, or a list written as JSON inside a text.
fn elements(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.clone(),
        Value::String(text) if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).unwrap_or_else(|_| vec![value.clone()])
        }
        other => vec![other.clone()],
    }
}

fn too_long(expected: &[Value], actual: &[Value]) -> Option<Comparison> {
    (expected.len().max(actual.len()) > LONGEST_LIST).then(|| {
        Comparison::new(
            Match::Undecided,
            format!("lists of more than {LONGEST_LIST} elements are not compared"),
        )
    })
}

fn list(item: &Rule, nicknames: &Nicknames, expected: &Value, actual: &Value) -> Comparison {
    let (expected, actual) = (elements(expected), elements(actual));
    if let Some(answer) = too_long(&expected, &actual) {
        return answer;
    }
    if expected.len() != actual.len() {
        let why = format!("{} elements are expected, {} are there", expected.len(), actual.len());
        return Comparison::new(Match::Different, why);
    }
    for (position, (want, have)) in expected.iter().zip(&actual).enumerate() {
        let compared = compare(item, nicknames, want, have);
        if compared.outcome != Match::Same {
            return Comparison::new(compared.outcome, format!("element {}: {}", position + 1, compared.why));
        }
    }
    Comparison::new(Match::Same, "the same elements in the same order")
}

fn set(item: &Rule, nicknames: &Nicknames, expected: &Value, actual: &Value, whole: bool) -> Comparison {
    let (expected, mut actual) = (elements(expected), elements(actual));
    if let Some(answer) = too_long(&expected, &actual) {
        return answer;
    }
    if whole && expected.len() != actual.len() {
        let why = format!("{} elements are expected, {} are there", expected.len(), actual.len());
        return Comparison::new(Match::Different, why);
    }
    // Equal elements find each other first, so that a loose match does not take the place of an exact one.
    let mut wanted = Vec::new();
    for (position, want) in expected.iter().enumerate() {
        match actual.iter().position(|have| value::exact(want, have)) {
            Some(at) => {
                actual.swap_remove(at);
            }
            None => wanted.push((position, want)),
        }
    }
    for (position, want) in wanted {
        let found = actual
            .iter()
            .position(|have| compare(item, nicknames, want, have).outcome == Match::Same);
        let Some(at) = found else {
            let why = format!("expected element {} is not there", position + 1);
            return Comparison::new(Match::Different, why);
        };
        actual.swap_remove(at);
    }
    Comparison::new(
        Match::Same,
        if whole {
            "the same elements"
        } else {
            "every expected element is there"
        },
    )
}

fn lacks(item: &Rule, nicknames: &Nicknames, expected: &Value, actual: &Value) -> Comparison {
    let (expected, actual) = (elements(expected), elements(actual));
    if let Some(answer) = too_long(&expected, &actual) {
        return answer;
    }
    for (position, unwanted) in expected.iter().enumerate() {
        if actual
            .iter()
            .any(|have| compare(item, nicknames, unwanted, have).outcome == Match::Same)
        {
            let why = format!("element {} should be gone and is still there", position + 1);
            return Comparison::new(Match::Different, why);
        }
    }
    Comparison::new(Match::Same, "what should be gone is gone")
}

#[cfg(test)]
mod tests;
