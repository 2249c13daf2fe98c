//! From a case to the things to look for: which calls carry out which request, what each should have left behind, which
//! calls nobody asked for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Case;
use crate::domain::{
    claim::{Claim, ClaimState},
    compare::{Match, compare, fold, same_name, squeeze},
    playbook::{Playbook, Record, as_id, is_blank},
    reading::{Operation, Reading, Request},
};

/// More requests than these are left out: no caller has so many wishes.
const MOST_REQUESTS: usize = 200;

/// Why something is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It was asked for.
    Request,
    /// A step on the way to a request.
    Support,
    /// A tool wrote it and nobody asked for it.
    Extra,
    /// It was asked for and taken back.
    Withdrawn,
}

/// One thing to look for.
#[derive(Debug, Clone)]
pub(super) struct Check<'a> {
    pub(super) role: Role,
    pub(super) operation: Operation,
    pub(super) record: &'a Record,
    pub(super) subject: Option<String>,
    pub(super) id: Option<String>,
    pub(super) keys: BTreeMap<String, String>,
    /// What the record should hold, by field.
    pub(super) expected: BTreeMap<String, Value>,
    /// What the last call that came through says that the record holds besides, by field.
    pub(super) reported: BTreeMap<String, Value>,
    /// Calls that carry it out, in order.
    pub(super) claims: Vec<&'a Claim>,
    /// Of something moved by cancelling and creating: the id that should be gone.
    pub(super) previous: Option<String>,
    pub(super) asked: String,
}

