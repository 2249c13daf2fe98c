//! Compares each check with what was found: one finding each, with its reason.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Case,
    checks::{Check, Role},
    effects,
    locate::{Located, Locator, Place},
    said::{self, Said},
};
use crate::domain::{
    claim::{Claim, ClaimState},
    compare::{Match, compare, same_name},
    lookup::{Facts, Lookup},
    playbook::{Field, Playbook},
    reading::{Operation, Says},
    verdict::{FieldVerdict, Finding, Outcome, Severity},
};

/// Longer agent's or caller's words are cut in a finding.
const LONGEST_QUOTE: usize = 400;

/// A finding with what the steps after it need.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) finding: Finding,
    pub(super) role: Role,
    /// It follows from another check: it can spoil a pass but not earn a partial.
    pub(super) implied: bool,
    /// A tool tried it.
    pub(super) attempted: bool,
    /// It is there, and the caller was told that it failed.
    pub(super) told_failed: bool,
    /// Ids of other records that it belongs to (a patient's), by name.
    pub(super) keys: BTreeMap<String, String>,
    /// Lookups still to ask.
    pub(super) ask: Vec<Lookup>,
    /// Lookups whose answers decided.
    pub(super) used: Vec<Lookup>,
}

/// What a check came to, before the agent's words are weighed.
pub(super) struct Result {
    outcome: Outcome,
    fields: Vec<FieldVerdict>,
    why: String,
    record: Option<Value>,
}

impl Result {
    fn new(outcome: Outcome, why: impl Into<String>) -> Self {
        Self {
            outcome,
            fields: Vec::new(),
            why: why.into(),
            record: None,
        }
    }
}

/// The findings of all checks, in their order.
pub(super) fn of(playbook: &Playbook, case: &Case, facts: &Facts, checks: &[Check<'_>]) -> Vec<Judged> {
    let locator = Locator::new(playbook, case, facts);
    let mut judged = Vec::new();
    let mut met_earlier: Vec<&Check<'_>> = Vec::new();
    for check in checks {
        if met_earlier.iter().any(|earlier| std::ptr::eq(*earlier, check)) {
            continue;
        }
        if check.role == Role::Withdrawn {
            judged.push(withdrawn(check));
            continue;
        }
        let mut located = locator.find(check, check.id.as_deref());
        let mut result = match (check.role, check.operation) {
            (Role::Extra, _) => extra(playbook, check, &located),
            (_, Operation::Cancel) => cancel(playbook, case, check, &located),
            _ => there(playbook, check, &located),
        };
        if result.outcome == Outcome::Missing
            && let Some((earlier, found, met)) = earlier(&locator, check, checks)
        {
            located.ask.extend(found.ask);
            located.used.extend(found.used);
            if met.outcome == Outcome::Confirmed {
                met_earlier.push(earlier);
                result = met;
            }
        }
        if let Some(previous) = &check.previous {
            let old = locator.find(check, Some(previous));
            moved(check, previous, &old, &mut result);
            located.ask.extend(old.ask);
            located.used.extend(old.used);
        }
        if check.role == Role::Extra && result.outcome == Outcome::Confirmed {
            // Nobody asked for it, but it is not there either: no finding.
            if located.ask.is_empty() {
                continue;
            }
        }
        let said = said::of(playbook, case, check);
        let record = result.record.take();
        let mut main = finding(check, &located, result, &said);
        if matches!(
            main.finding.outcome,
            Outcome::Missing | Outcome::Wrong | Outcome::Unwanted
        ) {
            let fields = main.finding.fields.iter();
            let wrong: Vec<&str> = fields
                .filter(|field| field.outcome == Outcome::Wrong)
                .map(|field| field.name.as_str())
                .collect();
            let wrong = (main.finding.outcome == Outcome::Wrong).then_some(&wrong[..]);
            main.finding.touches = effects::touched(&locator, check, record.as_ref(), wrong);
        }
        let holds = matches!(main.finding.outcome, Outcome::Confirmed | Outcome::Wrong);
        judged.push(main);
        if let (true, Some(record), Role::Request) = (holds, record, check.role) {
            let alone = !checks
                .iter()
                .any(|other| !std::ptr::eq(other, check) && (other.is_done() || other.is_promised()));
            effects::checked(&locator, check, &record, alone, &mut judged);
        }
    }
    judged
}

/// Of something made twice for one request, the first one: where it is there as asked, the caller has what they asked for, whatever
/// became of the second.
fn earlier<'c, 'a>(
    locator: &Locator<'_>,
    check: &Check<'a>,
    checks: &'c [Check<'a>],
) -> Option<(&'c Check<'a>, Located, Result)> {
    if check.role != Role::Request || check.operation != Operation::Create || !check.is_done() {
        return None;
    }
    let earlier = checks.iter().find(|other| {
        let subjects = other.subject.as_deref().zip(check.subject.as_deref());
        let of_same = subjects.is_some_and(|(one, other)| same_name(&locator.playbook.head.nicknames, one, other));
        other.role == Role::Extra
            && other.operation == Operation::Create
            && other.record.kind == check.record.kind
            && other.id.is_some()
            && other.keys == check.keys
            && of_same
    })?;
    let found = locator.find(earlier, earlier.id.as_deref());
    let met = there(locator.playbook, check, &found);
    Some((earlier, found, met))
}

