//! What a new generation of a verdict changed against the one before, and why.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    reading::Reader,
    verdict::{FieldVerdict, Finding, Outcome, Verdict},
};

/// More changes than these are counted, not listed.
const MOST_CHANGES: usize = 100;

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// `status`, `reason`, `intent`, `update order A1`, `update order A1: cake`.
    pub what: String,
    /// As it was; null where there was none.
    pub before: Value,
    /// As it is; null where there is none.
    pub after: Value,
}

/// What changed, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// The generation before.
    pub against_generation: u32,
    /// Nothing, when the verdict says the same.
    pub changes: Vec<Change>,
    /// Changes beyond those listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
    /// Everything that is not as it was when the verdict before was made.
    pub because: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Diff {
    /// Compares two verdicts. `content_changed`: the session itself is not as it was.
    pub fn of(against_generation: u32, before: &Verdict, after: &Verdict, content_changed: bool) -> Self {
        let mut changes = Vec::new();
        let mut plain = |what: &str, before: Value, after: Value| {
            if before != after {
                changes.push(Change {
                    what: what.to_owned(),
                    before,
                    after,
                });
            }
        };
        plain("status", json!(before.status), json!(after.status));
        plain("reason", json!(before.reason), json!(after.reason));
        plain("intent", json!(before.intent), json!(after.intent));
        let record_changed = findings(before, after, &mut changes);
        let more = changes.len().saturating_sub(MOST_CHANGES);
        changes.truncate(MOST_CHANGES);
        Self {
            against_generation,
            changes,
            more,
            because: because(before, after, content_changed, record_changed),
        }
    }
}

/// What of the findings differs; answers whether a system of record holds something else than before.
fn findings(before: &Verdict, after: &Verdict, changes: &mut Vec<Change>) -> bool {
    let mut record_changed = false;
    let mut left: Vec<&Finding> = before.findings.iter().collect();
    for finding in &after.findings {
        let Some(at) = left.iter().position(|other| is_same(other, finding)) else {
            changes.push(Change {
                what: name(finding),
                before: Value::Null,
                after: json!(finding.outcome),
            });
            continue;
        };
        let earlier = left.remove(at);
        if earlier.outcome != finding.outcome {
            changes.push(Change {
                what: name(finding),
                before: json!(earlier.outcome),
                after: json!(finding.outcome),
            });
        }
        // The same was asked of the same record, and it is there now and was not, or the other way round.
        let there = |outcome: Outcome| matches!(outcome, Outcome::Confirmed | Outcome::Wrong | Outcome::Unwanted);
        let decided = |outcome: Outcome| outcome != Outcome::Unknown;
        record_changed |= earlier.fields.is_empty() != finding.fields.is_empty()
            && there(earlier.outcome) != there(finding.outcome)
            && decided(earlier.outcome)
            && decided(finding.outcome);
        record_changed |= fields(earlier, finding, changes);
    }
    changes.extend(left.into_iter().map(|finding| Change {
        what: name(finding),
        before: json!(finding.outcome),
        after: Value::Null,
    }));
    record_changed
}

fn fields(before: &Finding, after: &Finding, changes: &mut Vec<Change>) -> bool {
    let mut record_changed = false;
    let shown =
        |field: &FieldVerdict| json!({"outcome": field.outcome, "expected": field.expected, "actual": field.actual});
    for field in &after.fields {
        let earlier = before.fields.iter().find(|other| other.name == field.name);
        let same = |other: &FieldVerdict| {
            other.outcome == field.outcome && other.expected == field.expected && other.actual == field.actual
        };
        if earlier.is_some_and(same) {
            continue;
        }
        record_changed |= earlier.is_some_and(|other| other.actual != field.actual);
        changes.push(Change {
            what: format!("{}: {}", name(after), field.name),
            before: earlier.map_or(Value::Null, shown),
            after: shown(field),
        });
    }
    record_changed
}

fn is_same(one: &Finding, other: &Finding) -> bool {
    one.operation == other.operation && one.record == other.record && one.id == other.id && one.subject == other.subject
}

fn name(finding: &Finding) -> String {
    let mut name = format!("{} {}", finding.operation.as_str(), finding.record);
    for part in [&finding.id, &finding.subject].into_iter().flatten() {
        name.push(' ');
        name.push_str(part);
    }
    name
}

