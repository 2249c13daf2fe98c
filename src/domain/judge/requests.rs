//! What was asked for: the reading's requests, one per subject, with those that the intent names only in its details.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Case;
use crate::domain::{
    compare::{fold, same_name, squeeze},
    playbook::Playbook,
    reading::{Reading, Request},
};

/// More requests than these are left out: no caller has so many wishes.
const MOST_REQUESTS: usize = 200;

/// The requests of a reading, one per subject, with those that the intent names only in its details.
pub(super) fn requests(playbook: &Playbook, case: &Case) -> Vec<Request> {
    let reading = &case.reading;
    let named = named_subjects(playbook, reading);
    let mut requests: Vec<Request> = Vec::new();
    for request in reading.requests.iter().take(MOST_REQUESTS) {
        let without = request
            .subject
            .as_deref()
            .is_none_or(|subject| subject.trim().is_empty());
        let spread = without && !named.is_empty() && request.id.is_none() && reading.requests.len() == 1;
        let copies = if spread {
            named
                .iter()
                .map(|name| Request {
                    subject: Some(name.clone()),
                    ..request.clone()
                })
                .collect()
        } else {
            vec![request.clone()]
        };
        for copy in copies {
            // A reader that says the same thing twice asks for it once, unless there are two of one name.
            let same = |other: &Request| {
                other.operation == copy.operation
                    && other.record == copy.record
                    && other.subject == copy.subject
                    && other.id == copy.id
                    && other.fields == copy.fields
                    && (copy.id.is_some() || copy.subject.is_some())
            };
            let known = requests.iter().filter(|other| same(other)).count();
            if known < times_named(&named, copy.subject.as_deref()) {
                requests.push(copy);
            }
        }
    }
    let Some(intent) = playbook.intent(&reading.intent).filter(|intent| intent.verify) else {
        return requests;
    };
    let Some(calls_for) = intent.calls_for.first() else {
        return requests;
    };
    for (at, name) in named.iter().enumerate() {
        let is_known = |subject: &Option<String>| {
            subject
                .as_ref()
                .is_some_and(|subject| same_name(&playbook.head.nicknames, subject, name))
        };
        let asked = requests.iter().filter(|request| is_known(&request.subject)).count();
        let all_have_subjects = requests.iter().all(|request| request.subject.is_some());
        if asked < times_named(&named[..=at], Some(name)) && all_have_subjects {
            requests.push(Request {
                operation: calls_for.operation,
                record: calls_for.record.clone(),
                subject: Some(name.clone()),
                id: None,
                fields: BTreeMap::new(),
                quote: String::new(),
                turn: None,
                withdrawn: None,
            });
        }
    }
    requests
}

/// How many of this name the intent's details list: two children may share one. One where they list none.
fn times_named(named: &[String], subject: Option<&str>) -> usize {
    let Some(subject) = subject.map(fold) else { return 1 };
    named.iter().filter(|name| fold(name) == subject).count().max(1)
}

fn named_subjects(playbook: &Playbook, reading: &Reading) -> Vec<String> {
    let Some(detail) = playbook
        .head
        .subject_detail
        .as_ref()
        .and_then(|name| reading.details.get(name))
    else {
        return Vec::new();
    };
    let names: Vec<String> = match detail {
        Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(squeeze)).collect(),
        Value::String(text) => text.split([',', ';']).map(squeeze).collect(),
        _ => Vec::new(),
    };
    names
        .into_iter()
        .filter(|name| !name.is_empty())
        .take(MOST_REQUESTS)
        .collect()
}
