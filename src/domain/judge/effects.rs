//! What an operation does to other records, by the playbook's `[[effect]]`: a booking is paid from the caller's profile.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    carried::same_id,
    checks::{Check, Role},
    locate::Locator,
    outcome::{Judged, finding, there},
    said::Said,
};
use crate::domain::{
    claim::{Claim, ClaimState},
    playbook::{EffectRule, Record},
    reading::Operation,
    verdict::RecordRef,
};

/// What one rule of the playbook's `[[effect]]` says of a check.
struct Touch<'a> {
    rule: &'a EffectRule,
    record: &'a Record,
    id: String,
    /// What the rule's sources see.
    variables: Value,
    /// The record touched as the calls before this one showed it, without what was written since.
    shown: BTreeMap<String, Value>,
}

/// The record touched as it was before a call, by what the calls said of it until then.
#[derive(Default)]
struct Before {
    /// What they read or wrote, each field as the last one had it.
    fields: BTreeMap<String, Value>,
    /// What they showed of it besides.
    shown: BTreeMap<String, Value>,
}

/// `first` is the position of the operation's first call.
fn before(claims: &[Claim], kind: &str, id: &str, first: u32) -> Before {
    let mut before = Before::default();
    let of_record = |claim: &&Claim| {
        let same = claim.id.as_ref().is_some_and(|other| same_id(other, id));
        claim.record == kind && same && claim.state == ClaimState::Done
    };
    for claim in claims.iter().filter(of_record) {
        if claim.is_write() {
            // What was written over is no longer as it was shown, and that is the writing's business.
            before.shown.retain(|name, _| !claim.fields.contains_key(name));
        }
        if claim.order < first {
            before.fields.extend(claim.fields.clone());
            before.shown.extend(claim.reported.clone());
        }
    }
    before
}

/// The other records that the operation changes. `record` is what is there.
fn touches<'a>(locator: &'a Locator<'_>, check: &Check<'_>, record: Option<&Value>) -> Vec<Touch<'a>> {
    let mut touches = Vec::new();
    for rule in &locator.playbook.effects {
        if rule.of != check.record.kind || !rule.operations.is_empty() && !rule.operations.contains(&check.operation) {
            continue;
        }
        let Some(other) = locator.playbook.record(&rule.record) else {
            continue;
        };
        let mut did = BTreeMap::new();
        for claim in check.claims.iter().filter(|claim| claim.state == ClaimState::Done) {
            did.extend(claim.fields.iter());
        }
        let mut variables = json!({
            "want": check.expected, "did": did, "before": {}, "record": record.unwrap_or(&json!({})), "id": check.id
        });
        let Some(id) = rule.record_id.get_id(&variables) else {
            continue;
        };
        let first = check.claims.iter().map(|claim| claim.order).min().unwrap_or(u32::MAX);
        let before = before(&locator.case.claims, &rule.record, &id, first);
        variables["before"] = json!(before.fields);
        if rule.when.as_ref().is_some_and(|when| !when.holds(&variables)) {
            continue;
        }
        touches.push(Touch {
            rule,
            record: other,
            id,
            variables,
            shown: before.shown,
        });
    }
    touches
}

/// The other records that are not as they should be either, where this one is not. `wrong` are the fields that differ, where it is
/// there.
pub(super) fn touched(
    locator: &Locator<'_>,
    check: &Check<'_>,
    record: Option<&Value>,
    wrong: Option<&[&str]>,
) -> Vec<RecordRef> {
    let mut refs = Vec::new();
    for touch in touches(locator, check, record) {
        let by = &touch.rule.by;
        if wrong.is_some_and(|wrong| !by.is_empty() && !by.iter().any(|name| wrong.contains(&name.as_str()))) {
            continue;
        }
        let one = RecordRef {
            record: touch.rule.record.clone(),
            id: touch.id,
        };
        if !refs.contains(&one) {
            refs.push(one);
        }
    }
    refs
}

/// What the operation did to other records, looked for there. `alone`: the session writes nothing else.
pub(super) fn checked(locator: &Locator<'_>, check: &Check<'_>, record: &Value, alone: bool, judged: &mut Vec<Judged>) {
    for touch in touches(locator, check, Some(record)) {
        let expected: BTreeMap<String, Value> = touch
            .rule
            .fields
            .iter()
            .filter_map(|(name, source)| Some((name.clone(), source.get(&touch.variables)?)))
            .collect();
        let implied = Check {
            role: Role::Support,
            operation: Operation::Update,
            record: touch.record,
            subject: check.subject.clone(),
            id: Some(touch.id),
            keys: BTreeMap::new(),
            expected,
            wrote: BTreeMap::new(),
            reported: touch
                .shown
                .into_iter()
                .filter(|(name, _)| touch.rule.keeps.contains(name) || alone && touch.rule.undisturbed.contains(name))
                .collect(),
            claims: check.claims.clone(),
            previous: None,
            asked: check.asked.clone(),
            said_at: check.said_at,
        };
        let located = locator.find(&implied, implied.id.as_deref());
        let result = there(locator.playbook, &implied, &located);
        let mut main = finding(&implied, &located, result, &Said::default());
        main.implied = true;
        judged.push(main);
    }
}
