//! `why`: what holds a queue, a job or a session, from live state, in the order in which it has to give way.
//!
//! What holds jobs the queue says ([`crate::queue::inspect::why`]); a session waits for the job that its state calls for, or to
//! come to rest.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    db::{Db, DbError},
    jobs::{AnalyzeSession, DiagnoseSession, DiscoverSessions, VerifySession},
    params,
    queue::{
        Job as _,
        inspect::{
            self, JobRow,
            why::{self, Code, Fleet, Reason},
        },
    },
    store::inspect::{session, sessions::SessionLine},
};

/// What does not move, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Why {
    /// What was asked about.
    #[serde(flatten)]
    pub subject: Subject,
    /// Everything that holds it, the first to give way first; without any, how it is.
    pub reasons: Vec<Reason>,
}

impl Why {
    /// Whether anything holds it.
    pub fn is_held(&self) -> bool {
        self.reasons.iter().any(|reason| reason.code.holds())
    }
}

/// What can be asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// A queue.
    Queue {
        /// Its name.
        queue: String,
    },
    /// A job.
    Job {
        /// Which.
        job: Uuid,
        /// Its queue.
        queue: String,
        /// Its state.
        state: String,
    },
    /// A session.
    Session {
        /// Where it is from.
        source: String,
        /// Its id there.
        session_id: String,
        /// Its state.
        state: String,
        /// The job that does its next step.
        #[serde(skip_serializing_if = "Option::is_none")]
        job: Option<Uuid>,
    },
}

/// What was found under a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// One thing.
    One(Box<Why>),
    /// Nothing.
    Nothing,
    /// Sessions of one id in several sources.
    Several(Vec<SessionLine>),
}

/// Why what is called `name` does not move: the id of a job, a queue, or the id of a session (of `source`, where several have one).
/// `lease` is how long a process may be silent.
///
/// # Errors
/// When the database cannot answer.
pub async fn why(db: &Db, lease: Duration, name: &str, source: Option<&str>) -> Result<Found, DbError> {
    let fleet = Fleet::read(db, lease).await?;
    let one = |why| Ok(Found::One(Box::new(why)));
    if source.is_none() {
        if let Ok(id) = name.parse::<Uuid>()
            && let Some(job) = inspect::job(db, id).await?
        {
            return one(of_job(db, &fleet, &job).await?);
        }
        if let Some(reasons) = why::of_queue(db, &fleet, name).await? {
            let queue = name.to_owned();
            return one(Why {
                subject: Subject::Queue { queue },
                reasons,
            });
        }
    }
    let mut found = session::find(db, source, name).await?;
    match found.len() {
        0 => Ok(Found::Nothing),
        1 => one(of_session(db, &fleet, found.remove(0)).await?),
        _ => Ok(Found::Several(found)),
    }
}

async fn of_job(db: &Db, fleet: &Fleet, job: &JobRow) -> Result<Why, DbError> {
    Ok(Why {
        subject: Subject::Job {
            job: job.id,
            queue: job.queue.clone(),
            state: job.state.clone(),
        },
        reasons: why::of_job(db, fleet, job).await?,
    })
}