fn because(before: &Verdict, after: &Verdict, content_changed: bool, record_changed: bool) -> Vec<String> {
    let mut because = Vec::new();
    if content_changed {
        because.push("the session has other content".to_owned());
    }
    let (old, new) = (&before.playbook, &after.playbook);
    if old.name != new.name {
        because.push(format!("another playbook: {} instead of {}", new.name, old.name));
    } else if old.version != new.version {
        because.push(format!(
            "another version of playbook {}: {} instead of {}",
            new.name, new.version, old.version
        ));
    } else if old.hash != new.hash {
        because.push(format!(
            "playbook {} was changed, and its version {} was not raised",
            new.name, new.version
        ));
    }
    if before.reader != after.reader {
        because.push(format!(
            "read by {} instead of {}",
            reader(&after.reader),
            reader(&before.reader)
        ));
    }
    if record_changed {
        because.push("a system of record holds something else".to_owned());
    }
    if before.looks != after.looks {
        because.push(format!("looked {} time(s) instead of {}", after.looks, before.looks));
    }
    because
}

fn reader(reader: &Reader) -> String {
    match reader {
        Reader::Offline { .. } => "the offline classifier".to_owned(),
        Reader::Llm { model, .. } => format!("the LLM {model}"),
        Reader::File => "your own readings file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        reading::Operation,
        verdict::{PlaybookRef, Reason, Severity, Status},
    };

    fn verdict(status: Status, outcome: Outcome, actual: &str) -> Verdict {
        Verdict {
            status,
            reason: Reason::FieldsWrong,
            severity: Severity::Medium,
            summary: String::new(),
            intent: "order".to_owned(),
            confidence: 0.9,
            reader: Reader::File,
            findings: vec![Finding {
                operation: Operation::Create,
                record: "order".to_owned(),
                system: None,
                id: Some("A1".to_owned()),
                subject: None,
                outcome,
                severity: Severity::None,
                fields: vec![FieldVerdict {
                    name: "cake".to_owned(),
                    outcome,
                    expected: json!("plum"),
                    actual: json!(actual),
                    why: String::new(),
                }],
                touches: Vec::new(),
                asked: String::new(),
                said_done: None,
                steps: Vec::new(),
                why: String::new(),
            }],
            playbook: PlaybookRef {
                name: "bakery".to_owned(),
                version: 1,
                hash: "a".to_owned(),
            },
            looks: 1,
            incomplete: false,
        }
    }

    #[test]
    fn the_same_verdict_has_no_changes_and_no_reasons() {
        let one = verdict(Status::Fail, Outcome::Wrong, "nut");
        let diff = Diff::of(1, &one, &one, false);
        assert_eq!((diff.changes, diff.because), (Vec::new(), Vec::<String>::new()));
    }

    #[test]
    fn a_corrected_record_is_named_with_its_field_and_as_the_reason() {
        let before = verdict(Status::Fail, Outcome::Wrong, "nut");
        let after = verdict(Status::Pass, Outcome::Confirmed, "plum");
        let diff = Diff::of(1, &before, &after, false);
        let what: Vec<&str> = diff.changes.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(what, ["status", "create order A1", "create order A1: cake"]);
        assert_eq!(diff.changes[2].before["actual"], "nut");
        assert_eq!(diff.changes[2].after["actual"], "plum");
        assert_eq!(diff.because, ["a system of record holds something else"]);
    }

    #[test]
    fn every_other_reason_is_named() {
        let before = verdict(Status::Fail, Outcome::Wrong, "nut");
        let mut after = before.clone();
        after.playbook.version = 2;
        after.reader = Reader::Llm {
            model: "small".to_owned(),
            repaired: false,
        };
        after.looks = 3;
        after.findings.clear();
        let diff = Diff::of(4, &before, &after, true);
        assert_eq!(
            diff.because,
            [
                "the session has other content",
                "another version of playbook bakery: 2 instead of 1",
                "read by the LLM small instead of your own readings file",
                "looked 3 time(s) instead of 1",
            ]
        );
        assert_eq!(diff.changes[0].what, "create order A1");
        assert_eq!(diff.changes[0].after, Value::Null);
        after.playbook.version = 1;
        after.playbook.hash = "b".to_owned();
        let diff = Diff::of(4, &before, &after, false);
        assert!(
            diff.because[0].contains("version 1 was not raised"),
            "{:?}",
            diff.because
        );
    }
}