fn withdrawn(check: &Check<'_>) -> Judged {
    Judged {
        finding: Finding {
            operation: check.operation,
            record: check.record.kind.clone(),
            system: None,
            id: check.id.clone(),
            subject: check.subject.clone(),
            outcome: Outcome::Withdrawn,
            severity: Severity::None,
            fields: Vec::new(),
            touches: Vec::new(),
            asked: cut(&check.asked),
            said_done: None,
            steps: Vec::new(),
            why: "the caller took it back".into(),
        },
        role: check.role,
        implied: false,
        attempted: false,
        told_failed: false,
        keys: BTreeMap::new(),
        ask: Vec::new(),
        used: Vec::new(),
    }
}

/// Created, updated, or a step on the way: it should be there, with the values expected.
pub(super) fn there(playbook: &Playbook, check: &Check<'_>, located: &Located) -> Result {
    let record = match &located.place {
        Place::Found(record) => record,
        Place::Ask => return Result::new(Outcome::Unknown, "the system of record was not asked"),
        Place::Unknown(reason) => return Result::new(Outcome::Unknown, reason.clone()),
        Place::Nowhere(_) if check.claims.is_empty() => {
            return Result::new(Outcome::Missing, "no tool call even tried it");
        }
        Place::Absent(reason) | Place::Nowhere(reason) => return Result::new(Outcome::Missing, reason.clone()),
    };
    if check.record.is_cancelled(record) {
        let mut result = Result::new(Outcome::Missing, "it is there, but cancelled");
        result.record = Some(record.clone());
        return result;
    }
    let fields = compared(playbook, check, record);
    let wrong = fields.iter().filter(|field| field.outcome == Outcome::Wrong).count();
    let is_aim = |field: &&FieldVerdict| {
        check.record.field(&field.name).is_some_and(|known| {
            !known.incidental && known.stored_on.contains(&check.operation) && check.expected.contains_key(&known.name)
        })
    };
    let aims_met = fields
        .iter()
        .filter(is_aim)
        .filter(|field| field.outcome == Outcome::Confirmed)
        .count();
    let idle = !check.is_done() && !check.is_promised();
    // What the system does not store cannot be seen there: without a call that came through nothing speaks for it.
    let unseen = check.record.fields.iter().any(|field| {
        !field.incidental && !field.stored_on.contains(&check.operation) && check.expected.contains_key(&field.name)
    });
    let (outcome, why) = if check.operation == Operation::Update && idle && (wrong > 0 || aims_met == 0 || unseen) {
        // Nothing was done to a record that is as it was: that is no wrong change, it is none.
        (
            Outcome::Missing,
            "the record is unchanged: no tool call came through".to_owned(),
        )
    } else if wrong > 0 {
        let names: Vec<&str> = fields
            .iter()
            .filter(|field| field.outcome == Outcome::Wrong)
            .map(|field| field.name.as_str())
            .collect();
        (
            Outcome::Wrong,
            format!("it is there, with another {}", names.join(", ")),
        )
    } else {
        (Outcome::Confirmed, "it is there, as asked".to_owned())
    };
    Result {
        outcome,
        fields,
        why,
        record: Some(record.clone()),
    }
}

