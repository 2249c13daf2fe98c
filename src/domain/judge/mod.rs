//! The judge: what was asked, what the tools claim, what the agent said, against what the system of record holds.
//!
//! Pure, total and deterministic: the same case and facts give the same verdict, whatever stands in them. No LLM decides
//! here, and nothing in a transcript can: words only say what to look for.
//!
//! `requests` says what was asked for, `carried` which calls carry it out, `checks` what to look for therefore, `locate` finds each in the facts or says what to ask next,
//! `outcome` compares, `effects` follows it into other records, `roll_up` sums up.

mod carried;
mod checks;
mod early;
mod effects;
mod locate;
mod outcome;
mod requests;
mod roll_up;
mod said;

use std::collections::BTreeSet;

use self::{checks::checks, outcome::Judged};
use super::{
    claim::{Claim, claims},
    lookup::{Fact, Facts, Lookup},
    playbook::Playbook,
    reading::{Reader, Reading},
    session::SessionKey,
    transcript::Transcript,
    verdict::{Outcome, Verdict},
};

/// Everything known of a session before the systems of record are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Which session.
    pub session: SessionKey,
    /// What was said and done.
    pub transcript: Transcript,
    /// What was asked.
    pub reading: Reading,
    /// Who read.
    pub reader: Reader,
    /// What the tools claim.
    pub claims: Vec<Claim>,
    /// The session never came to rest, or was cut.
    pub incomplete: bool,
}

impl Case {
    /// With what its tools claim.
    pub fn new(
        playbook: &Playbook,
        session: SessionKey,
        transcript: Transcript,
        (reading, reader): (Reading, Reader),
        incomplete: bool,
    ) -> Self {
        Self {
            session,
            claims: claims(playbook, &transcript),
            transcript,
            reading,
            reader,
            incomplete,
        }
    }
}

/// The verdict where no system of record has to be asked.
pub fn early_verdict(playbook: &Playbook, case: &Case) -> Option<Verdict> {
    early::verdict(playbook, case)
}

/// The lookups that are still unanswered. Asking them may make further ones necessary: ask until none is left.
pub fn plan(playbook: &Playbook, case: &Case, facts: &Facts) -> Vec<Lookup> {
    if early::verdict(playbook, case).is_some() {
        return Vec::new();
    }
    let mut wanted = BTreeSet::new();
    for judged in outcomes(playbook, case, facts) {
        wanted.extend(judged.ask);
    }
    wanted
        .into_iter()
        .filter(|lookup| !facts.contains_key(lookup))
        .collect()
}

/// The answered lookups that deserve another look, because as they stand something that a tool attempted is missing.
pub fn look_again(playbook: &Playbook, case: &Case, facts: &Facts) -> Vec<Lookup> {
    if early::verdict(playbook, case).is_some() {
        return Vec::new();
    }
    let mut again = BTreeSet::new();
    for judged in outcomes(playbook, case, facts) {
        if judged.finding.outcome == Outcome::Missing && judged.attempted {
            again.extend(judged.used);
        }
    }
    again.into_iter().filter(|lookup| facts.contains_key(lookup)).collect()
}

/// The lookups answered with "there is none" on which anything rests, be it good or bad: what deserves another look where
/// a system that is overloaded says the same.
pub fn absences(playbook: &Playbook, case: &Case, facts: &Facts) -> Vec<Lookup> {
    if early::verdict(playbook, case).is_some() {
        return Vec::new();
    }
    let used: BTreeSet<Lookup> = outcomes(playbook, case, facts)
        .into_iter()
        .flat_map(|judged| judged.used)
        .collect();
    used.into_iter()
        .filter(|lookup| facts.get(lookup) == Some(&Fact::Absent))
        .collect()
}

/// The verdict by the facts. Lookups that nobody answered count as unanswerable.
pub fn judge(playbook: &Playbook, case: &Case, facts: &Facts, looks: u32) -> Verdict {
    if let Some(mut verdict) = early::verdict(playbook, case) {
        verdict.looks = looks;
        return verdict;
    }
    roll_up::verdict(playbook, case, outcomes(playbook, case, facts), looks)
}

fn outcomes(playbook: &Playbook, case: &Case, facts: &Facts) -> Vec<Judged> {
    let checks = checks(playbook, case);
    outcome::of(playbook, case, facts, &checks)
}

#[cfg(test)]
mod tests;
