//! Personal data leaves for a model as tokens (`[PHONE_1]`) and comes back as itself; in what is stored as evidence it stays
//! a token.
//!
//! Tokens are per session and reversible, so that a reading can still carry a phone number without the model ever seeing it.
//! Hiding too much does no harm, since it comes back; a date is hidden only where it is a date of birth, because other dates
//! are what a session is about.

mod asked;

pub use self::asked::asked;

use std::{collections::HashMap, sync::LazyLock};

use regex::Regex;
use serde_json::Value;

use crate::domain::lookup::Fact;

/// Dates of birth and phone numbers that are also looked for where nothing says what they are.
const KNOWN: usize = 200;

const DATE: &str = r"\d{4}[./-]\d{1,2}[./-]\d{1,2}|\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? \d{1,2}(?:st|nd|rd|th)?,? \d{4}|\d{1,2}(?:st|nd|rd|th)?(?: of|[.-])?[ -]?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[.,-]?[ -]?(?:\d{4}|\d{2})";

static TOKEN: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[?\b(?:EMAIL|PHONE|DATE_OF_BIRTH|CARD|TEXT)_\d+\b\]?"));
static EMAIL: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\p{L}\d._%+'-]+@[\p{L}\d-]+(?:\.[\p{L}\d-]+)+"));
static BIRTH: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"(?is)\b(?:born|birth|births|birthday|birthdate|dob|date_of_birth|birth_date|d\.o\.b)\b.{{0,60}}?\b({DATE}|(?:19|20)\d{{6}})\b"
    ))
});
static DIGITS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\+?\(?\d(?:[ ().-]{0,2}\d){6,18}"));
static ANY_DATE: LazyLock<Regex> = LazyLock::new(|| pattern(&format!(r"(?i)(?:{DATE})")));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns are constants, and every one is used by a test")
}

/// The tokens of one session.
#[derive(Debug, Default)]
pub struct Mask {
    on: bool,
    tokens: HashMap<String, String>,
    originals: HashMap<String, String>,
    counts: HashMap<&'static str, u32>,
    /// What is personal wherever it stands, and what it is.
    known: Vec<(String, &'static str)>,
}

impl Mask {
    /// Hides nothing and restores nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// A mask for these texts, which follow one another: an answer that holds only a date is one of birth when the question
    /// before it asked for that.
    pub fn over<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let mut mask = Self {
            on: true,
            ..Self::default()
        };
        let mut joined = String::new();
        for text in texts {
            joined.push_str(text);
            joined.push('\n');
        }
        mask.know_births_in(&joined);
        mask
    }

    /// Gets to know the dates of birth and phone numbers in a value that will be shown, whole or in parts: a part no longer
    /// says what it is. A field's name tells, also where it stands beside the value (`{"name": "dob", "expected": …}`).
    pub(super) fn learn(&mut self, value: &Value) {
        if self.on {
            self.learn_named(value, None);
        }
    }

    fn learn_named(&mut self, value: &Value, named: Option<Named>) {
        match (value, named) {
            (Value::String(text), None) => self.know_births_in(text),
            (Value::String(text), Some(named)) => self.learn_text(text, named),
            // A number without quotes is one to call, or a day, as much as with them.
            (Value::Number(number), Some(named)) => self.learn_text(&number.to_string(), named),
            (Value::Array(items), named) => items.iter().for_each(|item| self.learn_named(item, named)),
            (Value::Object(fields), named) => {
                let named = named.or_else(|| fields.get("name").and_then(Value::as_str).and_then(Named::of));
                for (name, field) in fields {
                    self.learn_named(field, named.or_else(|| Named::of(name)));
                }
            }
            _ => {}
        }
    }

    fn learn_text(&mut self, text: &str, named: Named) {
        let digits = text.chars().filter(char::is_ascii_digit).count();
        match named {
            Named::Birth => {
                let before = self.known.len();
                for date in ANY_DATE.find_iter(text) {
                    self.know(date.as_str(), "DATE_OF_BIRTH");
                }
                // `19900405`: without its name a number like any other.
                if self.known.len() == before && digits >= 6 && text.len() <= 20 {
                    self.know(text.trim(), "DATE_OF_BIRTH");
                }
            }
            Named::Phone if (7..=15).contains(&digits) && text.len() <= 30 => self.know(text.trim(), "PHONE"),
            Named::Phone => {}
        }
    }

    fn know_births_in(&mut self, text: &str) {
        for found in BIRTH.captures_iter(text) {
            if let Some(date) = found.get(1) {
                self.know(date.as_str(), "DATE_OF_BIRTH");
            }
        }
    }

