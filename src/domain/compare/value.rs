//! Plain values: exact and loose equality.

use serde_json::{Number, Value};

use super::text::fold;

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
            // A member that is expected to be nothing says nothing.
            value.is_null() || right.get(key).is_some_and(|other| loose(value, other))
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

/// `3.0` is `3`. Whole numbers are compared digit by digit: long ids differ only in their last ones, where floats do not.
fn numbers_equal(left: &str, right: &str) -> bool {
    match (whole_number(left), whole_number(right)) {
        (Some(left), Some(right)) => left == right,
        _ if is_decimal(left) && is_decimal(right) => match (left.parse::<f64>(), right.parse::<f64>()) {
            (Ok(left), Ok(right)) => left.is_finite() && (left - right).abs() < f64::EPSILON,
            _ => false,
        },
        _ => false,
    }
}

/// Sign and digits without leading zeros.
fn whole_number(text: &str) -> Option<(bool, &str)> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    Some((negative && !digits.is_empty(), digits))
}

/// No `1e5` (a code), no `inf`.
fn is_decimal(text: &str) -> bool {
    text.len() <= 40
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'))
}

fn same_number(left: &Number, right: &Number) -> bool {
    left == right || (left.is_f64() || right.is_f64()) && plain(left) == plain(right)
}

/// A text that two values share when they are [`exact`]ly equal, and only then.
pub(super) fn canonical(value: &Value) -> String {
    let mut into = String::new();
    write_canonical(value, &mut into);
    into
}

fn write_canonical(value: &Value, into: &mut String) {
    match value {
        Value::Number(number) => into.push_str(&plain(number)),
        Value::Array(items) => {
            into.push('[');
            for item in items {
                write_canonical(item, into);
                into.push(',');
            }
            into.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| name.as_str());
            into.push('{');
            for (name, member) in sorted {
                into.push_str(&Value::from(name.as_str()).to_string());
                into.push(':');
                write_canonical(member, into);
                into.push(',');
            }
            into.push('}');
        }
        other => into.push_str(&other.to_string()),
    }
}

/// About how many bytes a value has.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 8,
        Value::Array(items) => 8 + items.iter().map(size).sum::<usize>(),
        Value::Object(members) => {
            8 + members
                .iter()
                .map(|(name, member)| name.len() + size(member))
                .sum::<usize>()
        }
        _ => 8,
    }
}
