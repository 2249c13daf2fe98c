//! Plain values: exact and loose equality, and amounts of money.

use serde_json::{Number, Value};

use super::{Comparison, Match, text::fold};

/// Equal JSON; `1` and `1.0` are the same number.
pub(super) fn exact(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => same_number(left, right),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| exact(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| exact(value, other)))
        }
        _ => left == right,
    }
}

/// Texts folded, numbers and flags by their words.
pub(super) fn same_text(left: &Value, right: &Value) -> bool {
    match (scalar(left), scalar(right)) {
        (Some(left), Some(right)) => left == right,
        _ => loose_parts(left, right),
    }
}

/// As a person would: `"3"` is `3`, `true` is `yes`; of an object only the expected members are compared.
pub(super) fn loose(expected: &Value, actual: &Value) -> bool {
    match (scalar(expected), scalar(actual)) {
        (Some(left), Some(right)) => left == right || numbers_equal(&left, &right),
        _ => loose_parts(expected, actual),
    }
}

fn loose_parts(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| loose(left, right))
        }
        (Value::Object(left), Value::Object(right)) => left.iter().all(|(key, value)| {
            right
                .get(key)
                .map_or_else(|| value.is_null(), |other| loose(value, other))
        }),
        _ => false,
    }
}

fn scalar(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Number(number) => plain(number),
        Value::String(text) => match fold(text).as_str() {
            "true" => "yes".into(),
            "false" => "no".into(),
            folded => folded.to_owned(),
        },
        _ => return None,
    })
}

fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
        _ => number.to_string(),
    }
}

fn numbers_equal(left: &str, right: &str) -> bool {
    match (left.parse::<f64>(), right.parse::<f64>()) {
        (Ok(left), Ok(right)) => left.is_finite() && (left - right).abs() < f64::EPSILON,
        _ => false,
    }
}

fn same_number(left: &Number, right: &Number) -> bool {
    left == right || (left.is_f64() || right.is_f64()) && plain(left) == plain(right)
}

pub(super) fn money(within: f64, expected: &Value, actual: &Value) -> Comparison {
    match (amount(expected), amount(actual)) {
        // Half a cent of slack: amounts are decimals and floats are not.
        (Some(left), Some(right)) => Comparison::of(
            (left - right).abs() <= within + 0.005,
            "the same amount",
            "another amount",
        ),
        (None, _) => Comparison::new(Match::Undecided, "what is expected is not an amount"),
        (_, None) => Comparison::new(Match::Different, "what is there is not an amount"),
    }
}

/// A number, or a text such as `$1,250.50`, `1.250,50 EUR`, `-30`.
fn amount(value: &Value) -> Option<f64> {
    let text = match value {
        Value::Number(number) => return number.as_f64().filter(|float| float.is_finite()),
        Value::String(text) => text,
        _ => return None,
    };
    let mut digits: String = text
        .chars()
        .filter(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
        .take(40)
        .collect();
    let negative = text.contains('-') || text.trim_start().starts_with('(');
    // The last separator is the decimal one when one or two digits follow it; all others group.
    let decimal = digits
        .rfind(['.', ','])
        .filter(|at| matches!(digits.len() - at - 1, 1 | 2));
    if let Some(at) = decimal {
        let cents = digits.split_off(at + 1);
        digits.retain(|c| c.is_ascii_digit());
        digits = format!("{digits}.{cents}");
    } else {
        digits.retain(|c| c.is_ascii_digit());
    }
    let amount: f64 = digits.parse().ok()?;
    amount.is_finite().then_some(if negative { -amount } else { amount })
}
