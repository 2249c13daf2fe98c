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

    /// What decides is whether the session was correct; whoever says neither agrees with no label.
    pub(super) fn agrees(self, label: &Label) -> bool {
        match self {
            Self::Correct => label.db_state_correct,
            Self::Incorrect => !label.db_state_correct,
            Self::Neither => false,
        }
    }
}

/// In which way a record is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It should have been made or changed, and was not.
    Missing,
    /// It was changed, otherwise than it should.
    Wrong,
    /// It should not have been touched.
    Unwanted,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Missing, Self::Wrong, Self::Unwanted];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Unwanted => "unwanted",
        }
    }
}

/// Of the records named that the labels name, the kind that a label gives them beside the kind named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct NamedAs {
    /// Named as missing.
    pub missing: u64,
    /// Named as wrong.
    pub wrong: u64,
    /// Named as unwanted.
    pub unwanted: u64,
}

impl NamedAs {
    fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Missing => self.missing += 1,
            Kind::Wrong => self.wrong += 1,
            Kind::Unwanted => self.unwanted += 1,
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
        let as_asked = verdict
            .findings
            .iter()
            .filter(|finding| finding.outcome == Outcome::Confirmed && !finding.steps.is_empty());
        named.told_apart(
            &as_asked
                .filter_map(|finding| keys.of_finding(finding))
                .collect::<Vec<_>>(),
        )
    }

    /// A finding is of one request, a label of the whole record. One that lacks what was asked for and shows what nobody asked
    /// for, or on which a call did one thing as asked (`as_asked`) and not another, was changed, otherwise than it should: it is
    /// wrong. Each key then stands in one list, as in a label.
    fn told_apart(mut self, as_asked: &[String]) -> Self {
        let is_wrong =
            |key: &&String| Keys::not_made(key).is_none() && (self.kinds_of(key).len() > 1 || as_asked.contains(key));
        let moved: Vec<String> = self.all().into_iter().filter(is_wrong).cloned().collect();
        for key in moved {
            self.missing.retain(|other| *other != key);
            self.unwanted.retain(|other| *other != key);
            if !self.wrong.contains(&key) {
                self.wrong.push(key);
            }
        }
        self
    }

    fn list(&self, kind: Kind) -> &[String] {
        match kind {
            Kind::Missing => &self.missing,
            Kind::Wrong => &self.wrong,
            Kind::Unwanted => &self.unwanted,
        }
    }

    fn kinds_of(&self, key: &String) -> Vec<Kind> {
        let is_in = |kind: &Kind| self.list(*kind).contains(key);
        Kind::ALL.into_iter().filter(is_in).collect()
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

    /// Which of the label's keys are named, and which of the named ones are the label's. The key alone decides. A record that
    /// was never made has an id in the label only: each one named stands for one of its kind there that nothing else names,
    /// and that was not there before (`known`).
    fn against(&self, label: &Label, known: &dyn Fn(&str) -> bool) -> Against {
        let mut wanted: Vec<&String> = Vec::new();
        for key in label.records() {
            if !wanted.contains(&key) {
                wanted.push(key);
            }
        }
        let total = wanted.len() as u64;
        let mut extra = Vec::new();
        let mut unmade = Vec::new();
        let mut kinds = Vec::new();
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
                    kinds.extend(label.kind_of(key).zip(self.kinds_of(key).first().copied()));
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
                    kinds.push((Kind::Missing, Kind::Missing));
                }
                None => extra.push(key.clone()),
            }
        }
        Against {
            total,
            named,
            unnamed: wanted.into_iter().cloned().collect(),
            extra,
            kinds,
        }
    }
}

/// What a verdict names beside what the label names.
struct Against {
    /// Keys of the label.
    total: u64,
    /// Keys named.
    named: u64,
    /// Keys of the label that are not named.
    unnamed: Vec<String>,
    /// Keys named that the label does not have.
    extra: Vec<String>,
    /// Of each key that both name, the label's kind and the kind named.
    kinds: Vec<(Kind, Kind)>,
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
    /// Of the records that both name, those named as what they are: missing, wrong or unwanted. Precision and recall ask for the
    /// record alone.
    pub kind_of_records: Share,
    /// The same by the label's kind: what those records were named as.
    pub kinds_of_records: BTreeMap<Kind, NamedAs>,
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
        kind_of_records: none,
        kinds_of_records: Kind::ALL.into_iter().map(|kind| (kind, NamedAs::default())).collect(),
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
        let against = one.records.against(label, known);
        wanted += against.total;
        found += against.total - against.unnamed.len() as u64;
        named += against.named;
        right += against.named - against.extra.len() as u64;
        for (kind, named_as) in against.kinds {
            score.kind_of_records.add(named_as == kind);
            score.kinds_of_records.entry(kind).or_default().add(named_as);
        }
        (one.unnamed, one.extra) = (against.unnamed, against.extra);
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

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn a_record_is_named_by_its_key_alone_and_its_kind_is_counted_beside() {
        use Kind::{Missing, Unwanted, Wrong};
        let label = Label {
            session_id: "s".into(),
            db_state_correct: false,
            records_missing: keys(&["orders/1", "orders/2", "orders/made-later"]),
            records_wrong: keys(&["orders/3"]),
            records_unwanted: keys(&["orders/4", "orders/5"]),
        };
        let named = Named {
            missing: keys(&["orders/1", "orders/3", "orders/?"]),
            wrong: keys(&["orders/2", "orders/9"]),
            unwanted: keys(&["orders/4"]),
        };
        let against = named.against(&label, &|key| key != "orders/made-later");
        assert_eq!((against.total, against.named), (6, 6));
        assert_eq!(against.unnamed, ["orders/5"]);
        assert_eq!(against.extra, ["orders/9"]);
        assert_eq!(
            against.kinds,
            [
                (Missing, Missing),
                (Wrong, Missing),
                (Missing, Wrong),
                (Unwanted, Unwanted),
                (Missing, Missing)
            ]
        );
    }

    #[test]
    fn a_record_of_which_only_a_part_is_as_asked_is_wrong() {
        let named = Named {
            missing: keys(&["orders/1", "orders/2", "orders/?", "orders/?"]),
            wrong: keys(&["orders/3"]),
            unwanted: keys(&["orders/2", "orders/3", "orders/4", "orders/5"]),
        };
        let told = named.told_apart(&keys(&["orders/1", "orders/5", "orders/6"]));
        assert_eq!(told.missing, ["orders/?", "orders/?"]);
        assert_eq!(told.wrong, ["orders/3", "orders/1", "orders/2", "orders/5"]);
        assert_eq!(told.unwanted, ["orders/4"]);
    }
}
