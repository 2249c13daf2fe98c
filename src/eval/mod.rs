//! `aftercall eval verify`: scores the verdicts on labelled sessions, tries them on records that were changed behind the agent's
//! back, and sets naive judges beside them.
//!
//! `labels` are the truth, `sessions` what was said, `world` what is there; `score` compares, `mutants` change what is there,
//! `naive` are the others, `report` prints.

mod keys;
mod labels;
mod mutants;
mod naive;
mod report;
mod score;
mod sessions;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use serde::Serialize;

use self::{mutants::Mutant, world::World};
pub use self::{
    naive::Naive,
    score::{Kind, Named, NamedAs, Says, Score, Scored, Share},
};
use crate::{
    domain::{
        judge::{self, Case},
        lookup::Facts,
        playbook::Playbook,
        reading::Operation,
        verdict::Verdict,
    },
    readings_file::ReadingsFile,
};

/// What to score.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The sessions: observations, one JSON object per line.
    pub bundle: PathBuf,
    /// The truth about them.
    pub labels: PathBuf,
    /// The records after them: what `aftercall sandbox records` serves.
    pub records: PathBuf,
    /// Readings in place of the offline classifier.
    pub readings: Option<PathBuf>,
    /// How they are judged.
    pub playbook: Playbook,
    /// Fields (`reservation.cabin`) that a second score compares although the playbook says that they are not stored.
    pub also_compared: Vec<String>,
    /// At most so many changed records; 0: none.
    pub mutants: usize,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Session by session.
    pub sessions: Vec<Scored>,
    /// All of them together.
    pub summary: Summary,
}

/// All sessions together.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// By the playbook as it is.
    #[serde(flatten)]
    pub score: Score,
    /// With further fields compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub also_compared: Option<AlsoCompared>,
    /// On changed records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutants: Option<Mutants>,
    /// This verdict and the naive judges side by side.
    pub judges: Vec<Judge>,
}

/// The score with further fields compared.
#[derive(Debug, Clone, Serialize)]
pub struct AlsoCompared {
    /// Which.
    pub fields: Vec<String>,
    /// The agreement then.
    pub agreement: Share,
    /// Sessions that agree no more, or do so only now.
    pub changed: Vec<String>,
}

/// What became of changed records.
#[derive(Debug, Clone, Serialize)]
pub struct Mutants {
    /// How they are made and chosen.
    pub drawn: &'static str,
    /// Changes that could be made; those tried are taken evenly from them.
    pub possible: u64,
    /// Mutants whose record, and field, the verdict names as missing, wrong or unwanted. Those of one session are much alike, so
    /// that the interval is narrower than what they prove: see `sessions_named`.
    pub named: Share,
    /// Sessions whose records were changed.
    pub sessions: u64,
    /// Records that were changed; the same key in two sessions is two.
    pub records: u64,
    /// Sessions all of whose mutants are named: of independent trials there are as many as sessions, at most.
    pub sessions_named: Share,
    /// Session by session.
    pub by_session: Vec<MutantsOfSession>,
    /// Those sessions, judged again without a change: verdicts that stayed.
    pub unchanged: Share,
    /// Mutants that were not named: session, record, what was changed.
    pub overlooked: Vec<String>,
}

/// The mutants of one session.
#[derive(Debug, Clone, Serialize)]
pub struct MutantsOfSession {
    /// The source's id of it.
    pub session_id: String,
    /// Records that were changed.
    pub records: u64,
    /// Mutants.
    pub mutants: u64,
    /// Those that are named.
    pub named: u64,
}

/// One judge.
#[derive(Debug, Clone, Serialize)]
pub struct Judge {
    /// What it asks.
    pub asks: &'static str,
    /// Its agreement with the labels. Whoever says neither agrees with none.
    pub agreement: Share,
    /// Sessions of which it says neither that they are correct nor that they are not.
    pub undecided: u64,
    /// Mutants that change its mind; for the verdict, those that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutants_noticed: Option<Share>,
}

/// What the verdict itself asks, beside the naive judges.
const VERDICT: &str = "aftercall: what was asked is there, field by field";

