//! The durable queue: jobs are rows, and the row says everything.
//!
//! It knows nothing of sessions. The database is authoritative for which job runs where (`jobs.lease`), for how many of a
//! kind run at once (`jobs.slot`) and for what a limit or a pause is; memory only holds copies with an expiry.
//!
//! ```text
//!                 enqueue                         claim                       finish
//!   (nothing) ──────────────► available ───────────────────────► running ───────────────► completed
//!        │ run_at later          ▲  ▲  ▲                          │ │ │ │
//!        └──────► scheduled ─────┘  │  └──── rescue, hand-back ───┘ │ │ └─ cancel ──────► cancelled
//!                    ▲    due       │ due                           │ │
//!                    └── snooze ────┼───────────────────────────────┘ │
//!                               retryable ◄──────── retry ────────────┘─ fail, attempts or
//!                                                                        rescues used up ► discarded
//! ```
//!
//! Behind an upstream that is down a job is `scheduled` with `held_by`, until its gate lets it go ([`gate`]).
//! `available`, `scheduled` and `retryable` are cancelled at once. Every arrow out of `running` carries the claim's lease
//! and changes nothing when the row has another one by then.

mod attempt;
mod backend;
pub mod bulk;
mod claim;
mod claimer;
mod completions;
mod context;
pub mod control;
pub mod counters;
mod cron;
mod enqueue;
mod finish;
pub mod gate;
mod heartbeat;
mod held;
pub mod inspect;
mod job;
mod lease;
mod limits;
mod machine;
mod marks;
mod policy;
mod pulse;
mod rescue;
mod role;
mod run;
mod runtime;
pub mod select;

pub use self::{
    context::{Fenced, JobContext},
    cron::{Cron, CronFn, parse_schedule},
    enqueue::{EnqueueOptions, Enqueued, cancel_live, enqueue, enqueue_with, live_among},
    job::{Committed, Job, JobError, OrRetry, Outcome, Registry},
    limits::LimitSetting,
    policy::{Limit, Policy, days, hours, minutes, seconds},
    pulse::Pulse,
    role::Role,
    runtime::{Running, WorkerSettings, start},
};
