//! Why a job or a queue does not move: everything that holds it, from live state, in the order in which it has to give way.
//!
//! Each reason has a code that stays, for programs, and words for people. What is asked of the database is bounded, however
//! many jobs there are: a number that is not worth counting to the end is "more than 1,000".

mod fleet;
mod job;
mod queue;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{fleet::Fleet, job::of_job, queue::of_queue};

/// What is counted to the end.
const COUNTED: usize = 1_000;

/// Holders of a limit that are named.
const NAMED: u32 = 20;

/// Why something does not move. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReasonCode)]
pub enum Code {
    /// It ended: completed, cancelled or discarded.
    Ended,
    /// It ended, and a live job does the same.
    UniqueTwin,
    /// It runs.
    Running,
    /// It runs and was asked to stop.
    CancelRequested,
    /// It ran in a process that is silent: it is taken from it when its lease ends.
    WorkerSilent,
    /// An upstream that it needs is down, or closed by hand.
    GateShut,
    /// It waits for a time.
    Scheduled,
    /// It failed and is tried again later.
    BackingOff,
    /// Something was not found and is looked for again later.
    LookAgain,
    /// The session may still go on.
    Settling,
    /// A webhook told that the session ended, and no scan has seen it.
    NotInTraces,
    /// An operator holds the queue.
    Paused,
    /// No live process serves the queue.
    NoWorker,
    /// No live process fires the schedules.
    NoScheduler,
    /// As many run as may run at once.
    LimitReached,
    /// As many started in the window as may.
    RateReached,
    /// Others come first.
    BehindOthers,
    /// Nothing holds it: it starts as soon as a process takes it.
    Ready,
    /// Nothing waits.
    Idle,
    /// A session waits, and no job does it: it is rebuilt.
    NoJob,
    /// A session has its verdict, and nothing is left to do.
    Judged,
    /// The database answers slowly, and everything waits for it.
    DatabaseSlow,
}

impl Code {
    /// As it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::UniqueTwin => "unique_twin",
            Self::Running => "running",
            Self::CancelRequested => "cancel_requested",
            Self::WorkerSilent => "worker_silent",
            Self::GateShut => "gate_shut",
            Self::Scheduled => "scheduled",
            Self::BackingOff => "backing_off",
            Self::LookAgain => "look_again",
            Self::Settling => "settling",
            Self::NotInTraces => "not_in_traces",
            Self::Paused => "paused",
            Self::NoWorker => "no_worker",
            Self::NoScheduler => "no_scheduler",
            Self::LimitReached => "limit_reached",
            Self::RateReached => "rate_reached",
            Self::BehindOthers => "behind_others",
            Self::Ready => "ready",
            Self::Idle => "idle",
            Self::NoJob => "no_job",
            Self::Judged => "judged",
            Self::DatabaseSlow => "database_slow",
        }
    }

    /// Whether it keeps the thing from moving, rather than saying how it is.
    pub fn holds(self) -> bool {
        !matches!(
            self,
            Self::Ended | Self::Running | Self::Ready | Self::Idle | Self::Judged
        )
    }
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    /// Which.
    pub code: Code,
    /// In words, without instants.
    pub text: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Until when, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// The jobs that hold it, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<Holder>,
    /// What an operator can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
}

/// A job that holds something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Holder {
    /// Which.
    pub job: Uuid,
    /// In which process.
    pub worker: Option<String>,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
}

impl Reason {
    /// Without anything beside the words.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            since: None,
            until: None,
            by: Vec::new(),
            act: None,
        }
    }

    /// Since when.
    #[must_use]
    pub fn since(self, since: impl Into<Option<DateTime<Utc>>>) -> Self {
        Self {
            since: since.into(),
            ..self
        }
    }

    /// Until when.
    #[must_use]
    pub fn until(self, until: impl Into<Option<DateTime<Utc>>>) -> Self {
        Self {
            until: until.into(),
            ..self
        }
    }

    /// What an operator can do.
    #[must_use]
    pub fn act(self, act: impl Into<String>) -> Self {
        Self {
            act: Some(act.into()),
            ..self
        }
    }

    fn by(self, by: Vec<Holder>) -> Self {
        Self { by, ..self }
    }
}

/// `3`, or `more than 1,000`.
fn number(count: usize) -> String {
    if count > COUNTED {
        "more than 1,000".to_owned()
    } else {
        count.to_string()
    }
}