/// One session and what is known of it.
struct Judged {
    case: Case,
    facts: Facts,
    verdict: Verdict,
}

/// Scores all sessions.
///
/// # Errors
/// When a file cannot be read, or the playbook asks for what a folder of records cannot answer.
pub async fn verify(plan: Plan) -> anyhow::Result<Report> {
    let labels = labels::load(&plan.labels)?;
    let readings = plan.readings.as_deref().map(ReadingsFile::load).transpose()?;
    let read = sessions::read(&plan.bundle, readings.as_ref(), &plan.playbook).await?;
    let known: Vec<&str> = read.iter().map(|case| case.session.session_id.as_str()).collect();
    if !labels.keys().any(|session| known.contains(&session.as_str())) {
        bail!(
            "none of the {} labels of {} is of a session of {}",
            labels.len(),
            plan.labels.display(),
            plan.bundle.display()
        );
    }
    let world = World::open(&plan.records, &plan.playbook).await?;
    let cases = judge_all(&world, &plan.playbook, read).await?;
    let known = |key: &str| world.holds(key);
    let (score, scored) = score::score(&plan.playbook, &verdicts(&cases), &labels, &known);

    let also_compared = if plan.also_compared.is_empty() {
        None
    } else {
        Some(also_compared(&plan, &world, &cases, &labels, &scored).await?)
    };
    let mut judges = vec![judge_of(VERDICT, &cases, &labels, |one| Says::of(&one.verdict))];
    for naive in Naive::ALL {
        let says = |one: &Judged| naive.says(&plan.playbook, &one.case, &one.facts);
        judges.push(judge_of(naive.words(), &cases, &labels, says));
    }
    let mutants = if plan.mutants == 0 {
        None
    } else {
        Some(try_mutants(&plan, &world, &cases, &mut judges).await?)
    };
    Ok(Report {
        sessions: scored,
        summary: Summary {
            score,
            also_compared,
            mutants,
            judges,
        },
    })
}

fn judge_of(
    asks: &'static str,
    cases: &[Judged],
    labels: &BTreeMap<String, labels::Label>,
    says: impl Fn(&Judged) -> Says,
) -> Judge {
    let labelled = cases
        .iter()
        .filter_map(|one| Some((says(one), labels.get(&one.case.session.session_id)?)));
    let said: Vec<(Says, &labels::Label)> = labelled.collect();
    Judge {
        asks,
        agreement: share(said.iter().map(|(says, label)| says.agrees(label))),
        undecided: said.iter().filter(|(says, _)| *says == Says::Neither).count() as u64,
        mutants_noticed: None,
    }
}

fn share(all: impl Iterator<Item = bool>) -> Share {
    let (mut count, mut of) = (0, 0);
    for one in all {
        of += 1;
        count += u64::from(one);
    }
    Share::new(count, of)
}

fn verdicts(cases: &[Judged]) -> Vec<(String, Verdict)> {
    cases
        .iter()
        .map(|one| (one.case.session.session_id.clone(), one.verdict.clone()))
        .collect()
}

async fn judge_all(world: &World, playbook: &Playbook, cases: Vec<Case>) -> anyhow::Result<Vec<Judged>> {
    let mut judged = Vec::new();
    for case in cases {
        let facts = world.facts(playbook, &case, &Facts::new()).await?;
        let verdict = judge::judge(playbook, &case, &facts, 1);
        judged.push(Judged { case, facts, verdict });
    }
    Ok(judged)
}

