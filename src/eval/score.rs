//! Counts: agreement, precision and recall with their intervals, and which records were named.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{keys::Keys, labels::Label};
use crate::domain::{
    playbook::Playbook,
    verdict::{Outcome, Reason, Status, Verdict},
};

/// 97.5 % quantile of the standard normal distribution: intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// A share, with the interval of Wilson (1927) that holds the true one with 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// So many …
    pub count: u64,
    /// … of so many.
    pub of: u64,
    /// `count / of`; `None` of none.
    pub share: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Share {
    /// With its interval.
    pub fn new(count: u64, of: u64) -> Self {
        if of == 0 {
            return Self {
                count,
                of,
                share: None,
                low: None,
                high: None,
            };
        }
        let (n, p) = (of as f64, count as f64 / of as f64);
        let centre = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        Self {
            count,
            of,
            share: Some(p),
            low: Some(((centre - half) / scale).max(0.0)),
            high: Some(((centre + half) / scale).min(1.0)),
        }
    }

    fn add(&mut self, counts: bool) {
        *self = Self::new(self.count + u64::from(counts), self.of + 1);
    }
}

/// What a verdict says of the session as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// `pass`, and `skipped` because nothing had to be done or all was declined.
    Correct,
    /// `fail` and `partial`.
    Incorrect,
    /// Neither: a disagreement with every label.
    Neither,
}

impl Says {
    /// By the verdict.
    pub fn of(verdict: &Verdict) -> Self {
        match (verdict.status, verdict.reason) {
            (Status::Pass, _) | (Status::Skipped, Reason::NothingToVerify | Reason::Declined) => Self::Correct,
            (Status::Fail | Status::Partial, _) => Self::Incorrect,
            _ => Self::Neither,
        }
    }

    pub(super) fn agrees(self, label: &Label) -> bool {
        match self {
            Self::Correct => label.db_state_correct,
            Self::Incorrect => !label.db_state_correct,
            Self::Neither => false,
        }
    }
}

/// Keys of records that a verdict names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Asked for and not there; `…/?` was never made, so that nobody knows its id.
    pub missing: Vec<String>,
    /// There, with other values.
    pub wrong: Vec<String>,
    /// Nobody asked for it.
    pub unwanted: Vec<String>,
}

impl Named {
    pub(super) fn of(playbook: &Playbook, verdict: &Verdict) -> Self {
        let keys = Keys(playbook);
        let mut named = Self::default();
        for finding in &verdict.findings {
            let list = match finding.outcome {
                Outcome::Missing => &mut named.missing,
                Outcome::Wrong => &mut named.wrong,
                Outcome::Unwanted => &mut named.unwanted,
                _ => continue,
            };
            if let Some(key) = keys.of_finding(finding)
                && (Keys::not_made(&key).is_some() || !list.contains(&key))
            {
                list.push(key);
            }
        }
        // Where a record is not as it should be, those that change with it are not either.
        for finding in &verdict.findings {
            let list = match finding.outcome {
                Outcome::Missing => &mut named.missing,
                Outcome::Wrong => &mut named.wrong,
                Outcome::Unwanted => &mut named.unwanted,
                _ => continue,
            };
            for touched in &finding.touches {
                let key = keys.of(touched);
                if !list.contains(&key) {
                    list.push(key);
                }
            }
        }
        named
    }

    fn all(&self) -> Vec<&String> {
        let mut all: Vec<&String> = Vec::new();
        for key in self.missing.iter().chain(&self.wrong).chain(&self.unwanted) {
            if Keys::not_made(key).is_some() || !all.contains(&key) {
                all.push(key);
            }
        }
        all
    }

    /// How many of the label's keys are named, and how many of the named ones are the label's. A record that was never made
    /// has an id in the label only: each one named stands for one of its kind there that nothing else names, and that was not there
    /// before (`known`).
    fn against(&self, label: &Label, known: &dyn Fn(&str) -> bool) -> (u64, u64, Vec<String>, Vec<String>) {
        let mut wanted: Vec<&String> = Vec::new();
        for key in label.records() {
            if !wanted.contains(&key) {
                wanted.push(key);
            }
        }
        let total = wanted.len() as u64;
        let mut extra = Vec::new();
        let mut unmade = Vec::new();
        let mut named = 0;
        for key in self.all() {
            if let Some(folder) = Keys::not_made(key) {
                unmade.push((folder, key));
                continue;
            }
            named += 1;
            match wanted.iter().position(|other| *other == key) {
                Some(at) => {
                    wanted.remove(at);
                }
                None => extra.push(key.clone()),
            }
        }
        for (folder, key) in unmade {
            named += 1;
            let fits = |other: &&&String| {
                label.records_missing.contains(other)
                    && !known(other)
                    && other.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
            };
            match wanted.iter().position(|other| fits(&other)) {
                Some(at) => {
                    wanted.remove(at);
                }
                None => extra.push(key.clone()),
            }
        }
        let unnamed = wanted.into_iter().cloned().collect::<Vec<_>>();
        (total, named, unnamed, extra)
    }
}