impl Check<'_> {
    pub(super) fn is_done(&self) -> bool {
        self.claims.iter().any(|claim| claim.state == ClaimState::Done)
    }

    pub(super) fn is_promised(&self) -> bool {
        self.claims.iter().any(|claim| claim.state == ClaimState::Promised)
    }
}

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
            // A reader that says the same thing twice asks for it once.
            let same = |other: &Request| {
                other.operation == copy.operation
                    && other.record == copy.record
                    && other.subject == copy.subject
                    && other.id == copy.id
                    && other.fields == copy.fields
                    && (copy.id.is_some() || copy.subject.is_some())
            };
            if !requests.iter().any(same) {
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
    for name in named {
        let is_known = |subject: &Option<String>| {
            subject
                .as_ref()
                .is_some_and(|subject| same_name(&playbook.head.nicknames, subject, &name))
        };
        let asked = requests.iter().any(|request| is_known(&request.subject));
        let all_have_subjects = requests.iter().all(|request| request.subject.is_some());
        if !asked && all_have_subjects {
            requests.push(Request {
                operation: calls_for.operation,
                record: calls_for.record.clone(),
                subject: Some(name),
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

/// Everything to look for.
pub(super) fn checks<'a>(playbook: &'a Playbook, case: &'a Case) -> Vec<Check<'a>> {
    let requests = requests(playbook, case);
    let writes: Vec<&Claim> = case.claims.iter().filter(|claim| claim.is_write()).collect();
    let wishes: Vec<&Claim> = writes
        .iter()
        .copied()
        .filter(|claim| !is_support(playbook, claim))
        .collect();
    let carried = assign(playbook, &requests, &wishes);
    let mut checks = Vec::new();
    let mut covered = vec![false; wishes.len()];
    for (request, carried) in requests.iter().zip(&carried) {
        let Some(record) = playbook.record(&request.record) else {
            continue;
        };
        if request.withdrawn.is_some() {
            checks.push(Check {
                role: Role::Withdrawn,
                operation: request.operation,
                record,
                subject: request.subject.clone(),
                id: id_of(record, request),
                keys: BTreeMap::new(),
                expected: BTreeMap::new(),
                reported: BTreeMap::new(),
                claims: Vec::new(),
                previous: None,
                asked: request.quote.clone(),
            });
            continue;
        }
        for &at in carried {
            covered[at] = true;
        }
        checks.push(of_request(
            record,
            request,
            carried.iter().map(|&at| wishes[at]).collect(),
            &writes,
        ));
    }
    cover_records(&checks, &wishes, &mut covered);
    drop_overwritten(&mut checks);
    let asked: Vec<Check<'a>> = checks.clone();
    supports(playbook, &requests, &writes, &asked, &mut checks);
    extras(playbook, &wishes, &covered, &mut checks);
    checks
}

fn is_support(playbook: &Playbook, claim: &Claim) -> bool {
    playbook
        .claim_rule(&claim.rule)
        .is_some_and(|rule| !rule.supports.is_empty())
}

/// The id that a request names, in its own place or in a field that the playbook declares to hold it.
fn id_of(record: &Record, request: &Request) -> Option<String> {
    let own = request
        .id
        .as_deref()
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .map(str::to_owned);
    own.or_else(|| {
        record
            .id_fields
            .iter()
            .find_map(|name| as_id(request.fields.get(name)?))
    })
}

pub(super) fn same_id(left: &str, right: &str) -> bool {
    left.trim().to_lowercase() == right.trim().to_lowercase()
}

/// For each request the calls that carry it out. A call that creates or cancels serves one request at most.
fn assign(playbook: &Playbook, requests: &[Request], wishes: &[&Claim]) -> Vec<Vec<usize>> {
    let mut carried: Vec<Vec<usize>> = vec![Vec::new(); requests.len()];
    let mut pairs: Vec<(i64, usize, usize)> = Vec::new();
    for (request_at, request) in requests.iter().enumerate() {
        let Some(record) = playbook.record(&request.record) else {
            continue;
        };
        if request.withdrawn.is_some() {
            continue;
        }
        for (claim_at, claim) in wishes.iter().enumerate() {
            if let Some(score) = fit(playbook, record, request, claim) {
                let undone = is_undone(claim, wishes);
                pairs.push((score - if undone { 50 } else { 0 }, request_at, claim_at));
            }
        }
    }
    // Best fit first; of equal fits the earlier request takes the earlier call.
    pairs.sort_by_key(|(score, request, claim)| (std::cmp::Reverse(*score), *request, *claim));
    let mut taken = vec![false; wishes.len()];
    for (_, request_at, claim_at) in pairs {
        let (request, claim) = (&requests[request_at], wishes[claim_at]);
        let mine = &carried[request_at];
        let shared = request.operation == Operation::Update && claim.operation() == Some(Operation::Update);
        if taken[claim_at] && !shared {
            continue;
        }
        let fits_mine = mine.iter().all(|&at| {
            let other = wishes[at];
            match (&other.id, &claim.id) {
                // Further attempts at the same thing, and further changes of the same record.
                (Some(left), Some(right)) => same_id(left, right) || replaces(playbook, request, other, claim),
                _ => {
                    other.subject.is_some() && claim.subject.is_some()
                        || other.state != ClaimState::Done
                        || claim.state != ClaimState::Done
                }
            }
        });
        if fits_mine {
            carried[request_at].push(claim_at);
            taken[claim_at] = true;
        }
    }
    for list in &mut carried {
        list.sort_unstable();
    }
    carried
}

/// A cancelled and a created record that together move one.
fn replaces(playbook: &Playbook, request: &Request, one: &Claim, other: &Claim) -> bool {
    request.operation == Operation::Update
        && playbook
            .record(&request.record)
            .is_some_and(|record| record.replaceable)
        && one.operation() != other.operation()
}

/// How well a call fits a request; `None` when it does not carry it out.
fn fit(playbook: &Playbook, record: &Record, request: &Request, claim: &Claim) -> Option<i64> {
    if claim.record != request.record {
        return None;
    }
    let operation = claim.operation()?;
    let moves = request.operation == Operation::Update && record.replaceable;
    if operation != request.operation && !moves {
        return None;
    }
    let mut score = match claim.state {
        ClaimState::Done => 20,
        ClaimState::Promised => 15,
        ClaimState::Failed { .. } => 0,
    };
    if let (Some(wanted), Some(claimed)) = (id_of(record, request), &claim.id)
        && !(moves && operation == Operation::Create)
    {
        if !same_id(&wanted, claimed) {
            return None;
        }
        score += 100;
    }
    if let (Some(wanted), Some(claimed)) = (&request.subject, &claim.subject) {
        if !same_name(&playbook.head.nicknames, wanted, claimed) {
            return None;
        }
        // The fuller the agreement the better: two children may share a first name.
        score += if fold(wanted) == fold(claimed) { 60 } else { 40 };
    }
    let mut aims = 0;
    let mut shared = 0;
    for (name, wanted) in &request.fields {
        let Some(field) = record
            .field(name)
            .filter(|field| !is_blank(wanted) && !record.id_fields.contains(&field.name))
        else {
            continue;
        };
        if !field.incidental {
            aims += 1;
        }
        if let Some(claimed) = claim.fields.get(name) {
            if !field.incidental {
                shared += 1;
            }
            if compare(&field.compare, &playbook.head.nicknames, wanted, claimed).outcome == Match::Same {
                score += 3;
            }
        }
    }
    // A change of baggage is no answer to a request for other flights.
    let has_aims = claim
        .fields
        .keys()
        .any(|name| record.field(name).is_some_and(|field| !field.incidental));
    if operation == Operation::Update && aims > 0 && has_aims && shared == 0 {
        return None;
    }
    Some(score)
}

/// Created and cancelled again within the session.
fn is_undone(claim: &Claim, wishes: &[&Claim]) -> bool {
    claim.operation() == Some(Operation::Create)
        && claim.id.as_ref().is_some_and(|id| {
            wishes.iter().any(|later| {
                later.order > claim.order
                    && later.record == claim.record
                    && later.operation() == Some(Operation::Cancel)
                    && later.state == ClaimState::Done
                    && later.id.as_ref().is_some_and(|other| same_id(id, other))
            })
        })
}

fn of_request<'a>(record: &'a Record, request: &Request, claims: Vec<&'a Claim>, writes: &[&'a Claim]) -> Check<'a> {
    // The last call that came through counts; without one the last attempt.
    let best = claims
        .iter()
        .rfind(|claim| claim.state == ClaimState::Done)
        .or_else(|| claims.iter().rfind(|claim| claim.state == ClaimState::Promised))
        .or_else(|| claims.last());
    let mut id = id_of(record, request);
    let mut previous = None;
    let moved = request.operation == Operation::Update && record.replaceable;
    let creation = claims
        .iter()
        .filter(|claim| claim.operation() == Some(Operation::Create))
        .max_by_key(|claim| (claim.state == ClaimState::Done, claim.order));
    let cancelled = claims
        .iter()
        .rfind(|claim| claim.operation() == Some(Operation::Cancel));
    if moved && (creation.is_some() || cancelled.is_some()) {
        previous = id.or_else(|| cancelled.and_then(|claim| claim.id.clone()));
        id = creation.and_then(|claim| claim.id.clone());
    } else if id.is_none() {
        id = best.and_then(|claim| claim.id.clone());
    }
    let mut keys = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for claim in &claims {
        if moved && claim.operation() == Some(Operation::Cancel) {
            keys.extend(claim.keys.iter().map(|(name, key)| (name.clone(), key.clone())));
            continue;
        }
        keys.extend(claim.keys.iter().map(|(name, key)| (name.clone(), key.clone())));
        expected.extend(claim.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    let mut reported = BTreeMap::new();
    // What a later call wrote over the same field of the same record is what is there now.
    if let Some(id) = &id {
        for claim in writes {
            let same = claim.record == record.kind && claim.id.as_ref().is_some_and(|other| same_id(id, other));
            if same && claim.state == ClaimState::Done {
                reported.extend(claim.reported.iter().map(|(name, value)| (name.clone(), value.clone())));
                for (name, value) in &claim.fields {
                    if let Some(known) = expected.get_mut(name) {
                        known.clone_from(value);
                    }
                }
            }
        }
    }
    for (name, value) in &request.fields {
        if !is_blank(value) {
            expected.insert(name.clone(), value.clone());
        }
    }
    let claimed_subject = best.and_then(|claim| claim.subject.clone());
    Check {
        role: Role::Request,
        operation: request.operation,
        record,
        subject: request
            .subject
            .clone()
            .filter(|subject| !subject.trim().is_empty())
            .or(claimed_subject),
        id,
        keys,
        expected,
        reported,
        claims,
        previous,
        asked: request.quote.clone(),
    }
}

/// Calls on a record that a request creates, and repeats of a call that carries one out, are asked for as well.
fn cover_records(checks: &[Check<'_>], wishes: &[&Claim], covered: &mut [bool]) {
    for (at, claim) in wishes.iter().enumerate() {
        let Some(id) = &claim.id else { continue };
        let wanted = checks.iter().filter(|check| check.role == Role::Request).any(|check| {
            let same = check.record.kind == claim.record && check.id.as_ref().is_some_and(|other| same_id(id, other));
            same && match check.operation {
                Operation::Create => claim.operation() != Some(Operation::Cancel),
                // Without any field the request leaves open what is to change.
                Operation::Update => {
                    let vague = check
                        .expected
                        .keys()
                        .all(|name| check.record.field(name).is_none_or(|field| field.incidental));
                    claim.operation() == Some(Operation::Update) && vague
                }
                Operation::Cancel => claim.operation() == Some(Operation::Cancel),
            }
        });
        covered[at] |= wanted;
    }
}

/// A later request for the same field of the same record takes the earlier one's place.
fn drop_overwritten(checks: &mut [Check<'_>]) {
    for at in 0..checks.len() {
        let later: Vec<(String, Vec<String>)> = checks[at + 1..]
            .iter()
            .filter(|other| other.role == Role::Request && other.operation == Operation::Update)
            .filter(|other| other.record.kind == checks[at].record.kind)
            .filter_map(|other| Some((other.id.clone()?, other.expected.keys().cloned().collect())))
            .collect();
        let check = &mut checks[at];
        let Some(id) = check.id.clone() else { continue };
        for (other, names) in later {
            if same_id(&id, &other) {
                let record = check.record;
                check.expected.retain(|name, _| {
                    !names.contains(name) || record.field(name).is_some_and(|field| field.incidental)
                });
            }
        }
    }
}

/// Steps on the way: looked for beside the request that they serve.
fn supports<'a>(
    playbook: &'a Playbook,
    requests: &[Request],
    writes: &[&'a Claim],
    asked: &[Check<'a>],
    into: &mut Vec<Check<'a>>,
) {
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    for claim in writes {
        let Some(rule) = playbook
            .claim_rule(&claim.rule)
            .filter(|rule| !rule.supports.is_empty())
        else {
            continue;
        };
        let (Some(record), Some(id), true) = (
            playbook.record(&claim.record),
            &claim.id,
            claim.state == ClaimState::Done,
        ) else {
            continue;
        };
        let served = asked.iter().find(|check| {
            check.role == Role::Request
                && rule.supports.contains(&check.record.kind)
                && match (&check.subject, &claim.subject) {
                    (Some(left), Some(right)) => same_name(&playbook.head.nicknames, left, right),
                    _ => true,
                }
        });
        let taken_back = requests.iter().any(|request| rule.supports.contains(&request.record));
        let standing = match served {
            Some(_) => Role::Support,
            None if taken_back => continue,
            None => Role::Extra,
        };
        // The fuller name is the request's; the claim often knows the first name only.
        let subject = claim.subject.as_ref().map(|own| {
            served
                .and_then(|check| check.subject.clone())
                .unwrap_or_else(|| own.clone())
        });
        let support = Check {
            role: standing,
            operation: claim.operation().unwrap_or(Operation::Create),
            record,
            subject,
            id: Some(id.clone()),
            keys: claim.keys.clone(),
            expected: claim.fields.clone(),
            reported: BTreeMap::new(),
            claims: vec![claim],
            previous: None,
            asked: served.map(|check| check.asked.clone()).unwrap_or_default(),
        };
        let name = (record.kind.clone(), id.to_lowercase());
        if let Some(&at) = seen.get(&name) {
            into[at] = support;
        } else {
            seen.insert(name, into.len());
            into.push(support);
        }
    }
}

/// Writes that came through and that no request asked for, one per record.
fn extras<'a>(playbook: &'a Playbook, wishes: &[&'a Claim], covered: &[bool], into: &mut Vec<Check<'a>>) {
    let first = into.len();
    for (claim, covered) in wishes.iter().zip(covered) {
        let (Some(record), Some(operation)) = (playbook.record(&claim.record), claim.operation()) else {
            continue;
        };
        let undoes = operation == Operation::Cancel
            && wishes.iter().any(|earlier| {
                earlier.operation() == Some(Operation::Create)
                    && matches!((&earlier.id, &claim.id), (Some(left), Some(right)) if same_id(left, right))
                    && is_undone(earlier, wishes)
            });
        if *covered || claim.state != ClaimState::Done || is_undone(claim, wishes) || undoes {
            continue;
        }
        let same = |check: &Check<'_>| {
            check.record.kind == claim.record
                && matches!((&check.id, &claim.id), (Some(left), Some(right)) if same_id(left, right))
        };
        if let Some(known) = into[first..].iter_mut().find(|check| same(check)) {
            known.expected.extend(claim.fields.clone());
            known.claims.push(claim);
            continue;
        }
        into.push(Check {
            role: Role::Extra,
            operation,
            record,
            subject: claim.subject.clone(),
            id: claim.id.clone(),
            keys: claim.keys.clone(),
            expected: claim.fields.clone(),
            reported: BTreeMap::new(),
            claims: vec![claim],
            previous: None,
            asked: String::new(),
        });
    }
}