/// The same sessions with fields compared that the playbook leaves to the system.
async fn also_compared(
    plan: &Plan,
    world: &World,
    cases: &[Judged],
    labels: &BTreeMap<String, labels::Label>,
    before: &[Scored],
) -> anyhow::Result<AlsoCompared> {
    let mut playbook = plan.playbook.clone();
    for name in &plan.also_compared {
        let known = || {
            let fields = plan.playbook.records.iter().flat_map(|record| {
                let of_record = |field: &crate::domain::playbook::Field| format!("{}.{}", record.kind, field.name);
                record.fields.iter().map(of_record).collect::<Vec<_>>()
            });
            fields.collect::<Vec<_>>().join(", ")
        };
        let field = name.split_once('.').and_then(|(kind, field)| {
            let record = playbook.records.iter_mut().find(|record| record.kind == kind)?;
            record.fields.iter_mut().find(|known| known.name == field)
        });
        let field = field.with_context(|| format!("`{name}` is no field of the playbook's records: {}", known()))?;
        field.stored_on = Operation::ALL.to_vec();
    }
    let same = cases.iter().map(|one| one.case.clone()).collect();
    let again = judge_all(world, &playbook, same).await?;
    let (score, scored) = score::score(&playbook, &verdicts(&again), labels, &|key| world.holds(key));
    let changed = before
        .iter()
        .zip(&scored)
        .filter(|(one, other)| one.agrees != other.agrees);
    Ok(AlsoCompared {
        fields: plan.also_compared.clone(),
        agreement: score.agreement,
        changed: changed.map(|(one, _)| one.session_id.clone()).collect(),
    })
}

async fn try_mutants(plan: &Plan, world: &World, cases: &[Judged], judges: &mut [Judge]) -> anyhow::Result<Mutants> {
    let playbook = &plan.playbook;
    let mut all: Vec<Mutant> = Vec::new();
    for (position, one) in cases.iter().enumerate() {
        all.extend(mutants::of(position, playbook, &one.case, &one.facts, &one.verdict));
    }
    // Evenly from all of them, so that no session is left out for those before it.
    let possible = all.len() as u64;
    let step = all.len().div_ceil(plan.mutants.max(1)).max(1);
    let chosen: Vec<Mutant> = all.into_iter().step_by(step).collect();
    let mut named = Vec::new();
    let mut noticed = vec![Vec::new(); judges.len()];
    let mut overlooked = Vec::new();
    for mutant in &chosen {
        let one = &cases[mutant.session];
        let facts = mutant.facts(world, playbook, &one.case, &one.facts).await?;
        let verdict = judge::judge(playbook, &one.case, &facts, 1);
        let is_named = mutant.is_named(playbook, &one.facts, &one.verdict, &verdict);
        if !is_named {
            overlooked.push(format!(
                "{}: {} {} {}",
                one.case.session.session_id,
                mutant.record(),
                mutant.path,
                mutant.how
            ));
        }
        named.push(is_named);
        noticed[0].push(is_named);
        for (naive, noticed) in Naive::ALL.into_iter().zip(&mut noticed[1..]) {
            let says = |facts| naive.says(playbook, &one.case, facts);
            noticed.push(says(&one.facts) == Says::Correct && says(&facts) == Says::Incorrect);
        }
    }
    for (judge, noticed) in judges.iter_mut().zip(noticed) {
        judge.mutants_noticed = Some(share(noticed.into_iter()));
    }
    let mut unchanged = Vec::new();
    let mut by_session = Vec::new();
    // They are in the order of their sessions.
    let mut at = 0;
    for of_session in chosen.chunk_by(|one, other| one.session == other.session) {
        let one = &cases[of_session[0].session];
        let facts = world.facts(playbook, &one.case, &Facts::new()).await?;
        unchanged.push(judge::judge(playbook, &one.case, &facts, 1) == one.verdict);
        let records: BTreeSet<String> = of_session.iter().map(Mutant::record).collect();
        let outcomes = &named[at..at + of_session.len()];
        at += of_session.len();
        by_session.push(MutantsOfSession {
            session_id: one.case.session.session_id.clone(),
            records: records.len() as u64,
            mutants: outcomes.len() as u64,
            named: outcomes.iter().filter(|named| **named).count() as u64,
        });
    }
    Ok(Mutants {
        drawn: mutants::DRAWN,
        possible,
        named: share(named.into_iter()),
        sessions: by_session.len() as u64,
        records: by_session.iter().map(|one| one.records).sum(),
        sessions_named: share(by_session.iter().map(|one| one.named == one.mutants)),
        by_session,
        unchanged: share(unchanged.into_iter()),
        overlooked,
    })
}
