//! Which calls carry out which request.

use super::Case;
use crate::domain::{
    claim::{Claim, ClaimState},
    compare::{Context, Match, compare, fold, same_name, says_nothing},
    playbook::{Playbook, Record, RollUp, as_id},
    reading::{Operation, Request},
};

/// The id that a request names, in its own place or in a field that the playbook declares to hold it.
pub(super) fn id_of(record: &Record, request: &Request) -> Option<String> {
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
pub(super) fn assign(playbook: &Playbook, case: &Case, requests: &[Request], wishes: &[&Claim]) -> Vec<Vec<usize>> {
    let mut carried: Vec<Vec<usize>> = vec![Vec::new(); requests.len()];
    let mut pairs: Vec<(i64, usize, usize)> = Vec::new();
    for (request_at, request) in requests.iter().enumerate() {
        let Some(record) = playbook.record(&request.record) else {
            continue;
        };
        if request.withdrawn.is_some() {
            continue;
        }
        let context = playbook.context().said_at(case.transcript.said_at(request.turn));
        for (claim_at, claim) in wishes.iter().enumerate() {
            if let Some(score) = fit(context, record, request, claim) {
                let undone = is_undone(claim, wishes);
                pairs.push((score - if undone { 50 } else { 0 }, request_at, claim_at));
            }
        }
    }
    // Best fit first; of equal fits the earlier request takes the earlier call.
    pairs.sort_by_key(|(score, request, claim)| (std::cmp::Reverse(*score), *request, *claim));
    let mut taken = vec![false; wishes.len()];
    for &(score, request_at, claim_at) in &pairs {
        let (request, claim) = (&requests[request_at], wishes[claim_at]);
        // Of two children called Alex one is booked and the other refused: the refusal is the other's, not a second attempt.
        let is_anothers = claim.state != ClaimState::Done
            && !carried[request_at].is_empty()
            && pairs.iter().any(|&(other_score, other, of)| {
                of == claim_at && other_score == score && other != request_at && carried[other].is_empty()
            });
        if is_anothers {
            continue;
        }
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
    if playbook.head.roll_up == RollUp::Subject {
        prefer_last(requests, wishes, &mut carried, &mut taken);
    }
    for list in &mut carried {
        list.sort_unstable();
    }
    carried
}

/// Whoever is booked twice for one request is booked as the last call says; the earlier booking is one that nobody asked for.
fn prefer_last(requests: &[Request], wishes: &[&Claim], carried: &mut [Vec<usize>], taken: &mut [bool]) {
    for (request, mine) in requests.iter().zip(carried) {
        // What a request names by its id, or by values of its own, has been chosen by them.
        if request.operation != Operation::Create || request.id.is_some() {
            continue;
        }
        let Some(first) = mine.iter().position(|&at| wishes[at].state == ClaimState::Done) else {
            continue;
        };
        let known = mine[first];
        let is_again = |&at: &usize| {
            !taken[at]
                && at > known
                && is_same_again(wishes[known], wishes[at])
                && (request.fields.is_empty() || wishes[known].fields == wishes[at].fields)
                && !is_undone(wishes[at], wishes)
        };
        if let Some(last) = (0..wishes.len()).rfind(is_again) {
            taken[known] = false;
            taken[last] = true;
            mine[first] = last;
        }
    }
}

/// The same kind of record made once more for the same subject, which belongs to the very same other records (one patient).
fn is_same_again(one: &Claim, other: &Claim) -> bool {
    other.state == ClaimState::Done
        && other.operation() == one.operation()
        && other.record == one.record
        && other.order > one.order
        && one.subject.is_some()
        && one.subject.as_deref().map(fold) == other.subject.as_deref().map(fold)
        && !one.keys.is_empty()
        && one.keys.len() == other.keys.len()
        && one
            .keys
            .iter()
            .zip(&other.keys)
            .all(|(left, right)| left.0 == right.0 && same_id(left.1, right.1))
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
fn fit(context: Context<'_>, record: &Record, request: &Request, claim: &Claim) -> Option<i64> {
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
        if !same_name(context.nicknames, wanted, claimed) {
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
            .filter(|field| !says_nothing(wanted) && !record.id_fields.contains(&field.name))
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
            if compare(&field.compare, context, wanted, claimed).outcome == Match::Same {
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
pub(super) fn is_undone(claim: &Claim, wishes: &[&Claim]) -> bool {
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
