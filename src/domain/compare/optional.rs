//! Optional fields: what is left blank, what is declared to be nothing, and what leaves the choice to others.

use serde_json::Value;

use super::{
    Comparison, Match, Rule,
    text::{fold, is_unseen},
};
use crate::domain::playbook::is_blank;

/// Words that stand for "there is none".
const NOTHING: [&str; 6] = ["none", "nothing", "nobody", "n/a", "not applicable", "-"];

/// Words that leave the choice to others, or that a reader writes where nothing was said.
const ANYTHING: [&str; 22] = [
    "no preference",
    "no preferences",
    "any",
    "anything",
    "anyone",
    "anybody",
    "anytime",
    "any time",
    "either",
    "whatever",
    "whichever",
    "whenever",
    "doesn't matter",
    "does not matter",
    "don't care",
    "flexible",
    "unspecified",
    "not specified",
    "not stated",
    "not mentioned",
    "not given",
    "not provided",
];

/// Null, or a text in which nobody sees anything.
pub(super) fn is_empty(value: &Value) -> bool {
    is_blank(value) || value.as_str().is_some_and(is_unseen)
}

/// An expected value that says nothing: blank, or words that leave the choice to others.
pub(crate) fn says_nothing(value: &Value) -> bool {
    is_empty(value) || is_one_of(value, &ANYTHING)
}

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    let longest = 40;
    let Value::String(text) = value else { return false };
    text.len() <= longest && words.contains(&fold(text).trim_end_matches('.'))
}

fn is_nothing(value: &Value) -> bool {
    is_empty(value) || is_one_of(value, &NOTHING)
}

/// The answer where one of the two is nothing; `None` where the rule decides.
pub(super) fn compare(rule: &Rule, expected: &Value, actual: &Value) -> Option<Comparison> {
    // To the letter, what nobody sees is there all the same.
    let blank = if *rule == Rule::Exact { is_blank } else { is_empty };
    if blank(expected) && blank(actual) {
        return Some(Comparison::new(Match::Same, "both are empty"));
    }
    match rule {
        // To the letter: null is null and nothing else.
        Rule::Exact => return None,
        // Of a list an empty one is meant by null as well.
        Rule::List(_) | Rule::Set(_) | Rule::Contains(_) => {
            let empty = |value: &Value| is_nothing(value) || value.as_array().is_some_and(Vec::is_empty);
            if empty(expected) && empty(actual) {
                return Some(Comparison::new(Match::Same, "both are empty"));
            }
        }
        _ if is_nothing(expected) && is_nothing(actual) => {
            return Some(Comparison::new(Match::Same, "there should be none, and there is none"));
        }
        _ => {}
    }
    if is_empty(expected) {
        return Some(Comparison::new(Match::Undecided, "nothing is expected"));
    }
    // The same words are the same; otherwise anything would do.
    let chosen = is_one_of(expected, &ANYTHING) && expected != actual && !is_one_of(actual, &ANYTHING);
    chosen.then(|| Comparison::new(Match::Undecided, "what is expected leaves the choice open"))
}
