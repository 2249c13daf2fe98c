//! What a system of record was asked, as it is stored: personal data as tokens, which nothing turns back.
//!
//! A record's id stays: it is how a person finds the record again.

use super::{Mask, is_birth};
use crate::{adapters::percent, domain::lookup::Lookup};

/// A shorter value stands in a request for other things as well.
const SHORTEST: usize = 4;

/// A lookup and its request, masked. What is still to be asked is keyed by the lookup itself, never by this one.
pub fn asked(lookup: &Lookup, request: &str) -> (Lookup, String) {
    let mut mask = Mask {
        on: true,
        ..Mask::default()
    };
    let mut stored = lookup.clone();
    let mut hidden: Vec<(String, String)> = Vec::new();
    for (name, value) in &mut stored.keys {
        let token = if is_birth(name) && value.contains(|letter: char| letter.is_ascii_digit()) {
            mask.token("DATE_OF_BIRTH", value)
        } else {
            mask.hide(value)
        };
        if token != *value {
            hidden.push((std::mem::replace(value, token.clone()), token));
        }
    }
    // Longest first: one value may be part of another.
    hidden.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    let without_id = |text: &str, mask: &mut Mask| {
        let mut text = hide_encoded(text, mask);
        for (value, token) in hidden.iter().filter(|(value, _)| value.len() >= SHORTEST) {
            text = text.replace(&percent::encode(value), token).replace(value, token);
        }
        text
    };
    let id = lookup.id.as_deref().map(percent::encode).filter(|id| !id.is_empty());
    let request = match id {
        Some(id) => {
            let parts: Vec<String> = request.split(&id).map(|part| without_id(part, &mut mask)).collect();
            parts.join(&id)
        }
        None => without_id(request, &mut mask),
    };
    (stored, request)
}

/// What a template wrote beside the keys, in the encoding of an address.
fn hide_encoded(text: &str, mask: &mut Mask) -> String {
    let mut stored = String::with_capacity(text.len());
    for part in text.split_inclusive(['?', '&', '=', '/']) {
        let (value, end) = match part.char_indices().next_back() {
            Some((at, end @ ('?' | '&' | '=' | '/'))) => (&part[..at], Some(end)),
            _ => (part, None),
        };
        let decoded = percent::decode(value).unwrap_or_else(|| value.to_owned());
        let hidden = mask.hide(&decoded);
        stored.push_str(if hidden == decoded { value } else { &hidden });
        stored.extend(end);
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(id: Option<&str>, keys: &[(&str, &str)]) -> Lookup {
        Lookup {
            system: "practice".to_owned(),
            record: "patient".to_owned(),
            id: id.map(str::to_owned),
            keys: keys
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn a_question_is_stored_without_the_personal_data_in_it() {
        let question = lookup(
            None,
            &[
                ("dob", "1990-04-05"),
                ("email", "mia+x@example.com"),
                ("name", "Sorel, Mia"),
                ("phone", "+1 555 010 0199"),
            ],
        );
        let request =
            "GET /p?name=Sorel%2C%20Mia&dob=1990-04-05&email=mia%2Bx%40example.com&phone=%2B1%20555%20010%200199";
        let (stored, request) = asked(&question, request);
        assert_eq!(
            request,
            "GET /p?name=Sorel%2C%20Mia&dob=[DATE_OF_BIRTH_1]&email=[EMAIL_1]&phone=[PHONE_1]"
        );
        let keys: Vec<&str> = stored.keys.values().map(String::as_str).collect();
        assert_eq!(keys, ["[DATE_OF_BIRTH_1]", "[EMAIL_1]", "Sorel, Mia", "[PHONE_1]"]);
        assert_eq!(stored.record, "patient");
    }

    #[test]
    fn what_names_the_record_stays_also_when_it_looks_like_a_number_to_call() {
        let question = lookup(Some("5550100199"), &[("date", "2026-09-14")]);
        for request in [
            "GET /orders/5550100199?date=2026-09-14",
            "GetAppointmentListByPatient(patGUID=5550100199, date=2026-09-14)",
            "POST /orders {\"id\":\"5550100199\"}",
        ] {
            assert_eq!(asked(&question, request), (question.clone(), request.to_owned()));
        }
    }

    #[test]
    fn a_value_that_a_template_wrote_by_itself_is_hidden_as_well() {
        let (_, request) = asked(
            &lookup(Some("o-1"), &[]),
            "GET /orders/o-1?by=mia%40example.com&tel=%2B15550100199",
        );
        assert_eq!(request, "GET /orders/o-1?by=[EMAIL_1]&tel=[PHONE_1]");
        let (_, request) = asked(&lookup(None, &[]), "POST /find {\"email\":\"mia@example.com\"}");
        assert_eq!(request, "POST /find {\"email\":\"[EMAIL_1]\"}");
    }
}