    fn know(&mut self, original: &str, kind: &'static str) {
        if self.known.len() < KNOWN && !self.known.iter().any(|(known, _)| known == original) {
            self.known.push((original.to_owned(), kind));
        }
    }

    /// The text with tokens in place of personal data.
    pub fn hide(&mut self, text: &str) -> String {
        if !self.on {
            return text.to_owned();
        }
        let mut spans: Vec<(usize, usize, &'static str)> = Vec::new();
        let mut take = |start: usize, end: usize, kind| {
            if spans.iter().all(|(from, to, _)| end <= *from || start >= *to) {
                spans.push((start, end, kind));
            }
        };
        // A caller who says `[PHONE_1]` must not be given somebody's phone number.
        for found in TOKEN.find_iter(text) {
            take(found.start(), found.end(), "TEXT");
        }
        for found in EMAIL.find_iter(text) {
            take(found.start(), found.end(), "EMAIL");
        }
        for found in BIRTH.captures_iter(text) {
            if let Some(date) = found.get(1) {
                take(date.start(), date.end(), "DATE_OF_BIRTH");
            }
        }
        for (original, kind) in &self.known {
            for (start, _) in text.match_indices(original.as_str()) {
                take(start, start + original.len(), kind);
            }
        }
        for found in DIGITS.find_iter(text) {
            if let Some(kind) = kind_of_digits(text, found.start(), found.end()) {
                take(found.start(), found.end(), kind);
            }
        }
        spans.sort_unstable();
        let mut hidden = String::with_capacity(text.len());
        let mut rest = 0;
        for (start, end, kind) in spans {
            hidden.push_str(&text[rest..start]);
            hidden.push_str(&self.token(kind, &text[start..end]));
            rest = end;
        }
        hidden.push_str(&text[rest..]);
        hidden
    }

    fn token(&mut self, kind: &'static str, original: &str) -> String {
        if let Some(token) = self.tokens.get(original) {
            return token.clone();
        }
        let number = self.counts.entry(kind).or_default();
        *number += 1;
        let name = format!("{kind}_{number}");
        let token = format!("[{name}]");
        self.originals.insert(name, original.to_owned());
        self.tokens.insert(original.to_owned(), token.clone());
        token
    }

    /// [`Mask::hide`] for what was given a token before, without giving new ones.
    pub(super) fn hide_known(&self, text: &str) -> String {
        let mut known: Vec<&String> = self.tokens.keys().collect();
        // Longest first; then by text, so that the same session always asks the same.
        known.sort_unstable_by_key(|original| (std::cmp::Reverse(original.len()), *original));
        let mut hidden = text.to_owned();
        for original in known {
            hidden = hidden.replace(original.as_str(), &self.tokens[original]);
        }
        hidden
    }

    /// The text with the personal data in place of tokens; a token that was never given stays.
    pub fn restore(&self, text: &str) -> String {
        if self.originals.is_empty() {
            return text.to_owned();
        }
        let restored = TOKEN.replace_all(text, |found: &regex::Captures<'_>| {
            let token = &found[0];
            let name = token.trim_start_matches('[').trim_end_matches(']');
            self.originals.get(name).cloned().unwrap_or_else(|| token.to_owned())
        });
        restored.into_owned()
    }

