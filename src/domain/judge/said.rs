//! What the agent said of a check: which of its statements are about it, and which of them stands last.

use super::{Case, checks::Check};
use crate::domain::{
    compare::same_name,
    playbook::Playbook,
    reading::{Operation, Says, Statement},
};

/// The agent's last words on a check.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    /// It is done, or will be, and was not said to have failed afterwards.
    pub(super) done: Option<&'a Statement>,
    /// It was declined, and not said done afterwards.
    pub(super) declined: Option<&'a Statement>,
    /// It was said to have failed after it was done, and not said done afterwards.
    pub(super) told_failed: Option<&'a Statement>,
}

pub(super) fn of<'a>(playbook: &Playbook, case: &'a Case, check: &Check<'_>) -> Said<'a> {
    let about: Vec<&Statement> = case
        .reading
        .statements
        .iter()
        .filter(|statement| is_about(playbook, check, statement))
        .collect();
    // A statement that names its effect outweighs one that could mean any.
    let exact: Vec<&Statement> = about
        .iter()
        .copied()
        .filter(|statement| statement.operation.is_some())
        .collect();
    let heard = if exact.is_empty() { &about } else { &exact };
    let last = |wanted: &[Says]| {
        heard
            .iter()
            .copied()
            .rfind(|statement| wanted.contains(&statement.says))
    };
    let done = last(&[Says::Done, Says::Promised]);
    let after_done = |statement: &&Statement| done.is_none_or(|done| statement.turn > done.turn);
    let finished_at = check.claims.iter().filter_map(|claim| {
        let call = case.transcript.calls.iter().find(|call| call.order == claim.order)?;
        Some(call.turn)
    });
    let finished_at = finished_at.max();
    let told_failed = last(&[Says::Failed, Says::Declined])
        .filter(after_done)
        .filter(|statement| {
            statement.operation.is_some()
                && matches!((statement.turn, finished_at), (Some(turn), Some(end)) if turn > end)
        });
    // Who is told in the end that it did not work is not misled; words that could be about anything put nothing right.
    let stands = |done: &&Statement| {
        let named = heard.iter().filter(|statement| statement.operation.is_some());
        let failed = named.filter(|statement| matches!(statement.says, Says::Failed | Says::Declined));
        !failed.into_iter().any(|statement| statement.turn > done.turn)
    };
    Said {
        done: done.filter(stands),
        declined: last(&[Says::Declined]).filter(after_done),
        told_failed,
    }
}

fn is_about(playbook: &Playbook, check: &Check<'_>, statement: &Statement) -> bool {
    let operation_fits = statement.operation.is_none_or(|operation| {
        operation == check.operation || check.record.replaceable && check.operation == Operation::Update
    });
    let record_fits = statement
        .record
        .as_ref()
        .is_none_or(|record| *record == check.record.kind);
    let subject_fits = match (&statement.subject, &check.subject) {
        (Some(left), Some(right)) => same_name(&playbook.head.nicknames, left, right),
        _ => true,
    };
    operation_fits && record_fits && subject_fits
}
