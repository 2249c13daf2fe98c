//! Lists, sets, and what a list holds or lacks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Comparison, Context, Match, Rule, by_rule, optional::is_empty, pairing::pair_up, value};

/// Longer lists are not compared element by element.
const LONGEST_LIST: usize = 1000;

/// Elements that have no equal are compared each with each: so many bytes of them at most.
const MOST_WORK: usize = 8 << 20;

/// A list, one value standing for a list of one, what nobody sees for none, or a list written as JSON inside a text.
fn elements(value: &Value) -> Vec<Value> {
    match value {
        nothing if is_empty(nothing) => Vec::new(),
        Value::Array(items) => items.clone(),
        Value::String(text) if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).unwrap_or_else(|_| vec![value.clone()])
        }
        other => vec![other.clone()],
    }
}

/// Both as lists, or why they are not compared.
fn both(expected: &Value, actual: &Value) -> Result<(Vec<Value>, Vec<Value>), Comparison> {
    let (expected, actual) = (elements(expected), elements(actual));
    if expected.len().max(actual.len()) > LONGEST_LIST {
        return Err(Comparison::new(
            Match::Undecided,
            format!("lists of more than {LONGEST_LIST} elements are not compared"),
        ));
    }
    Ok((expected, actual))
}

fn other_length(expected: &[Value], actual: &[Value]) -> Option<Comparison> {
    (expected.len() != actual.len()).then(|| {
        let why = format!("{} elements are expected, {} are there", expected.len(), actual.len());
        Comparison::new(Match::Different, why)
    })
}

pub(super) fn list(item: &Rule, context: Context<'_>, expected: &Value, actual: &Value) -> Comparison {
    let (expected, actual) = match both(expected, actual) {
        Ok(both) => both,
        Err(answer) => return answer,
    };
    if let Some(answer) = other_length(&expected, &actual) {
        return answer;
    }
    let mut undecided = None;
    for (position, (want, have)) in expected.iter().zip(&actual).enumerate() {
        let compared = by_rule(item, context, want, have);
        let told = || Comparison::new(compared.outcome, format!("element {}: {}", position + 1, compared.why));
        match compared.outcome {
            Match::Same => {}
            Match::Different => return told(),
            Match::Undecided => undecided = undecided.or_else(|| Some(told())),
        }
    }
    undecided.unwrap_or_else(|| Comparison::new(Match::Same, "the same elements in the same order"))
}

/// As many elements in any order; or, where there may be more (`whole` is false), every expected one among them.
pub(super) fn set(item: &Rule, context: Context<'_>, expected: &Value, actual: &Value, whole: bool) -> Comparison {
    let (expected, actual) = match both(expected, actual) {
        Ok(both) => both,
        Err(answer) => return answer,
    };
    if whole && let Some(answer) = other_length(&expected, &actual) {
        return answer;
    }
    // Equal elements find each other first, so that a loose match does not take the place of an exact one.
    let mut equal: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, have) in actual.iter().enumerate() {
        equal.entry(value::canonical(have)).or_default().push(at);
    }
    let mut taken = vec![false; actual.len()];
    let mut wanted: Vec<(usize, &Value)> = Vec::new();
    for (position, want) in expected.iter().enumerate() {
        match equal.get_mut(&value::canonical(want)).and_then(Vec::pop) {
            Some(at) => taken[at] = true,
            None => wanted.push((position, want)),
        }
    }
    let left: Vec<&Value> = actual
        .iter()
        .zip(&taken)
        .filter(|(_, taken)| !**taken)
        .map(|(have, _)| have)
        .collect();
    let wants: Vec<&Value> = wanted.iter().map(|(_, want)| *want).collect();
    if is_too_much(&wants, &left) {
        return Comparison::new(
            Match::Undecided,
            "too many different elements to compare each with each",
        );
    }
    let outcomes: Vec<Vec<Match>> = wants
        .iter()
        .map(|want| {
            left.iter()
                .map(|have| by_rule(item, context, want, have).outcome)
                .collect()
        })
        .collect();
    let pairs = pair_up(wants.len(), left.len(), |want, have| {
        outcomes[want][have] == Match::Same
    });
    if let Err(alone) = pairs {
        let position = wanted[alone].0 + 1;
        // With what cannot be told apart there may be a partner for each.
        let perhaps = pair_up(wants.len(), left.len(), |want, have| {
            outcomes[want][have] != Match::Different
        });
        return if perhaps.is_ok() {
            let why = format!("whether expected element {position} is there cannot be told");
            Comparison::new(Match::Undecided, why)
        } else {
            Comparison::new(Match::Different, format!("expected element {position} is not there"))
        };
    }
    let why = if whole {
        "the same elements"
    } else {
        "every expected element is there"
    };
    Comparison::new(Match::Same, why)
}

pub(super) fn lacks(item: &Rule, context: Context<'_>, expected: &Value, actual: &Value) -> Comparison {
    let (expected, actual) = match both(expected, actual) {
        Ok(both) => both,
        Err(answer) => return answer,
    };
    if is_too_much(&expected.iter().collect::<Vec<_>>(), &actual.iter().collect::<Vec<_>>()) {
        return Comparison::new(Match::Undecided, "too many elements to compare each with each");
    }
    let mut undecided = None;
    for (position, unwanted) in expected.iter().enumerate() {
        for have in &actual {
            match by_rule(item, context, unwanted, have).outcome {
                Match::Same => {
                    let why = format!("element {} should be gone and is still there", position + 1);
                    return Comparison::new(Match::Different, why);
                }
                Match::Undecided => undecided = undecided.or(Some(position + 1)),
                Match::Different => {}
            }
        }
    }
    match undecided {
        Some(position) => {
            let why = format!("whether element {position} is gone cannot be told");
            Comparison::new(Match::Undecided, why)
        }
        None => Comparison::new(Match::Same, "what should be gone is gone"),
    }
}

/// Each is read once for every one on the other side.
fn is_too_much(wants: &[&Value], haves: &[&Value]) -> bool {
    let sizes = |values: &[&Value]| values.iter().map(|value| value::size(value)).sum::<usize>();
    let work = sizes(wants)
        .saturating_mul(haves.len())
        .saturating_add(sizes(haves).saturating_mul(wants.len()));
    work > MOST_WORK
}
