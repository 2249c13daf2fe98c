//! Small values of a playbook: operations, durations, zones, regions, words.

use std::{collections::BTreeMap, time::Duration};

use chrono_tz::Tz;
use wildmatch::WildMatch;

use crate::domain::{
    playbook::{
        expression::Source,
        fault::suggestion,
        reader::{Placed, Table},
    },
    reading::Operation,
};

/// Calling codes of the regions that a playbook may name; any other region is written as its code (`"+353"`).
const CALLING_CODES: [(&str, &str); 24] = [
    ("US", "1"),
    ("CA", "1"),
    ("GB", "44"),
    ("IE", "353"),
    ("DE", "49"),
    ("AT", "43"),
    ("CH", "41"),
    ("FR", "33"),
    ("ES", "34"),
    ("PT", "351"),
    ("IT", "39"),
    ("NL", "31"),
    ("BE", "32"),
    ("DK", "45"),
    ("SE", "46"),
    ("NO", "47"),
    ("FI", "358"),
    ("PL", "48"),
    ("AU", "61"),
    ("NZ", "64"),
    ("IN", "91"),
    ("JP", "81"),
    ("BR", "55"),
    ("MX", "52"),
];

/// Words of an operation in a playbook.
pub(super) fn operation(table: &Table<'_, '_>, key: &str, text: &Placed<String>) -> Option<Operation> {
    match text.value.as_str() {
        "create" => Some(Operation::Create),
        "update" => Some(Operation::Update),
        "cancel" => Some(Operation::Cancel),
        other => {
            let hint = suggestion(other, ["create", "update", "cancel"]);
            table.fault(&text.at, key, format!("unknown operation \"{other}\"{hint}"));
            None
        }
    }
}

pub(super) fn one_of<T: Copy>(table: &Table<'_, '_>, key: &'static str, choices: &[(&str, T)], default: T) -> T {
    let Some(text) = table.text(key) else {
        return default;
    };
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text.value) {
        return *value;
    }
    let names = choices.iter().map(|(name, _)| *name);
    let hint = suggestion(&text.value, names);
    table.fault(&text.at, key, format!("unknown value \"{}\"{hint}", text.value));
    default
}

pub(super) fn globs(table: &Table<'_, '_>, key: &'static str) -> Vec<WildMatch> {
    table
        .texts(key)
        .iter()
        .map(|text| WildMatch::new(&text.value))
        .collect()
}

pub(super) fn lower(texts: Vec<Placed<String>>) -> Vec<String> {
    texts
        .into_iter()
        .map(|text| crate::domain::compare::fold(&text.value))
        .filter(|text| !text.is_empty())
        .collect()
}

/// `90s`, `5m`, `2h`, `1d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = text[..split].parse().ok()?;
    let seconds = match text[split..].trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    count.checked_mul(seconds).map(Duration::from_secs)
}

pub(super) fn zone(table: &Table<'_, '_>, key: &'static str) -> Option<Tz> {
    let text = table.text(key)?;
    let parsed = text.value.parse::<Tz>().ok();
    if parsed.is_none() {
        table.fault(
            &text.at,
            key,
            format!(
                "unknown time zone \"{}\" (an IANA name such as \"America/New_York\")",
                text.value
            ),
        );
    }
    parsed
}

pub(super) fn calling_code(table: &Table<'_, '_>, key: &'static str) -> Option<String> {
    let text = table.text(key)?;
    if let Some((_, code)) = CALLING_CODES.iter().find(|(region, _)| *region == text.value) {
        return Some((*code).to_owned());
    }
    if let Some(code) = text.value.strip_prefix('+')
        && (1..=3).contains(&code.len())
        && code.chars().all(|c| c.is_ascii_digit())
    {
        return Some(code.to_owned());
    }
    table.fault(
        &text.at,
        key,
        format!(
            "unknown region \"{}\" (write its calling code instead, such as \"+353\")",
            text.value
        ),
    );
    None
}

/// A table of name = source.
pub(super) fn sources(table: &Table<'_, '_>, key: &'static str, variables: &[&str]) -> BTreeMap<String, Source> {
    let Some(inner) = table.table(key) else {
        return BTreeMap::new();
    };
    inner
        .entries()
        .into_iter()
        .map(|(name, value)| {
            let source = inner.source_of(&name.value, value, variables);
            (name.value, source)
        })
        .collect()
}
