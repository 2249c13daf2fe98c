//! Sums findings up to one status, one reason and a sentence.

use std::fmt::Write as _;

use super::{Case, carried::same_id, checks::Role, outcome::Judged};
use crate::domain::{
    compare::same_name,
    playbook::{Playbook, RollUp},
    reading::Operation,
    verdict::{Finding, Outcome, Reason, Severity, Status, Verdict},
};

/// More names than these are counted, not named, in a summary.
const MOST_NAMED: usize = 6;

pub(super) fn verdict(playbook: &Playbook, case: &Case, mut judged: Vec<Judged>, looks: u32) -> Verdict {
    let declined_is_fail = playbook
        .intent(&case.reading.intent)
        .is_some_and(|intent| intent.declined_is_fail);
    if declined_is_fail {
        for one in &mut judged {
            if one.finding.outcome == Outcome::Declined {
                one.finding.severity = Severity::High;
            }
        }
    }
    let decides = |one: &&Judged| match one.finding.outcome {
        Outcome::Withdrawn => false,
        Outcome::Declined => declined_is_fail,
        _ => true,
    };
    let deciding: Vec<&Judged> = judged.iter().filter(decides).collect();
    let groups = groups(playbook, &deciding);
    let status = status(playbook, &judged, &deciding, &groups);
    let reason = reason(status, &judged, &deciding);
    let summary = summary(playbook, case, status, &judged, &groups);
    let severity = judged
        .iter()
        .map(|one| one.finding.severity)
        .max()
        .unwrap_or(Severity::None);
    Verdict {
        status,
        reason,
        severity: if matches!(status, Status::Skipped | Status::Error) {
            Severity::None
        } else {
            severity
        },
        summary,
        intent: case.reading.intent.clone(),
        confidence: case.reading.confidence,
        reader: case.reader.clone(),
        findings: judged.into_iter().map(|one| one.finding).collect(),
        playbook: playbook.reference(),
        looks,
        incomplete: case.incomplete,
    }
}

/// The findings of one subject.
struct Group<'a> {
    subject: Option<String>,
    members: Vec<&'a Judged>,
}

impl Group<'_> {
    fn passes(&self) -> bool {
        self.members.iter().all(|one| one.finding.outcome == Outcome::Confirmed)
    }

    /// What it holds belongs to another than this does.
    fn is_anothers(&self, one: &Judged) -> bool {
        self.members.iter().any(|member| {
            let differs = |(name, key): (&String, &String)| member.keys.get(name).is_some_and(|own| !same_id(own, key));
            one.keys.iter().any(differs)
        })
    }

    /// What it holds belongs to this very record.
    fn owns(&self, one: &Judged) -> bool {
        let Some(id) = &one.finding.id else { return false };
        let mut keys = self.members.iter().flat_map(|member| member.keys.values());
        keys.any(|key| same_id(key, id))
    }

    fn some(&self) -> bool {
        self.members.iter().any(|one| one.finding.outcome == Outcome::Confirmed)
    }

    fn unknown(&self) -> bool {
        self.members.iter().all(|one| one.finding.outcome == Outcome::Unknown)
    }
}

/// Findings by subject, in order of appearance; those without one come last. Two of one name whose records belong to
/// different others (two patients called Alex) are two.
fn groups<'a>(playbook: &Playbook, deciding: &[&'a Judged]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for one in deciding {
        let subject = one.finding.subject.as_ref();
        let fits = |group: &Group<'_>| match (&group.subject, subject) {
            (Some(left), Some(right)) => same_name(&playbook.head.nicknames, left, right) && !group.is_anothers(one),
            (None, None) => true,
            _ => false,
        };
        let at = groups
            .iter()
            .position(|group| fits(group) && group.owns(one))
            .or_else(|| groups.iter().position(fits));
        let known = at.map(|at| &mut groups[at]);
        match known {
            Some(group) => {
                // The fuller spelling names the group.
                if let (Some(mine), Some(other)) = (&mut group.subject, subject)
                    && other.len() > mine.len()
                {
                    mine.clone_from(other);
                }
                group.members.push(one);
            }
            None => groups.push(Group {
                subject: subject.cloned(),
                members: vec![one],
            }),
        }
    }
    groups.sort_by_key(|group| group.subject.is_none());
    groups
}

