//! From a case to the things to look for: which calls carry out which request, what each should have left behind, which
//! calls nobody asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Case,
    carried::{assign, id_of, is_undone, same_id},
    requests::requests,
};
use crate::domain::{
    claim::{Claim, ClaimState},
    compare::{same_name, says_nothing},
    playbook::{Playbook, Record},
    reading::{Operation, Request},
};

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
    /// What the calls that came through wrote, by field: of what was asked only vaguely this is what should be there.
    pub(super) wrote: BTreeMap<String, Value>,
    /// What the last call that came through says that the record holds besides, by field.
    pub(super) reported: BTreeMap<String, Value>,
    /// Calls that carry it out, in order.
    pub(super) claims: Vec<&'a Claim>,
    /// Of something moved by cancelling and creating: the id that should be gone.
    pub(super) previous: Option<String>,
    pub(super) asked: String,
    /// When it was asked for, or else called: "tomorrow" is counted from there.
    pub(super) said_at: Option<DateTime<Utc>>,
}

impl Check<'_> {
    pub(super) fn is_done(&self) -> bool {
        self.claims.iter().any(|claim| claim.state == ClaimState::Done)
    }

    /// It looks for what this very call claims, because a request asks for that.
    fn carries(&self, claim: &Claim) -> bool {
        self.role == Role::Request && self.claims.iter().any(|own| std::ptr::eq(*own, claim))
    }

    pub(super) fn is_promised(&self) -> bool {
        self.claims.iter().any(|claim| claim.state == ClaimState::Promised)
    }
}

/// Everything to look for.
pub(super) fn checks<'a>(playbook: &'a Playbook, case: &'a Case) -> Vec<Check<'a>> {
    let requests = requests(playbook, case);
    let writes: Vec<&Claim> = case.claims.iter().filter(|claim| claim.is_write()).collect();
    // A step on the way is no wish of its own, unless a request names its kind of record.
    let is_named = |claim: &Claim| requests.iter().any(|request| request.record == claim.record);
    let wishes: Vec<&Claim> = writes
        .iter()
        .copied()
        .filter(|claim| !is_support(playbook, claim) || is_named(claim))
        .collect();
    let carried = assign(playbook, case, &requests, &wishes);
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
                wrote: BTreeMap::new(),
                reported: BTreeMap::new(),
                claims: Vec::new(),
                previous: None,
                asked: request.quote.clone(),
                said_at: case.transcript.said_at(request.turn),
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
            case.transcript.said_at(request.turn),
        ));
    }
    cover_records(&checks, &wishes, &mut covered);
    drop_overwritten(&mut checks);
    let asked: Vec<Check<'a>> = checks.clone();
    supports(playbook, case, &requests, &writes, &asked, &mut checks);
    extras(playbook, case, &wishes, &covered, &mut checks);
    checks
}

fn called_at(case: &Case, claim: &Claim) -> Option<DateTime<Utc>> {
    let call = case.transcript.calls.iter().find(|call| call.order == claim.order);
    call.map(|call| call.started_at)
}

fn is_support(playbook: &Playbook, claim: &Claim) -> bool {
    playbook
        .claim_rule(&claim.rule)
        .is_some_and(|rule| !rule.supports.is_empty())
}

fn of_request<'a>(
    record: &'a Record,
    request: &Request,
    claims: Vec<&'a Claim>,
    writes: &[&'a Claim],
    said_at: Option<DateTime<Utc>>,
) -> Check<'a> {
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
    let mut wrote = BTreeMap::new();
    // What came through stands over what was only tried, whichever was later.
    let mut by_weight: Vec<&Claim> = claims.clone();
    by_weight.sort_by_key(|claim| claim.state == ClaimState::Done);
    for claim in by_weight {
        keys.extend(claim.keys.iter().map(|(name, key)| (name.clone(), key.clone())));
        if moved && claim.operation() == Some(Operation::Cancel) {
            continue;
        }
        expected.extend(claim.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        if claim.state == ClaimState::Done {
            wrote.extend(claim.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    let mut reported: BTreeMap<String, Value> = BTreeMap::new();
    // What a later call wrote over the same field of the same record is what is there now.
    if let Some(id) = &id {
        for claim in writes {
            let same = claim.record == record.kind && claim.id.as_ref().is_some_and(|other| same_id(id, other));
            if same && claim.state == ClaimState::Done {
                // What was shown before a later write may have changed with it, unless that shows it again.
                reported.clear();
                reported.extend(claim.reported.iter().map(|(name, value)| (name.clone(), value.clone())));
                for (name, value) in &claim.fields {
                    for known in [expected.get_mut(name), wrote.get_mut(name)].into_iter().flatten() {
                        known.clone_from(value);
                    }
                }
            }
        }
    }
    for (name, value) in &request.fields {
        // What leaves the choice to others is as the call chose it.
        if !says_nothing(value) {
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
        wrote,
        reported,
        claims,
        previous,
        asked: request.quote.clone(),
        said_at,
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
                let stays =
                    |name: &String| !names.contains(name) || record.field(name).is_some_and(|field| field.incidental);
                check.expected.retain(|name, _| stays(name));
                check.wrote.retain(|name, _| stays(name));
            }
        }
    }
}

/// Steps on the way: looked for beside the request that they serve.
fn supports<'a>(
    playbook: &'a Playbook,
    case: &Case,
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
        // A file that was asked for as such is looked for as such.
        if asked.iter().any(|check| check.carries(claim)) {
            continue;
        }
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
            wrote: BTreeMap::new(),
            reported: BTreeMap::new(),
            claims: vec![claim],
            previous: None,
            asked: served.map(|check| check.asked.clone()).unwrap_or_default(),
            said_at: called_at(case, claim),
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
fn extras<'a>(playbook: &'a Playbook, case: &Case, wishes: &[&'a Claim], covered: &[bool], into: &mut Vec<Check<'a>>) {
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
        if is_support(playbook, claim)
            || *covered
            || claim.state != ClaimState::Done
            || is_undone(claim, wishes)
            || undoes
        {
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
            wrote: BTreeMap::new(),
            reported: BTreeMap::new(),
            claims: vec![claim],
            previous: None,
            asked: String::new(),
            said_at: called_at(case, claim),
        });
    }
}
