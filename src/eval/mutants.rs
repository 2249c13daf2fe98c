//! Mutants: records that differ from what a confirmed request left behind, in one value or one element, or that are gone.
//! Only the records are changed; what was said and what the tools answered stays. A verdict that looks turns.

use serde_json::Value;

use super::world::World;
use crate::domain::{
    judge::Case,
    lookup::{Fact, Facts, Lookup},
    playbook::{Playbook, Record},
    verdict::{Finding, Outcome, Verdict},
};

/// How mutants are made and chosen, in words.
pub(super) const DRAWN: &str = "One change each, in the records alone: what was said and what the tools answered stays. The \
    records are those that a request asked for and that are as asked: one is gone, or one of the members that the verdict compares, or \
    one value or element inside of it, is gone or another. Taken evenly from all that are possible, session by session.";

/// Elements of one list that are changed.
const MOST_ELEMENTS: usize = 8;
/// Levels of one record that are changed.
const MOST_LEVELS: usize = 6;

/// One changed record.
#[derive(Debug, Clone)]
pub(super) struct Mutant {
    /// Position of its session.
    pub(super) session: usize,
    lookup: Lookup,
    /// Instead of what is there.
    fact: Fact,
    /// What was changed: `$.flights[0].date`, or empty where the record is gone.
    pub(super) path: String,
    /// How: `dropped` or `changed`.
    pub(super) how: &'static str,
}

impl Mutant {
    /// The record, in words.
    pub(super) fn record(&self) -> String {
        format!(
            "{} {}",
            self.lookup.record,
            self.lookup.id.as_deref().unwrap_or_default()
        )
    }

    /// What the judge knows when it looks at the changed record.
    pub(super) async fn facts(
        &self,
        world: &World,
        playbook: &Playbook,
        case: &Case,
        known: &Facts,
    ) -> anyhow::Result<Facts> {
        let mut changed = known.clone();
        changed.insert(self.lookup.clone(), self.fact.clone());
        world.facts(playbook, case, &changed).await
    }

    /// Whether a verdict names this record as missing, wrong or unwanted and, where one value was changed, the field.
    /// What the verdict said before does not count.
    pub(super) fn is_named(&self, playbook: &Playbook, known: &Facts, before: &Verdict, verdict: &Verdict) -> bool {
        let Some(record) = playbook.record(&self.lookup.record) else {
            return false;
        };
        verdict
            .findings
            .iter()
            .filter(|finding| is_of(finding, &self.lookup) && !before.findings.contains(finding))
            .any(|finding| match finding.outcome {
                Outcome::Missing | Outcome::Unwanted => true,
                Outcome::Wrong => self.names_field(record, known, finding),
                _ => false,
            })
    }

    fn names_field(&self, record: &Record, known: &Facts, finding: &Finding) -> bool {
        let (Some(Fact::Found { record: before }), Fact::Found { record: after }) =
            (known.get(&self.lookup), &self.fact)
        else {
            return true;
        };
        finding
            .fields
            .iter()
            .filter(|field| field.outcome == Outcome::Wrong)
            .filter_map(|field| record.field(&field.name))
            .any(|field| field.of(before) != field.of(after))
    }
}

fn is_of(finding: &Finding, lookup: &Lookup) -> bool {
    let same = |(left, right): (&String, &String)| left.eq_ignore_ascii_case(right);
    finding.record == lookup.record && finding.id.as_ref().zip(lookup.id.as_ref()).is_some_and(same)
}

/// All mutants of one session: of each record that a request asked for and that is as asked, and of what it changes with it
/// where the verdict compares that.
pub(super) fn of(session: usize, playbook: &Playbook, case: &Case, facts: &Facts, verdict: &Verdict) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    let mut done: Vec<&Lookup> = Vec::new();
    for finding in verdict.findings.iter().filter(|finding| is_confirmed(case, finding)) {
        for (lookup, fact) in facts.iter().filter(|(lookup, _)| is_of(finding, lookup)) {
            let Fact::Found { record } = fact else { continue };
            if done.contains(&lookup) {
                continue;
            }
            done.push(lookup);
            let compared = compared_members(playbook, finding, record);
            let mut changes = Vec::new();
            change(record, record, &mut Vec::new(), &mut changes);
            let mut add = |fact, path: String, how| {
                mutants.push(Mutant {
                    session,
                    lookup: lookup.clone(),
                    fact,
                    path,
                    how,
                });
            };
            add(Fact::Absent, String::new(), "dropped");
            for (changed, path, how) in changes {
                if path.first().is_some_and(|Step(member)| compared.contains(member)) {
                    add(Fact::Found { record: changed }, shown(&path), how);
                }
            }
        }
    }
    mutants
}