fn status(playbook: &Playbook, judged: &[Judged], deciding: &[&Judged], groups: &[Group<'_>]) -> Status {
    if deciding.is_empty() {
        return Status::Skipped;
    }
    if deciding.iter().any(|one| one.finding.outcome == Outcome::Unwanted) {
        return Status::Fail;
    }
    if deciding.iter().all(|one| one.finding.outcome == Outcome::Unknown) {
        return Status::Error;
    }
    let told_failed = judged.iter().any(|one| one.told_failed);
    let has_subjects = groups.iter().any(|group| group.subject.is_some());
    let (all, some) = if playbook.head.roll_up == RollUp::Subject && has_subjects {
        let mut counted: Vec<&Group<'_>> = groups.iter().filter(|group| group.subject.is_some()).collect();
        // A request without a subject is a wish like any other; only steps on the way stand back.
        let own_wish = |group: &&Group<'_>| {
            group.subject.is_none()
                && group
                    .members
                    .iter()
                    .any(|one| one.role == Role::Request && !one.implied)
        };
        counted.extend(groups.iter().filter(own_wish));
        if counted.iter().all(|group| group.unknown()) {
            return Status::Error;
        }
        (
            counted.iter().all(|group| group.passes()),
            counted.iter().any(|group| group.some()),
        )
    } else {
        let all = deciding.iter().all(|one| one.finding.outcome == Outcome::Confirmed);
        let earns = |one: &&&Judged| !one.implied && one.finding.outcome == Outcome::Confirmed;
        (all, deciding.iter().filter(earns).count() > 0)
    };
    match (all, some) {
        (true, _) if told_failed => Status::Partial,
        (true, _) => Status::Pass,
        (false, true) => Status::Partial,
        (false, false) => Status::Fail,
    }
}

fn reason(status: Status, judged: &[Judged], deciding: &[&Judged]) -> Reason {
    let any = |outcome: Outcome| deciding.iter().any(|one| one.finding.outcome == outcome);
    let all_said = |outcome: Outcome| judged.iter().any(|one| one.finding.outcome == outcome);
    match status {
        Status::Pass => Reason::AllConfirmed,
        Status::Error => Reason::RecordsUnreadable,
        Status::Skipped if all_said(Outcome::Declined) => Reason::Declined,
        Status::Skipped if all_said(Outcome::Withdrawn) => Reason::Withdrawn,
        Status::Skipped => Reason::NothingToVerify,
        Status::Fail | Status::Partial => {
            let critical = deciding.iter().any(|one| one.finding.severity == Severity::Critical);
            let nothing = deciding
                .iter()
                .all(|one| one.finding.outcome == Outcome::Missing && !one.attempted);
            if critical {
                Reason::SaidDoneNotThere
            } else if any(Outcome::Unwanted) {
                Reason::UnwantedEffect
            } else if nothing {
                Reason::NothingDone
            } else if any(Outcome::Missing) {
                Reason::RecordsMissing
            } else if any(Outcome::Wrong) {
                Reason::FieldsWrong
            } else if any(Outcome::Declined) {
                Reason::Declined
            } else if judged.iter().any(|one| one.told_failed) {
                Reason::DoneButToldFailed
            } else {
                Reason::RecordsUnreadable
            }
        }
    }
}

