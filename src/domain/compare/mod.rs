//! Compares what was asked for with what is there, the way a person would.
//!
//! Every comparison is total: any two JSON values get an answer with its reason, whatever stands in them. A comparison
//! that cannot decide (an expected phone number of three digits) says so; it is neither a match nor a difference.

mod instant;
mod list;
mod money;
mod name;
mod optional;
mod pairing;
mod phone;
mod text;
mod value;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::nesting::is_too_deep;

pub(crate) use name::same_name;
pub(crate) use optional::says_nothing;
pub(crate) use text::{fold, squeeze};

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

/// What a comparison has to know beside the two values.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Other spellings of first names.
    pub nicknames: &'a Nicknames,
    /// When the words were said: what "tomorrow" is counted from. Without it such words cannot be resolved.
    pub said_at: Option<DateTime<Utc>>,
}

impl<'a> Context<'a> {
    /// Of words said at an unknown time.
    pub fn new(nicknames: &'a Nicknames) -> Self {
        Self {
            nicknames,
            said_at: None,
        }
    }

    /// Of words said at this time.
    #[must_use]
    pub fn said_at(self, said_at: Option<DateTime<Utc>>) -> Self {
        Self { said_at, ..self }
    }
}

/// Compares two values by a rule.
///
/// The order of the two does not matter where both ways are decided, except by design: an expected blank says nothing while
/// a blank that is there is a difference, `contains` and `lacks` ask one way, and of an object (`text`, `value`) only the
/// expected members are compared.
pub fn compare(rule: &Rule, context: Context<'_>, expected: &Value, actual: &Value) -> Comparison {
    if is_too_deep(expected) || is_too_deep(actual) {
        return Comparison::new(Match::Undecided, "nested too deep to be compared");
    }
    by_rule(rule, context, expected, actual)
}

fn by_rule(rule: &Rule, context: Context<'_>, expected: &Value, actual: &Value) -> Comparison {
    if let Some(answer) = optional::compare(rule, expected, actual) {
        return answer;
    }
    match rule {
        Rule::Exact => Comparison::of(value::exact(expected, actual), "equal", "not equal"),
        Rule::Text => Comparison::of(
            value::same_text(expected, actual),
            "the same text, ignoring case and white space",
            "another text",
        ),
        Rule::Value => Comparison::of(value::loose(expected, actual), "the same value", "another value"),
        Rule::Name => name::compare(context.nicknames, expected, actual),
        Rule::Phone { code } => phone::compare(code, expected, actual),
        Rule::Instant { zone, tolerance } => instant::compare(*zone, *tolerance, context.said_at, expected, actual),
        Rule::Date { zone } => instant::compare_dates(*zone, context.said_at, expected, actual),
        Rule::Money { within } => money::compare(*within, expected, actual),
        Rule::List(item) => list::list(item, context, expected, actual),
        Rule::Set(item) => list::set(item, context, expected, actual, true),
        Rule::Contains(item) => list::set(item, context, expected, actual, false),
        Rule::Lacks(item) => list::lacks(item, context, expected, actual),
    }
}

#[cfg(test)]
mod tests;
