//! Names of people. A tool knows a first name, a caller says a nickname, the practice stores `Dr. JOSÉ  García`.

use serde_json::Value;

use super::{
    Comparison, Match, Nicknames,
    pairing::pair_up,
    text::{fold, is_mark},
};
use crate::domain::playbook::is_blank;

/// Titles that are no part of a name.
const TITLES: [&str; 8] = ["mr", "mrs", "ms", "miss", "mx", "dr", "prof", "master"];

/// Suffixes that are no part of a name either, but tell a father from his son.
const SUFFIXES: [&str; 5] = ["sr", "jr", "ii", "iii", "iv"];

/// Longer texts, and more words than these, are no name.
const LONGEST_TEXT: usize = 500;
const MOST_WORDS: usize = 32;

pub(super) fn compare(nicknames: &Nicknames, expected: &Value, actual: &Value) -> Comparison {
    let (Some(left), Some(right)) = (full_name(expected), full_name(actual)) else {
        let blank = is_blank(expected) || is_blank(actual);
        let why = if blank {
            "one of the names is empty"
        } else {
            "one of them is no name"
        };
        return Comparison::new(Match::Different, why);
    };
    let equal = left == right;
    let (Some(left), Some(right)) = (Name::of(&left), Name::of(&right)) else {
        return Comparison::of(equal, "equal", "one of them is too long for a name");
    };
    if left.words.is_empty() || right.words.is_empty() {
        return Comparison::of(equal, "equal", "one of them holds no name");
    }
    if let (Some(one), Some(other)) = (&left.suffix, &right.suffix)
        && one != other
    {
        return Comparison::new(Match::Different, format!("one is \"{one}\", the other \"{other}\""));
    }
    if left.words == right.words {
        return Comparison::new(Match::Same, "the same name");
    }
    let (short, long) = if left.words.len() <= right.words.len() {
        (&left.words, &right.words)
    } else {
        (&right.words, &left.words)
    };
    if is_part(short, long, |a, b| a == b) {
        let why = if short.len() == long.len() {
            "the same names in another order"
        } else {
            "one name is part of the other"
        };
        return Comparison::new(Match::Same, why);
    }
    if is_part(short, long, |a, b| a == b || related(nicknames, a, b)) {
        return Comparison::new(Match::Same, "the same name by a nickname");
    }
    Comparison::new(Match::Different, "another name")
}

/// Whether two names mean the same person.
pub(crate) fn same_name(nicknames: &Nicknames, left: &str, right: &str) -> bool {
    compare(nicknames, &Value::from(left), &Value::from(right)).outcome == Match::Same
}

/// A text, or an object such as `{first_name, last_name}`.
fn full_name(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(members) => {
            let part = |names: &[&str]| {
                members
                    .iter()
                    .find(|(key, _)| names.contains(&fold(key).replace(['_', ' '], "").as_str()))
                    .and_then(|(_, value)| value.as_str())
                    .unwrap_or_default()
            };
            let name = format!(
                "{} {}",
                part(&["firstname", "first", "given"]),
                part(&["lastname", "last", "family"])
            );
            Some(name).filter(|name| !name.trim().is_empty())
        }
        _ => None,
    }
}

/// The words of a name, folded, without titles.
struct Name {
    words: Vec<String>,
    suffix: Option<String>,
}

impl Name {
    fn of(text: &str) -> Option<Self> {
        if text.len() > LONGEST_TEXT {
            return None;
        }
        // "Lindqvist, Teo" is "Teo Lindqvist" and "Anne-Marie" is "Anne Marie"; the order is not compared, so that commas and
        // hyphens only part words. An apostrophe parts none: "O'Neil" is "ONeil".
        let folded = fold(text).replace('\'', "");
        let mut name = Self {
            words: Vec::new(),
            suffix: None,
        };
        for word in folded
            .split(|c: char| !(c.is_alphanumeric() || is_mark(c)))
            .filter(|word| !word.is_empty())
        {
            if SUFFIXES.contains(&word) {
                name.suffix = Some(word.to_owned());
            } else if !TITLES.contains(&word) {
                name.words.push(word.to_owned());
            }
        }
        (name.words.len() <= MOST_WORDS).then_some(name)
    }
}

/// Every word of the short name is a word of the long one, each used once.
fn is_part(short: &[String], long: &[String], same: impl Fn(&str, &str) -> bool) -> bool {
    pair_up(short.len(), long.len(), |one, other| same(&short[one], &long[other])).is_ok()
}

fn related(nicknames: &Nicknames, left: &str, right: &str) -> bool {
    let names = |from: &str, to: &str| {
        nicknames
            .get(from)
            .is_some_and(|others| others.iter().any(|other| other == to))
    };
    names(left, right)
        || names(right, left)
        || nicknames
            .values()
            .any(|others| others.iter().any(|other| other == left) && others.iter().any(|other| other == right))
}
