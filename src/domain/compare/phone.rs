//! Phone numbers, in E.164 by a region.

use serde_json::Value;

use super::{Comparison, Match};

pub(super) fn compare(code: &str, expected: &Value, actual: &Value) -> Comparison {
    match (number(code, expected), number(code, actual)) {
        (Some(left), Some(right)) => Comparison::of(left == right, "the same number", "another number"),
        (None, _) => Comparison::new(Match::Undecided, "what is expected is not a whole phone number"),
        (_, None) => {
            let why = "what is there is not a phone number";
            Comparison::new(Match::Different, why)
        }
    }
}

/// The digits with the calling code.
fn number(code: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    // An extension is no part of the number.
    let lower = text.to_lowercase();
    let text = lower.split(['x', '#', ';']).next().unwrap_or_default();
    if text.chars().any(char::is_alphabetic) && !text.starts_with("tel:") {
        return None;
    }
    let international = text.trim_start_matches("tel:").trim_start().starts_with('+');
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if !(7..=15).contains(&digits.len()) {
        return None;
    }
    if international {
        return Some(digits);
    }
    if let Some(rest) = digits.strip_prefix("00") {
        return Some(rest.to_owned());
    }
    if code == "1" {
        return Some(if digits.len() == 11 && digits.starts_with('1') {
            digits
        } else {
            format!("1{digits}")
        });
    }
    if let Some(rest) = digits.strip_prefix('0') {
        return Some(format!("{code}{rest}"));
    }
    if digits.starts_with(code) && digits.len() > 10 {
        return Some(digits);
    }
    Some(format!("{code}{digits}"))
}
