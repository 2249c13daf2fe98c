//! What an answer says: a record, that there is none, that the question was refused, or nothing that can be used.
//!
//! `absence` tells the API's own "no such record" from a page that somebody else put in its place.

use serde_json::{Value, json};
use serde_json_path::JsonPath;

use super::{HttpRecords, Lookups, absence};
use crate::{
    adapters::client::{self, Reply},
    domain::{
        lookup::Fact,
        nesting::{MOST_LEVELS, is_too_deep},
        playbook::Expression,
    },
    ports::{UpstreamError, UpstreamReason},
};

/// Codes of an error answer that are shown.
const MOST_CODES: usize = 3;
const LONGEST_CODE: usize = 40;

/// An answer that was read.
pub(super) enum Answered {
    /// It says all there is to say.
    Fact(Fact),
    /// JSON in which the record is looked for.
    Json(Value),
}

/// What tells answers apart whatever was asked, compiled.
#[derive(Debug, Default)]
pub(super) struct Signs {
    pub(super) error_code: Option<JsonPath>,
    pub(super) error_when: Option<Expression>,
    pub(super) absent_when: Option<Expression>,
}

impl HttpRecords {
    fn bad_answer(&self, reply: &Reply, what: &str) -> UpstreamError {
        UpstreamError {
            upstream: self.upstream.clone(),
            reason: UpstreamReason::BadAnswer,
            detail: format!("{what} (status {}, {} bytes)", reply.status, reply.body.len()),
            retry_after: reply.retry_after,
        }
    }

    /// The error that a status stands for whatever was asked, with the codes that the answer gives.
    pub(super) fn refusal(&self, reply: &Reply) -> Option<UpstreamError> {
        let mut error = client::refusal(&self.upstream, reply, None)?;
        let answer = serde_json::from_slice(&reply.body).unwrap_or_default();
        if let Some(codes) = self.codes(&answer) {
            error.detail.push_str(": ");
            error.detail.push_str(&codes);
        }
        Some(error)
    }

    /// The codes in an answer that refuses. Only what looks like a code: words may repeat what was asked.
    fn codes(&self, answer: &Value) -> Option<String> {
        let is_code = |code: &&str| {
            (1..=LONGEST_CODE).contains(&code.len())
                && code
                    .chars()
                    .all(|letter| letter.is_ascii_alphabetic() || matches!(letter, '-' | '_'))
        };
        let found = self.signs.error_code.as_ref()?.query(answer).all();
        let codes: Vec<&str> = found
            .into_iter()
            .filter_map(Value::as_str)
            .filter(is_code)
            .take(MOST_CODES)
            .collect();
        (!codes.is_empty()).then(|| codes.join(", "))
    }

    /// Reads an answer up to the point where the record is looked for in it.
    ///
    /// # Errors
    /// When the system is in trouble, or the answer is none.
    pub(super) fn read(&self, reply: &Reply, lookup: &Lookups) -> Result<Answered, UpstreamError> {
        if let Some(error) = self.refusal(reply) {
            return Err(error);
        }
        let fact = |fact: Fact| Ok(Answered::Fact(fact));
        let is_empty = reply.body.iter().all(u8::is_ascii_whitespace);
        let body = if is_empty {
            Some(Value::Null)
        } else {
            serde_json::from_slice::<Value>(&reply.body).ok()
        };
        let says_no = matches!(reply.status, 404 | 410);
        if let Some(body) = body.clone().or_else(|| says_no.then(|| absence::as_text(reply)))
            && matches!(reply.status, 200..=299 | 400..=499)
        {
            let answer = json!({"status": reply.status, "body": body});
            let holds = |condition: &Option<Expression>| condition.as_ref().is_some_and(|sign| sign.holds(&answer));
            if holds(&lookup.absent_when) || holds(&self.signs.absent_when) {
                return fact(Fact::Absent);
            }
            if reply.is_success() && holds(&self.signs.error_when) {
                let codes = self.codes(&body).map(|codes| format!(": {codes}")).unwrap_or_default();
                return Err(self.bad_answer(reply, &format!("the answer is an error{codes}")));
            }
        }
        if says_no {
            // It is waited for, as any answer that is none: a proxy says this while a service is rolled out.
            return match absence::somebody_elses(reply, body.as_ref()) {
                None => fact(Fact::Absent),
                Some(how) => Err(self.bad_answer(reply, &format!("the answer is {how}"))),
            };
        }
        match reply.status {
            204 | 205 => {
                return fact(Fact::Unknown {
                    reason: format!("answered {} without content", client::status_name(reply.status)),
                });
            }
            400..=499 => {
                let codes = body.as_ref().and_then(|body| self.codes(body));
                let codes = codes.map(|codes| format!(" ({codes})")).unwrap_or_default();
                return fact(Fact::Unknown {
                    reason: format!(
                        "the system refused the question: {}{codes}",
                        client::status_name(reply.status)
                    ),
                });
            }
            200..=299 => {}
            _ => return Err(self.bad_answer(reply, "the answer has a status that means nothing here")),
        }
        if reply.is_html() {
            return Err(self.bad_answer(
                reply,
                "the answer is an HTML page, not the API's: check base_url and sign-in",
            ));
        }
        match body {
            Some(answer) if !is_empty => Ok(Answered::Json(answer)),
            _ => Err(self.bad_answer(reply, "the answer is not complete JSON")),
        }
    }

    /// The record in an answer.
    pub(super) fn select(answer: Value, lookup: &Lookups) -> Fact {
        let record = match &lookup.select {
            None => answer,
            Some(select) => {
                let mut selected: Vec<Value> = select.query(&answer).all().into_iter().cloned().collect();
                if selected.len() == 1 {
                    selected.swap_remove(0)
                } else {
                    Value::Array(selected)
                }
            }
        };
        match record {
            Value::Null => Fact::Absent,
            Value::Array(records) if records.is_empty() => Fact::Absent,
            record if is_too_deep(&record) => Fact::Unknown {
                reason: format!("the record is nested deeper than {MOST_LEVELS} levels"),
            },
            record => Fact::Found { record },
        }
    }
}
