//! Amounts of money: `$1,250.50`, `1.250,50 EUR`, `1 250,50 €`, `(30.00)`, "50 cents".

use serde_json::Value;

use super::{Comparison, Match, text::fold};

/// Longer texts are no amounts.
const LONGEST_TEXT: usize = 100;

/// An amount with its currency, where it names one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Amount {
    number: f64,
    currency: Option<&'static str>,
}

pub(super) fn compare(within: f64, expected: &Value, actual: &Value) -> Comparison {
    match (amount(expected), amount(actual)) {
        (Some(left), Some(right)) => {
            if let (Some(one), Some(other)) = (left.currency, right.currency)
                && one != other
            {
                return Comparison::new(Match::Different, "another currency");
            }
            // Half a cent of slack: amounts are decimals and floats are not.
            Comparison::of(
                (left.number - right.number).abs() <= within + 0.005,
                "the same amount",
                "another amount",
            )
        }
        (None, _) => Comparison::new(Match::Undecided, "what is expected is not an amount"),
        (_, None) if holds_digits(actual) => {
            Comparison::new(Match::Undecided, "what is there cannot be read as one amount")
        }
        (_, None) => Comparison::new(Match::Different, "what is there is not an amount"),
    }
}

fn holds_digits(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.bytes().any(|byte| byte.is_ascii_digit()))
}

/// A text must hold one number: "5 dollars and 20 cents" or "$30 to $40" is left alone rather than misread.
fn amount(value: &Value) -> Option<Amount> {
    let text = match value {
        Value::Number(number) => {
            let number = number.as_f64().filter(|float| float.is_finite())?;
            return Some(Amount { number, currency: None });
        }
        Value::String(text) if text.len() <= LONGEST_TEXT => fold(text),
        _ => return None,
    };
    let begin = text.find(|c: char| c.is_ascii_digit())?;
    // ".5" begins with its point.
    let begin = if text[..begin].ends_with('.') { begin - 1 } else { begin };
    let (before, rest) = text.split_at(begin);
    let length = length_of_number(rest);
    let (number, after) = rest.split_at(length);
    if after.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut number = read_number(number)?;
    let words: Vec<&str> = before.split_whitespace().chain(after.split_whitespace()).collect();
    if words
        .iter()
        .any(|word| matches!(word.trim_end_matches('.'), "cent" | "cents" | "¢"))
        || after.starts_with('¢')
    {
        number /= 100.0;
    }
    let minus = before
        .trim_end_matches(|c: char| c.is_whitespace() || is_sign(c))
        .ends_with(['-', '−'])
        || before.trim_start().starts_with(['-', '−'])
        || words.contains(&"minus")
        || after.trim() == "-"
        || before.trim_start().starts_with('(') && after.trim_end().ends_with(')');
    Some(Amount {
        number: if minus { -number } else { number },
        currency: currency(&words, before, after),
    })
}

fn is_sign(c: char) -> bool {
    matches!(c, '$' | '€' | '£' | '¥' | '₹')
}

/// Digits with separators between them; a blank or an apostrophe only where three digits follow.
fn length_of_number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = 0;
    loop {
        while digit(at) {
            at += 1;
        }
        match bytes.get(at) {
            Some(b'.' | b',') if digit(at + 1) => at += 1,
            Some(b' ' | b'\'') if at > 0 && digit(at + 1) && digit(at + 2) && digit(at + 3) && !digit(at + 4) => {
                at += 1;
            }
            _ => return at,
        }
    }
}

/// Of separators of two kinds the last is the decimal one; of one kind it is, unless three digits follow each.
fn read_number(text: &str) -> Option<f64> {
    let separators: Vec<(usize, u8)> = text
        .bytes()
        .enumerate()
        .filter(|(_, byte)| !byte.is_ascii_digit())
        .collect();
    let decimal = separators.last().copied().filter(|(at, kind)| {
        let of_kind = separators.iter().filter(|(_, other)| other == kind).count();
        let behind = text.len() - at - 1;
        // "1.250,505" has two kinds, "0.125" cannot be grouped.
        let is_group = behind == 3 && separators.len() == of_kind && *at > 0 && !text.starts_with('0');
        of_kind == 1 && matches!(kind, b'.' | b',') && !is_group
    });
    let grouped = |part: &str| part.chars().filter(char::is_ascii_digit).collect::<String>();
    let plain = match decimal {
        Some((at, _)) => format!("{}.{}", grouped(&text[..at]), grouped(&text[at + 1..])),
        None => grouped(text),
    };
    plain.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Dollars of all countries are one here: `$` does not say whose.
fn currency(words: &[&str], before: &str, after: &str) -> Option<&'static str> {
    let is = |signs: &[char], names: &[&str]| {
        let named = words
            .iter()
            .any(|word| names.contains(&word.trim_matches(|c: char| !c.is_alphabetic())));
        named || before.contains(signs) || after.contains(signs)
    };
    [
        (
            &['$'][..],
            &["usd", "cad", "aud", "nzd", "dollar", "dollars", "bucks"][..],
            "dollar",
        ),
        (&['€'][..], &["eur", "euro", "euros"][..], "euro"),
        (&['£'][..], &["gbp", "pound", "pounds"][..], "pound"),
        (&['¥'][..], &["jpy", "yen"][..], "yen"),
        (&['₹'][..], &["inr", "rupee", "rupees"][..], "rupee"),
        (&[][..], &["chf", "franc", "francs"][..], "franc"),
    ]
    .into_iter()
    .find(|(signs, names, _)| is(signs, names))
    .map(|(_, _, name)| name)
}
