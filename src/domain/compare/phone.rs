//! Phone numbers, in E.164 by a region.

use serde_json::Value;

use super::{Comparison, Match};

/// Longer texts are no phone numbers.
const LONGEST_TEXT: usize = 100;

pub(super) fn compare(code: &str, expected: &Value, actual: &Value) -> Comparison {
    match (number(code, expected), number(code, actual)) {
        (Some(left), Some(right)) => Comparison::of(left == right, "the same number", "another number"),
        (None, _) => Comparison::new(Match::Undecided, "what is expected is not a whole phone number"),
        (_, None) if holds_digits(actual) => {
            Comparison::new(Match::Undecided, "what is there is not a whole phone number")
        }
        (_, None) => Comparison::new(Match::Different, "what is there is not a phone number"),
    }
}

fn holds_digits(value: &Value) -> bool {
    match value {
        Value::String(text) => text.bytes().any(|byte| byte.is_ascii_digit()),
        Value::Number(_) => true,
        _ => false,
    }
}

/// The digits with the calling code.
fn number(code: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) if text.len() <= LONGEST_TEXT => text.trim().to_lowercase(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let text = text.strip_prefix("tel:").unwrap_or(&text).trim_start();
    // An extension is no part of the number.
    let text = text.split(['x', '#', ';']).next().unwrap_or_default();
    let text = text
        .trim_end()
        .trim_end_matches("ext")
        .trim_end_matches(['e', ' ', ',']);
    if text.chars().any(char::is_alphabetic) {
        return None;
    }
    let is_international = text.starts_with('+');
    // "+44 (0)20 …": the zero is dialled within the country only.
    let text = if is_international {
        text.replace("(0)", "")
    } else {
        text.to_owned()
    };
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if !(7..=15).contains(&digits.len()) {
        return None;
    }
    if is_international {
        return Some(digits);
    }
    if let Some(rest) = digits.strip_prefix("00") {
        return Some(rest.to_owned());
    }
    match code {
        "1" => in_north_america(&digits),
        // Italian numbers keep their zero abroad.
        "39" if digits.starts_with('0') => Some(format!("39{digits}")),
        // Russia dials 8 within the country.
        "7" if digits.len() == 11 && digits.starts_with('8') => Some(format!("7{}", &digits[1..])),
        _ => Some(if let Some(rest) = digits.strip_prefix('0') {
            format!("{code}{rest}")
        } else if digits.starts_with(code) && digits.len() > 10 {
            digits
        } else {
            format!("{code}{digits}")
        }),
    }
}

/// Ten digits, or eleven with the 1; fewer lack their area code, more are dialled abroad.
fn in_north_america(digits: &str) -> Option<String> {
    if let Some(abroad) = digits.strip_prefix("011") {
        return (abroad.len() >= 7).then(|| abroad.to_owned());
    }
    match digits.len() {
        10 => Some(format!("1{digits}")),
        11 if digits.starts_with('1') => Some(digits.to_owned()),
        _ => None,
    }
}