    /// [`Mask::hide`] for every text in a value; `birth` says that the dates in it are of birth.
    fn hide_all(&mut self, value: &mut Value, birth: bool) {
        match value {
            // However it is written: `19900405`, `5 April '90`.
            Value::String(text) if birth && text.contains(|letter: char| letter.is_ascii_digit()) => {
                *text = self.token("DATE_OF_BIRTH", text);
            }
            Value::String(text) => *text = self.hide(text),
            // A phone or card number may come without quotes, a date of birth as a count or in parts.
            Value::Number(number) => {
                let text = number.to_string();
                let hidden = if birth {
                    self.token("DATE_OF_BIRTH", &text)
                } else {
                    self.hide(&text)
                };
                if hidden != text {
                    *value = Value::String(hidden);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_all(item, birth)),
            Value::Object(fields) => {
                for (name, mut field) in std::mem::take(fields) {
                    self.hide_all(&mut field, birth || is_birth(&name));
                    fields.insert(self.hide(&name), field);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// [`Mask::restore`] for every text in a value.
    pub fn restore_all(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.restore(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.restore_all(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.restore_all(field)),
            _ => {}
        }
    }
}

/// A system's answer as it is stored: personal data as tokens, which nothing turns back.
pub fn fact(fact: &Fact) -> Fact {
    let mut mask = Mask {
        on: true,
        ..Mask::default()
    };
    match fact {
        Fact::Found { record } => {
            let mut record = record.clone();
            mask.hide_all(&mut record, false);
            Fact::Found { record }
        }
        Fact::Absent => Fact::Absent,
        Fact::Unknown { reason } => Fact::Unknown {
            reason: mask.hide(reason),
        },
    }
}

/// What a field's name says of its value.
#[derive(Debug, Clone, Copy)]
enum Named {
    Birth,
    Phone,
}

impl Named {
    fn of(name: &str) -> Option<Self> {
        if is_birth(name) {
            return Some(Self::Birth);
        }
        let name = name.to_ascii_lowercase();
        let is_phone = ["phone", "mobile"].iter().any(|word| name.contains(word))
            || name.split('_').any(|part| matches!(part, "tel" | "cell" | "fax"));
        is_phone.then_some(Self::Phone)
    }
}

/// A field's name speaks of a birth: `dob`, `PatientBirthDate`, `date_of_birth`.
fn is_birth(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "dob" || name.contains("birth") || name.split('_').any(|part| part == "dob")
}

/// What a run of digits is, if it is personal at all.
fn kind_of_digits(text: &str, start: usize, end: usize) -> Option<&'static str> {
    let part_of_word = |character: char| character.is_alphanumeric() || character == '_';
    if text[..start].chars().next_back().is_some_and(part_of_word)
        || text[end..].chars().next().is_some_and(part_of_word)
    {
        return None;
    }
    let run = &text[start..end];
    let digits: Vec<u32> = run.chars().filter_map(|character| character.to_digit(10)).collect();
    if (13..=19).contains(&digits.len()) && luhn(&digits) {
        return Some("CARD");
    }
    if ANY_DATE.is_match(run) {
        return None;
    }
    let international = run.starts_with('+') || run.starts_with("00");
    let is_phone = match digits.len() {
        7 => run.len() == 8 && matches!(run.as_bytes()[3], b'-' | b'.' | b' '),
        10..=11 => true,
        8..=15 => international,
        _ => false,
    };
    is_phone.then_some("PHONE")
}

fn luhn(digits: &[u32]) -> bool {
    let mut sum = 0;
    for (position, digit) in digits.iter().rev().enumerate() {
        let doubled = if position % 2 == 1 { digit * 2 } else { *digit };
        sum += if doubled > 9 { doubled - 9 } else { doubled };
    }
    sum % 10 == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hidden(text: &str) -> String {
        Mask::over([text].into_iter()).hide(text)
    }

    #[test]
    fn personal_data_is_hidden_and_comes_back() {
        for (text, expected) in [
            ("mail zoë.li+x@example.co.uk now", "mail [EMAIL_1] now"),
            ("call +1 (555) 010-0199.", "call [PHONE_1]."),
            ("call 555-0100 or 5550100199", "call [PHONE_1] or [PHONE_2]"),
            ("0049 30 1234567", "[PHONE_1]"),
            ("card 4111 1111 1111 1111", "card [CARD_1]"),
            ("born on April 5th, 1990", "born on [DATE_OF_BIRTH_1]"),
            (r#"{"dob": "1990-04-05"}"#, r#"{"dob": "[DATE_OF_BIRTH_1]"}"#),
        ] {
            let mut mask = Mask::over([text].into_iter());
            let hidden = mask.hide(text);
            assert_eq!(hidden, expected);
            assert_eq!(mask.restore(&hidden), text);
        }
    }

    #[test]
    fn what_a_session_is_about_stays() {
        for text in [
            "on 2026-09-14 at 15:30, or 09/14/2026",
            "2026-09-14T15:30:00-04:00",
            "reservation HAT136, credit_card_4421486, certificate 7504069",
            "1234 5678 9012",
            "prices 152, 103 and 255",
        ] {
            assert_eq!(hidden(text), text);
        }
    }

    #[test]
    fn a_date_is_one_of_birth_when_the_question_before_asked_for_it() {
        let texts = [
            "What is Ada's date of birth?",
            "It's 08/29/2018.",
            "Ada, 08/29/2018, on 09/14/2026: right?",
        ];
        let mut mask = Mask::over(texts.into_iter());
        assert_eq!(mask.hide(texts[1]), "It's [DATE_OF_BIRTH_1].");
        assert_eq!(mask.hide(texts[2]), "Ada, [DATE_OF_BIRTH_1], on 09/14/2026: right?");
    }

    #[test]
    fn a_date_that_a_value_calls_one_of_birth_is_hidden_where_nothing_says_so() {
        let mut mask = Mask::over(std::iter::empty());
        mask.learn(
            &json!({"passengers": [{"dob": "1960-12-01", "flight": "2024-05-25"}], "text": "{\"dob\":\"1970-01-02\"}"}),
        );
        mask.learn(
            &json!([{"name": "date_of_birth", "expected": "04/05/1990"}, {"name": "date", "expected": "04/06/2024"}]),
        );
        assert_eq!(
            mask.hide("1960-12-01 2024-05-25 1970-01-02 04/05/1990 04/06/2024"),
            "[DATE_OF_BIRTH_1] 2024-05-25 [DATE_OF_BIRTH_2] [DATE_OF_BIRTH_3] 04/06/2024"
        );
        let mut off = Mask::off();
        off.learn(&json!({"dob": "1960-12-01"}));
        assert_eq!(off.hide("1960-12-01"), "1960-12-01");
    }

    #[test]
    fn a_token_spoken_by_a_caller_is_never_somebodys_data() {
        let mut mask = Mask::over(std::iter::empty());
        let hidden = mask.hide("my number is 555-0100, and yours is [PHONE_1]");
        assert_eq!(hidden, "my number is [PHONE_1], and yours is [TEXT_1]");
        assert_eq!(
            mask.restore("[TEXT_1] PHONE_1 [PHONE_9]"),
            "[PHONE_1] 555-0100 [PHONE_9]"
        );
    }

    #[test]
    fn a_stored_answer_holds_no_personal_data() {
        let record = json!({
            "name": "Mia", "dob": "1990-04-05", "email": "mia@example.com", "date": "2026-09-14",
            "contacts": [{"PatientBirthDate": "08/29/2018", "phone": "+15550100199"}],
        });
        let stored = json!({
            "name": "Mia", "dob": "[DATE_OF_BIRTH_2]", "email": "[EMAIL_1]", "date": "2026-09-14",
            "contacts": [{"PatientBirthDate": "[DATE_OF_BIRTH_1]", "phone": "[PHONE_1]"}],
        });
        assert_eq!(fact(&Fact::Found { record }), Fact::Found { record: stored });
        assert_eq!(fact(&Fact::Absent), Fact::Absent);
    }

    #[test]
    fn a_stored_answer_holds_no_personal_data_however_it_is_written() {
        let record = json!({
            "phone": 5_550_100_199_u64, "card": 4_111_111_111_111_111_u64, "amount": 1_520, "ok": true,
            "birth": {"year": 1990, "month": 4}, "dob": "19900405", "by": {"mia@example.com": {"seats": 2}},
        });
        let Fact::Found { record: stored } = fact(&Fact::Found { record }) else {
            panic!("it was found");
        };
        let text = stored.to_string();
        for secret in ["5550100199", "4111", "1990", "mia@"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert_eq!(stored["amount"], 1_520);
        assert_eq!(stored["by"]["[EMAIL_1]"]["seats"], 2);
    }

    #[test]
    fn a_phone_number_without_quotes_is_hidden_in_a_tools_text_and_where_it_is_repeated() {
        let output = json!({"contact": {"mobile_phone": 441_632_960_961_u64, "seats": 1_234_567}, "tel": "5550100"});
        let mut mask = Mask::over(std::iter::empty());
        mask.learn(&output);
        let hidden = mask.hide(&output.to_string());
        assert_eq!(
            hidden,
            r#"{"contact":{"mobile_phone":[PHONE_1],"seats":1234567},"tel":"[PHONE_2]"}"#
        );
        assert_eq!(mask.hide("I have 441632960961 here"), "I have [PHONE_1] here");
        assert_eq!(mask.restore(&hidden), output.to_string());
    }

    #[test]
    fn a_date_of_birth_is_known_in_every_shape() {
        for date in [
            "1990/04/05",
            "1990.4.5",
            "5-Apr-1990",
            "5 Apr 90",
            "05. April 1990",
            "5th of April 1990",
            "19900405",
            "04/05/90",
            "Apr. 5, 1990",
        ] {
            assert_eq!(
                hidden(&format!("born on {date}.")),
                "born on [DATE_OF_BIRTH_1].",
                "{date}"
            );
            let mut mask = Mask::over(std::iter::empty());
            mask.learn(&json!({"birthDate": date}));
            assert_eq!(mask.hide(&format!("it is {date}")), "it is [DATE_OF_BIRTH_1]", "{date}");
        }
        let mut mask = Mask::over(std::iter::empty());
        mask.learn(&json!({"dob": 19_900_405}));
        assert_eq!(mask.hide("19900405 and 1990"), "[DATE_OF_BIRTH_1] and 1990");
    }

    #[test]
    fn a_mask_that_is_off_changes_nothing() {
        assert_eq!(Mask::off().hide("call 555-0100"), "call 555-0100");
    }
}