async fn of_session(db: &Db, fleet: &Fleet, line: SessionLine) -> Result<Why, DbError> {
    let step = Step::of(db, &line).await?;
    let job = match step.job() {
        Some((queue, key)) => live_job(db, queue, &key).await?,
        None => None,
    };
    let mut reasons = Vec::new();
    match (&step, &job) {
        (Step::Nothing, _) => {
            let status = &line.status;
            reasons.push(
                Reason::new(
                    Code::Judged,
                    format!("the verdict is {status}, and nothing is left to do"),
                )
                .since(line.verdict.as_ref().map(|verdict| verdict.at)),
            );
        }
        (Step::Settle { .. }, _) => {
            let why = line.waiting_reason.as_deref().unwrap_or("waiting to settle");
            reasons.push(if line.observations == 0 {
                Reason::new(Code::NotInTraces, why)
                    .since(line.last_activity_at)
                    .act("does the agent send traces of this call, and under this session id? It settles as soon as a scan sees one")
            } else {
                Reason::new(Code::Settling, why)
                    .since(line.last_activity_at)
                    .until(line.waiting_until)
            });
            // It settles by scans: whatever holds those holds it.
            if let Some(job) = &job {
                reasons.extend(held(why::of_job(db, fleet, job).await?));
            } else if let Some(queue) = why::of_queue(db, fleet, DiscoverSessions::NAME).await? {
                reasons.extend(
                    held(queue).filter(|reason| reason.code != Code::GateShut && reason.code != Code::Scheduled),
                );
            }
        }
        (step, Some(job)) => {
            let mut of_job = why::of_job(db, fleet, job).await?;
            if step.looks_again() {
                for reason in &mut of_job {
                    if reason.code == Code::Scheduled {
                        reason.code = Code::LookAgain;
                    }
                }
            }
            reasons.extend(of_job);
        }
        (_, None) => {
            reasons.push(
                Reason::new(
                    Code::NoJob,
                    "no job does its next step: `reconcile` enqueues one, every few minutes",
                )
                .act("`aftercall why reconcile` says whether that runs"),
            );
            reasons.extend(fleet.unscheduled());
            if let Some(queue) = why::of_queue(db, fleet, crate::jobs::Reconcile::NAME).await? {
                reasons.extend(held(queue).filter(|reason| reason.code != Code::NoScheduler));
            }
        }
    }
    Ok(Why {
        subject: Subject::Session {
            source: line.key.source,
            session_id: line.key.session_id,
            state: line.state,
            job: job.map(|job| job.id),
        },
        reasons,
    })
}

fn held(reasons: Vec<Reason>) -> impl Iterator<Item = Reason> {
    reasons.into_iter().filter(|reason| reason.code.holds())
}

/// What a session needs next.
enum Step {
    Settle { source: String },
    Analyze(AnalyzeSession),
    Verify(VerifySession, u32),
    Diagnose(DiagnoseSession),
    Nothing,
}

impl Step {
    async fn of(db: &Db, line: &SessionLine) -> Result<Self, DbError> {
        let (source, session_id) = (line.key.source.clone(), line.key.session_id.clone());
        let generation = line.generation;
        Ok(match line.state.as_str() {
            "open" | "reopened" => Self::Settle { source },
            "settled" | "analyzing" => Self::Analyze(AnalyzeSession {
                source,
                session_id,
                generation,
            }),
            "verifying" => {
                let row = db
                    .fetch_optional(
                        "-- verification_of\nSELECT system, look_round FROM sessions WHERE source = $1 AND session_id = $2",
                        &params![&source, &session_id],
                    )
                    .await?;
                let (system, round) = match row {
                    Some(row) => (
                        row.get::<Option<String>>("system")?.unwrap_or_default(),
                        row.get("look_round")?,
                    ),
                    None => Default::default(),
                };
                let verify = VerifySession {
                    source,
                    session_id,
                    generation,
                    system,
                };
                Self::Verify(verify, round)
            }
            _ if line.verdict.as_ref().and_then(|verdict| verdict.diagnosis.as_deref()) == Some("pending") => {
                Self::Diagnose(DiagnoseSession {
                    source,
                    session_id,
                    generation,
                })
            }
            _ => Self::Nothing,
        })
    }

    /// The job that does it: queue and unique key.
    fn job(&self) -> Option<(&'static str, String)> {
        Some(match self {
            Self::Settle { source } => (DiscoverSessions::NAME, source.clone()),
            Self::Analyze(job) => (AnalyzeSession::NAME, job.unique_key()?),
            Self::Verify(job, _) => (VerifySession::NAME, job.unique_key()?),
            Self::Diagnose(job) => (DiagnoseSession::NAME, job.unique_key()?),
            Self::Nothing => return None,
        })
    }

    fn looks_again(&self) -> bool {
        matches!(self, Self::Verify(_, round) if *round > 0)
    }
}

async fn live_job(db: &Db, queue: &str, key: &str) -> Result<Option<JobRow>, DbError> {
    let row = db
        .fetch_optional(
            "-- live_job_of_key
             SELECT id FROM jobs WHERE queue = $1 AND unique_key = $2
                AND state IN ('available', 'scheduled', 'running', 'retryable')",
            &params![queue, key],
        )
        .await?;
    match row {
        Some(row) => inspect::job(db, row.get("id")?).await,
        None => Ok(None),
    }
}