/// Somebody asked for it, and it is as asked.
fn is_confirmed(case: &Case, finding: &Finding) -> bool {
    let asked = |request: &crate::domain::reading::Request| {
        request.record == finding.record && request.operation == finding.operation
    };
    finding.outcome == Outcome::Confirmed && case.reading.requests.iter().any(asked)
}

/// Members of the record's root that a field of the finding reads.
fn compared_members(playbook: &Playbook, finding: &Finding, record: &Value) -> Vec<String> {
    let (Some(kind), Value::Object(members)) = (playbook.record(&finding.record), record) else {
        return Vec::new();
    };
    let reads = |member: &str| {
        let mut without = record.clone();
        if let Value::Object(members) = &mut without {
            members.remove(member);
        }
        let compared = finding.fields.iter().filter_map(|field| kind.field(&field.name));
        kind.is_cancelled(record) != kind.is_cancelled(&without)
            || compared.into_iter().any(|field| field.of(record) != field.of(&without))
    };
    members.keys().filter(|member| reads(member)).cloned().collect()
}

/// A member's name or an element's `[index]`.
#[derive(Debug, Clone, PartialEq)]
struct Step(String);

fn shown(path: &[Step]) -> String {
    let mut text = "$".to_owned();
    for Step(step) in path {
        if !step.starts_with('[') {
            text.push('.');
        }
        text.push_str(step);
    }
    text
}

type Change = (Value, Vec<Step>, &'static str);

/// Every copy of `root` with one value below `at` changed or dropped.
fn change(root: &Value, at: &Value, path: &mut Vec<Step>, changes: &mut Vec<Change>) {
    if path.len() >= MOST_LEVELS {
        return;
    }
    let steps: Vec<(Step, &Value)> = match at {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (Step(name.clone()), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .take(MOST_ELEMENTS)
            .enumerate()
            .map(|(index, value)| (Step(format!("[{index}]")), value))
            .collect(),
        _ => return,
    };
    for (step, value) in steps {
        path.push(step);
        if !value.is_null() {
            changes.push((with(root, path, None), path.clone(), "dropped"));
        }
        if let Some(other) = another(value) {
            changes.push((with(root, path, Some(other)), path.clone(), "changed"));
        }
        change(root, value, path, changes);
        path.pop();
    }
}

/// The record with another value at the path, or with none.
fn with(root: &Value, path: &[Step], value: Option<Value>) -> Value {
    let mut copy = root.clone();
    let Some((Step(last), above)) = path.split_last() else {
        return copy;
    };
    let mut at = &mut copy;
    for Step(step) in above {
        let next = match at {
            Value::Object(members) => members.get_mut(step),
            Value::Array(items) => index(step).and_then(|index| items.get_mut(index)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return root.clone(),
        }
    }
    match (at, value) {
        (Value::Object(members), Some(value)) => {
            members.insert(last.clone(), value);
        }
        (Value::Object(members), None) => {
            members.remove(last);
        }
        (Value::Array(items), value) => {
            if let Some(index) = index(last).filter(|index| *index < items.len()) {
                match value {
                    Some(value) => items[index] = value,
                    None => {
                        items.remove(index);
                    }
                }
            }
        }
        _ => {}
    }
    copy
}

fn index(step: &str) -> Option<usize> {
    step.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// A value of the same type that means something else.
fn another(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Bool(flag) => Value::from(!flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::from(whole.wrapping_add(1)),
            None => Value::from(number.as_f64()? + 1.0),
        },
        Value::String(text) => Value::from(another_text(text)),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    })
}

fn another_text(text: &str) -> String {
    if let Some((date, rest)) = text.split_at_checked(10)
        && let Ok(date) = date.parse::<chrono::NaiveDate>()
        && let Some(next) = date.succ_opt()
    {
        return format!("{next}{rest}");
    }
    match text {
        "yes" => "no".to_owned(),
        "no" => "yes".to_owned(),
        _ => format!("other{}", text.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_of_a_record_is_changed_once_and_dropped_once() {
        let record = json!({"id": "R1", "bags": 2, "flights": [{"date": "2024-05-20"}], "note": null});
        let mut changes = Vec::new();
        change(&record, &record, &mut Vec::new(), &mut changes);
        let shown: Vec<String> = changes
            .iter()
            .map(|(_, path, how)| format!("{how} {}", shown(path)))
            .collect();
        assert_eq!(
            shown,
            [
                "dropped $.bags",
                "changed $.bags",
                "dropped $.flights",
                "dropped $.flights[0]",
                "dropped $.flights[0].date",
                "changed $.flights[0].date",
                "dropped $.id",
                "changed $.id",
            ]
        );
        assert!(changes.iter().all(|(changed, ..)| *changed != record));
        assert_eq!(changes[5].0["flights"][0]["date"], "2024-05-21");
    }
}
