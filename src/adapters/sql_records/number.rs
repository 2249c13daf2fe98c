//! Numbers of a database as JSON, without losing a digit.

use serde_json::{Number, Value};

/// A decimal number as a JSON number where that is the same number, else as its text: money must not be rounded.
pub(super) fn exact(text: &str) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return whole.into();
    }
    if let Ok(whole) = text.parse::<u64>() {
        return whole.into();
    }
    let number = text.parse::<f64>().ok().and_then(Number::from_f64);
    match number {
        Some(number) if digits(&number.to_string()) == digits(text) => Value::Number(number),
        _ => text.into(),
    }
}

/// A binary number as the shortest decimal that is it.
pub(super) fn float(number: f64) -> Value {
    Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
}

/// Sign, digits without zeros around them, and the power of ten of the last of these.
fn digits(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, power) = match text.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, power.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let kept = all.trim_end_matches('0');
    let power = power - i64::try_from(fraction.len()).ok()? + i64::try_from(all.len() - kept.len()).ok()?;
    let kept = kept.trim_start_matches('0');
    if kept.is_empty() {
        return Some((false, String::new(), 0));
    }
    Some((negative, kept.to_owned(), power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_that_json_would_round_stays_a_text() {
        assert_eq!(exact("7"), json!(7));
        assert_eq!(exact("-9223372036854775808"), json!(i64::MIN));
        assert_eq!(exact("18446744073709551615"), json!(u64::MAX));
        assert_eq!(exact("12.50"), json!(12.5));
        assert_eq!(exact("-0.000"), json!(-0.0));
        assert_eq!(exact("1e+100"), json!(1e100));
        assert_eq!(exact("0.1"), json!(0.1));
        assert_eq!(exact("99999999999999999999"), json!("99999999999999999999"));
        assert_eq!(
            exact("0.1000000000000000055511151231257827"),
            json!("0.1000000000000000055511151231257827")
        );
        assert_eq!(exact("NaN"), json!("NaN"));
        assert_eq!(float(0.25), json!(0.25));
        assert_eq!(float(f64::INFINITY), json!("inf"));
    }

    proptest! {
        #[test]
        fn what_becomes_a_number_is_the_same_number(whole in "[1-9][0-9]{0,24}", fraction in "[0-9]{0,24}") {
            let text = if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") };
            match exact(&text) {
                Value::Number(number) => prop_assert_eq!(digits(&number.to_string()), digits(&text)),
                kept => prop_assert_eq!(kept, Value::from(text)),
            }
        }
    }
}