fn summary(playbook: &Playbook, case: &Case, status: Status, judged: &[Judged], groups: &[Group<'_>]) -> String {
    let text = if status == Status::Skipped {
        skipped(judged)
    } else if playbook.head.roll_up == RollUp::Subject && groups.iter().any(|group| group.subject.is_some()) {
        by_subject(playbook, groups)
    } else {
        by_request(judged)
    };
    if case.incomplete {
        return format!("{text} The session may be incomplete.");
    }
    text
}

fn skipped(judged: &[Judged]) -> String {
    let count = |outcome: Outcome| judged.iter().filter(|one| one.finding.outcome == outcome).count();
    match (count(Outcome::Declined), count(Outcome::Withdrawn)) {
        (0, 0) => "Nothing to verify.".into(),
        (0, _) => "The caller took back what was asked for.".into(),
        (_, 0) => "The agent declined what was asked for, and said so.".into(),
        _ => "What was asked for was declined or taken back.".into(),
    }
}

/// "Parent record verified. 1 of 2 children fully verified (Ada: pass; Ben: no appointment record)."
fn by_subject(playbook: &Playbook, groups: &[Group<'_>]) -> String {
    let head = &playbook.head;
    let mut text = String::new();
    if let Some(group) = groups.iter().find(|group| group.subject.is_none()) {
        let who = capital(&head.responsible);
        text = if group.passes() {
            format!("{who} record verified. ")
        } else {
            format!("{who}: {}. ", complaints(group))
        };
    }
    let subjects: Vec<&Group<'_>> = groups.iter().filter(|group| group.subject.is_some()).collect();
    let passing = subjects.iter().filter(|group| group.passes()).count();
    let details: Vec<String> = subjects
        .iter()
        .take(MOST_NAMED)
        .map(|group| {
            let name = group.subject.as_deref().unwrap_or_default();
            if group.passes() {
                format!("{name}: pass")
            } else {
                format!("{name}: {}", complaints(group))
            }
        })
        .collect();
    let noun = if subjects.len() == 1 {
        &head.subject
    } else {
        &head.subjects
    };
    format!(
        "{text}{passing} of {} {noun} fully verified ({}).",
        subjects.len(),
        details.join("; ")
    )
}

fn complaints(group: &Group<'_>) -> String {
    let mut complaints: Vec<String> = Vec::new();
    for one in &group.members {
        let finding = &one.finding;
        let words = match finding.outcome {
            Outcome::Confirmed => continue,
            Outcome::Missing if finding.operation == Operation::Cancel => format!("{} not cancelled", finding.record),
            Outcome::Missing => format!("no {} record", finding.record),
            Outcome::Wrong => format!("{} with another {}", finding.record, wrong_fields(finding)),
            Outcome::Unwanted => format!("{} nobody asked for", finding.record),
            Outcome::Unknown => format!("{} could not be checked", finding.record),
            Outcome::Declined => format!("{} declined", finding.record),
            Outcome::Withdrawn => format!("{} taken back", finding.record),
        };
        if !complaints.contains(&words) {
            complaints.push(words);
        }
    }
    complaints.join(", ")
}

fn wrong_fields(finding: &Finding) -> String {
    let names: Vec<&str> = finding
        .fields
        .iter()
        .filter(|field| field.outcome == Outcome::Wrong)
        .map(|field| field.name.as_str())
        .collect();
    names.join(", ")
}

/// "1 of 2 requests confirmed. Not so: cancel reservation Z7: it is still there and not cancelled."
fn by_request(judged: &[Judged]) -> String {
    let asked: Vec<&Judged> = judged
        .iter()
        .filter(|one| one.role == Role::Request && !one.implied)
        .collect();
    let confirmed = asked
        .iter()
        .filter(|one| one.finding.outcome == Outcome::Confirmed)
        .count();
    let noun = if asked.len() == 1 { "request" } else { "requests" };
    let mut text = if asked.is_empty() {
        "Nothing was asked for.".to_owned()
    } else {
        format!("{confirmed} of {} {noun} confirmed.", asked.len())
    };
    let others: Vec<&Judged> = judged
        .iter()
        .filter(|one| one.finding.outcome != Outcome::Confirmed || one.told_failed)
        .collect();
    for one in others.iter().take(MOST_NAMED) {
        let finding = &one.finding;
        let id = finding.id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        let who = finding
            .subject
            .as_ref()
            .map(|subject| format!(" for {subject}"))
            .unwrap_or_default();
        let operation = capital(finding.operation.as_str());
        let why = &finding.why;
        let _ = write!(text, " {operation} {}{id}{who}: {why}.", finding.record);
    }
    if others.len() > MOST_NAMED {
        let _ = write!(text, " And {} more.", others.len() - MOST_NAMED);
    }
    text
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + letters.as_str())
        .unwrap_or_default()
}