/// Cancelled: gone, or in a cancelled state.
fn cancel(playbook: &Playbook, case: &Case, check: &Check<'_>, located: &Located) -> Result {
    match &located.place {
        Place::Found(record) if check.record.is_cancelled(record) => {
            // What a caller names of something to be cancelled tells which is meant; only the calls say how it ends.
            let by_calls = Check {
                expected: check.wrote.clone(),
                ..check.clone()
            };
            let fields = compared(playbook, &by_calls, record);
            let wrong = fields.iter().any(|field| field.outcome == Outcome::Wrong);
            let mut result = if wrong {
                Result::new(Outcome::Wrong, "it is cancelled, but not as the call says")
            } else {
                Result::new(Outcome::Confirmed, "it is cancelled")
            };
            result.fields = fields;
            result.record = Some(record.clone());
            result
        }
        Place::Found(_) => Result::new(Outcome::Missing, "it is still there and not cancelled"),
        // The call showed it as it is kept once it is cancelled: a system that keeps it does not lose it.
        Place::Absent(reason) if is_shown_cancelled(check) => Result::new(
            Outcome::Missing,
            format!("the call showed it as cancelled, and {reason}: it was lost, not cancelled"),
        ),
        Place::Absent(reason) => {
            let seen = case
                .claims
                .iter()
                .any(|claim| claim.record == check.record.kind && claim.id.is_some() && claim.id == check.id);
            if check.is_done() || seen {
                Result::new(Outcome::Confirmed, "it is gone")
            } else {
                Result::new(
                    Outcome::Missing,
                    format!("no tool call cancelled anything, and {reason}"),
                )
            }
        }
        Place::Unknown(reason) => Result::new(Outcome::Unknown, reason.clone()),
        Place::Ask => Result::new(Outcome::Unknown, "the system of record was not asked"),
        Place::Nowhere(_) if check.claims.is_empty() => Result::new(Outcome::Missing, "no tool call even tried it"),
        Place::Nowhere(reason) => Result::new(Outcome::Missing, reason.clone()),
    }
}

/// The call that cancelled it showed it afterwards, and records of this kind have a cancelled state.
fn is_shown_cancelled(check: &Check<'_>) -> bool {
    let cancels = |claim: &&&Claim| claim.state == ClaimState::Done && claim.operation() == Some(Operation::Cancel);
    let last = check.claims.iter().rfind(cancels);
    check.record.cancelled.is_some() && last.is_some_and(|claim| !claim.reported.is_empty())
}

/// Nobody asked for it: unwanted when its effect is there. `Confirmed` means here that there is nothing to complain of.
fn extra(playbook: &Playbook, check: &Check<'_>, located: &Located) -> Result {
    match &located.place {
        Place::Found(record) => {
            let cancelled = check.record.is_cancelled(record);
            if check.operation == Operation::Cancel {
                return if cancelled {
                    Result {
                        record: Some(record.clone()),
                        ..Result::new(Outcome::Unwanted, "it was cancelled, and nobody asked for that")
                    }
                } else {
                    Result::new(Outcome::Confirmed, "the cancellation left no trace")
                };
            }
            let fields = compared(playbook, check, record);
            let shows = fields.is_empty() || fields.iter().any(|field| field.outcome == Outcome::Confirmed);
            if cancelled || !shows {
                return Result::new(Outcome::Confirmed, "it left no trace");
            }
            let mut result = Result::new(Outcome::Unwanted, "it was done, and nobody asked for it");
            // Its values are what they are; nobody expected any.
            result.record = Some(record.clone());
            result.fields = fields;
            for field in &mut result.fields {
                field.outcome = Outcome::Unwanted;
            }
            result
        }
        Place::Absent(_) if check.operation == Operation::Cancel => {
            Result::new(Outcome::Unwanted, "it is gone, and nobody asked for that")
        }
        Place::Absent(_) | Place::Nowhere(_) => Result::new(Outcome::Confirmed, "it left no trace"),
        Place::Unknown(reason) => Result::new(Outcome::Unknown, reason.clone()),
        Place::Ask => Result::new(Outcome::Unknown, "the system of record was not asked"),
    }
}

/// Of something moved by cancelling and creating, the old one must be gone as well.
fn moved(check: &Check<'_>, previous: &str, old: &Located, result: &mut Result) {
    let field = |outcome, actual: &str, why: &str| FieldVerdict {
        name: format!("previous_{}", check.record.kind),
        outcome,
        expected: Value::from("gone or cancelled"),
        actual: Value::from(actual),
        why: why.to_owned(),
    };
    match &old.place {
        Place::Found(record) if !check.record.is_cancelled(record) => {
            result
                .fields
                .push(field(Outcome::Wrong, previous, "the old one is still there"));
            if result.outcome == Outcome::Confirmed {
                result.outcome = Outcome::Wrong;
                result.why = "the new one is there, but so is the old one".into();
            }
        }
        Place::Found(_) => result
            .fields
            .push(field(Outcome::Confirmed, "cancelled", "the old one is cancelled")),
        Place::Absent(_) => result
            .fields
            .push(field(Outcome::Confirmed, "gone", "the old one is gone")),
        Place::Unknown(reason) => {
            result.fields.push(field(Outcome::Unknown, "", reason));
            if result.outcome == Outcome::Confirmed {
                result.outcome = Outcome::Unknown;
                result.why = format!("whether the old one is gone is not known: {reason}");
            }
        }
        Place::Nowhere(_) | Place::Ask => {}
    }
}

