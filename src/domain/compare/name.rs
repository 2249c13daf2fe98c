//! Names of people. A tool knows a first name, a caller says a nickname, the practice stores `Dr. JOSÉ  García`.

use serde_json::Value;

use super::{Comparison, Match, Nicknames, text::fold};

/// Titles and suffixes that are no part of a name.
const TITLES: [&str; 12] = [
    "mr", "mrs", "ms", "miss", "mx", "dr", "prof", "sr", "jr", "ii", "iii", "master",
];

pub(super) fn compare(nicknames: &Nicknames, expected: &Value, actual: &Value) -> Comparison {
    let (Some(left), Some(right)) = (full_name(expected), full_name(actual)) else {
        let blank = crate::domain::playbook::is_blank(expected) || crate::domain::playbook::is_blank(actual);
        let why = if blank {
            "one of the names is empty"
        } else {
            "one of them is no name"
        };
        return Comparison::new(Match::Different, why);
    };
    let (left, right) = (words(&left), words(&right));
    if left.is_empty() || right.is_empty() {
        return Comparison::of(left == right, "neither holds a name", "one of the names is empty");
    }
    if left == right {
        return Comparison::new(Match::Same, "the same name");
    }
    let (short, long) = if left.len() <= right.len() {
        (&left, &right)
    } else {
        (&right, &left)
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
            Some(name)
        }
        _ => None,
    }
}

fn words(name: &str) -> Vec<String> {
    // "Lindqvist, Teo" is "Teo Lindqvist"; the order is not compared, so the comma is only a separator.
    fold(name)
        .split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '-'))
        .filter(|word| !word.is_empty() && !TITLES.contains(word))
        .take(32)
        .map(str::to_owned)
        .collect()
}

/// Every word of the short name is a word of the long one, each used once.
fn is_part(short: &[String], long: &[String], same: impl Fn(&str, &str) -> bool) -> bool {
    let mut left: Vec<&String> = long.iter().collect();
    for word in short {
        match left.iter().position(|other| same(word, other)) {
            Some(at) => {
                left.remove(at);
            }
            None => return false,
        }
    }
    true
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