/// One session, judged and compared with its label.
#[derive(Debug, Clone, Serialize)]
pub struct Scored {
    /// The source's id of it.
    pub session_id: String,
    /// Status of the verdict.
    pub verdict: Status,
    /// Its reason.
    pub reason: Reason,
    /// Whether it agrees with the label; `None`: there is no label.
    pub agrees: Option<bool>,
    /// Records named.
    pub records: Named,
    /// Keys of the label that are not named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unnamed: Vec<String>,
    /// Keys named that the label does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<String>,
    /// The verdict in words.
    pub summary: String,
}

/// All sessions together.
#[derive(Debug, Clone, Serialize)]
pub struct Score {
    /// Verdicts that agree with their labels.
    pub agreement: Share,
    /// Of the sessions called `fail` or `partial`, those that are.
    pub precision_of_fail: Share,
    /// Of the sessions that are not correct, those called `fail` or `partial`.
    pub recall_of_fail: Share,
    /// Of the records named, those that the labels name.
    pub precision_of_records: Share,
    /// Of the records that the labels name, those named.
    pub recall_of_records: Share,
    /// `status reason` → how many whose label is correct, and how many whose is not.
    pub confusion: BTreeMap<String, [u64; 2]>,
    /// Sessions without a label.
    pub without_label: u64,
    /// Labels whose session is not among those judged.
    pub without_session: u64,
}

/// Compares verdicts, in their order, with their labels.
pub(super) fn score(
    playbook: &Playbook,
    verdicts: &[(String, Verdict)],
    labels: &BTreeMap<String, Label>,
    known: &dyn Fn(&str) -> bool,
) -> (Score, Vec<Scored>) {
    let none = Share::new(0, 0);
    let mut score = Score {
        agreement: none,
        precision_of_fail: none,
        recall_of_fail: none,
        precision_of_records: none,
        recall_of_records: none,
        confusion: BTreeMap::new(),
        without_label: 0,
        without_session: 0,
    };
    let (mut wanted, mut found, mut named, mut right) = (0, 0, 0, 0);
    let mut scored = Vec::new();
    for (session, verdict) in verdicts {
        let mut one = Scored {
            session_id: session.clone(),
            verdict: verdict.status,
            reason: verdict.reason,
            agrees: None,
            records: Named::of(playbook, verdict),
            unnamed: Vec::new(),
            extra: Vec::new(),
            summary: verdict.summary.clone(),
        };
        let Some(label) = labels.get(session) else {
            score.without_label += 1;
            scored.push(one);
            continue;
        };
        let says = Says::of(verdict);
        let agrees = says.agrees(label);
        one.agrees = Some(agrees);
        score.agreement.add(agrees);
        if says == Says::Incorrect {
            score.precision_of_fail.add(!label.db_state_correct);
        }
        if !label.db_state_correct {
            score.recall_of_fail.add(says == Says::Incorrect);
        }
        let cell = score
            .confusion
            .entry(format!("{} {}", verdict.status.as_str(), verdict.reason.as_str()))
            .or_default();
        cell[usize::from(!label.db_state_correct)] += 1;
        let (total, ours, unnamed, extra) = one.records.against(label, known);
        wanted += total;
        found += total - unnamed.len() as u64;
        named += ours;
        right += ours - extra.len() as u64;
        (one.unnamed, one.extra) = (unnamed, extra);
        scored.push(one);
    }
    let judged = |session: &String| verdicts.iter().any(|(other, _)| other == session);
    score.without_session = labels.keys().filter(|session| !judged(session)).count() as u64;
    score.precision_of_records = Share::new(right, named);
    score.recall_of_records = Share::new(found, wanted);
    (score, scored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_wilsons() {
        // Newcombe (1998), table I: 81 of 263, and 0 of 20.
        let share = Share::new(81, 263);
        assert!((share.low.unwrap() - 0.2553).abs() < 1e-4, "{share:?}");
        assert!((share.high.unwrap() - 0.3662).abs() < 1e-4, "{share:?}");
        let none = Share::new(0, 20);
        assert!(
            none.low.unwrap().abs() < 1e-9 && (none.high.unwrap() - 0.1611).abs() < 1e-4,
            "{none:?}"
        );
        assert_eq!(Share::new(0, 0).share, None);
    }
}