/// A field's value in a record, null where there is none.
pub(super) fn actual(field: &Field, record: &Value) -> Value {
    field.of(record).unwrap_or(Value::Null)
}

fn compared(playbook: &Playbook, check: &Check<'_>, record: &Value) -> Vec<FieldVerdict> {
    let context = playbook.context().said_at(check.said_at);
    let mut verdicts = Vec::new();
    for field in &check.record.fields {
        // What this operation does not store is as the call reports it, whatever was asked.
        let asked = check
            .expected
            .get(&field.name)
            .filter(|_| field.stored_on.contains(&check.operation));
        let reported = check.reported.get(&field.name);
        let Some(mut expected) = asked.or(reported) else {
            continue;
        };
        let actual = actual(field, record);
        let against = |expected: &Value| compare(&field.compare, context, expected, &actual);
        let mut comparison = against(expected);
        // A caller names the flight, the call shows its price as well; "sometime next week" is the slot that the call took. What is
        // there is what all of them say.
        let wrote = asked.and_then(|_| check.wrote.get(&field.name));
        for (other, whose) in [(wrote, "wrote"), (reported, "showed")] {
            let Some(other) = other.filter(|_| comparison.outcome != Match::Different) else {
                continue;
            };
            let compared = against(other);
            match (comparison.outcome, compared.outcome) {
                (_, Match::Different) => {
                    let asked = comparison.outcome == Match::Same;
                    let but = if asked { "as asked, but " } else { "" };
                    comparison = compared;
                    comparison.why = format!("{but}not as the call {whose} it: {}", comparison.why);
                    expected = other;
                }
                (Match::Undecided, Match::Same) => {
                    comparison = compared;
                    comparison.why = format!("as the call {whose} it: {}", comparison.why);
                    expected = other;
                }
                _ => {}
            }
        }
        verdicts.push(FieldVerdict {
            name: field.name.clone(),
            outcome: match comparison.outcome {
                Match::Same => Outcome::Confirmed,
                Match::Different => Outcome::Wrong,
                Match::Undecided => Outcome::Unknown,
            },
            expected: expected.clone(),
            actual,
            why: comparison.why,
        });
    }
    verdicts
}

/// Weighs what the agent said, and makes the finding.
pub(super) fn finding(check: &Check<'_>, located: &Located, result: Result, said: &Said<'_>) -> Judged {
    let mut outcome = result.outcome;
    let mut why = result.why;
    let said_done = said.done.filter(|_| check.role == Role::Request);
    if outcome == Outcome::Missing && check.role == Role::Request && check.claims.is_empty() && said.declined.is_some()
    {
        outcome = Outcome::Declined;
        why = "it was not done, and the agent said so".into();
    }
    let told_failed = outcome == Outcome::Confirmed && check.role == Role::Request && said.told_failed.is_some();
    if told_failed {
        why = "it is there, but the caller was told that it failed".into();
    }
    let severity = match outcome {
        Outcome::Missing if said_done.is_some_and(|statement| statement.says == Says::Done) => Severity::Critical,
        Outcome::Missing | Outcome::Unwanted => Severity::High,
        Outcome::Wrong => Severity::Medium,
        Outcome::Confirmed if told_failed => Severity::Medium,
        _ => Severity::None,
    };
    if severity == Severity::Critical {
        why = format!("the agent said that it is done, but {why}");
    }
    Judged {
        finding: Finding {
            operation: check.operation,
            record: check.record.kind.clone(),
            system: (!located.ask.is_empty() || !located.used.is_empty()).then(|| check.record.system.clone()),
            id: check.id.clone(),
            subject: check.subject.clone(),
            outcome,
            severity,
            fields: result.fields,
            touches: Vec::new(),
            asked: cut(&check.asked),
            said_done: said_done.map(|statement| cut(&statement.quote)),
            steps: steps(&check.claims),
            why,
        },
        role: check.role,
        implied: false,
        attempted: !check.claims.is_empty(),
        told_failed,
        keys: check.keys.clone(),
        ask: located.ask.clone(),
        used: located.used.clone(),
    }
}

fn steps(claims: &[&Claim]) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for claim in claims {
        if !steps.contains(&claim.step) {
            steps.push(claim.step.clone());
        }
    }
    steps
}

fn cut(text: &str) -> String {
    if text.len() <= LONGEST_QUOTE {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONGEST_QUOTE)])
}
