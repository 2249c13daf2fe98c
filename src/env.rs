//! [`Env`]: everything that a job may touch, built once from the configuration.

mod build;
mod fit;
mod spans;

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use cron::Schedule;
use tokio::sync::Semaphore;

pub use self::{
    build::{load_playbook, worker_settings},
    fit::misfits,
    spans::send_spans,
};
pub use crate::config::{AlertRule, Reanalyze};
use crate::{
    adapters::expert::Artifact,
    db::Db,
    domain::{
        playbook::{Expert, Playbook},
        session::{SessionKey, SettleRules},
    },
    ports::{LanguageModel, SystemOfRecord, TraceSource, UpstreamError, UpstreamReason},
    queue::{
        Fenced, JobContext, JobError, Outcome,
        gate::{Outage, Waits},
    },
    readings_file::ReadingsFile,
    store::{retention::Ages, sessions},
};

/// Why a gate is closed whose upstream the configuration does not name.
pub const NOT_CONFIGURED: &str = "not_configured";

/// A configured source, with what teaches us to read it.
pub struct SourceEntry {
    /// The adapter.
    pub source: Arc<dyn TraceSource>,
    /// `bundle`, `langfuse`.
    pub kind: &'static str,
    /// Whether it is scanned.
    pub enabled: bool,
    /// What judges its sessions.
    pub playbook: Arc<Playbook>,
    /// What new activity after the verdict does.
    pub reanalyze: Reanalyze,
    /// When its sessions are over.
    pub settle: SettleRules,
    /// Whether traces that name no session are made into sessions.
    pub group_without_session: bool,
    /// Where the files are that experts may cite.
    pub artifacts: Option<PathBuf>,
}

impl SourceEntry {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The files of an expert, as far as they can be read: an expert without its file still has the evidence.
    pub fn artifacts_of(&self, expert: &Expert) -> Vec<Artifact> {
        let Some(directory) = &self.artifacts else {
            return Vec::new();
        };
        let mut artifacts = Vec::new();
        for name in &expert.artifacts {
            match fs::read_to_string(directory.join(name)) {
                Ok(text) => artifacts.push(Artifact {
                    name: name.clone(),
                    text,
                }),
                Err(error) => {
                    tracing::warn!(source = self.name(), expert = expert.id, file = name, %error, "an artifact cannot be read");
                }
            }
        }
        artifacts
    }
}

/// A configured system of record.
pub struct RecordsEntry {
    /// The adapter.
    pub system: Arc<dyn SystemOfRecord>,
    /// At least this long between two calls, in the whole fleet. Zero: no pause.
    pub pace: Duration,
}

impl RecordsEntry {
    /// Its name in the configuration: also the name of its lane.
    pub fn name(&self) -> &str {
        self.system.name()
    }
}

/// A configured LLM.
pub struct ModelEntry {
    /// The adapter.
    pub model: Arc<dyn LanguageModel>,
    /// Upper bound of an answer.
    pub max_tokens: u32,
    /// Whether personal data leaves only as tokens.
    pub mask: bool,
    /// Price of a million tokens, in the user's currency: what is sent, what is answered.
    pub prices: (f64, f64),
    /// What a source may spend in a day (UTC), by its name, in millionths of that currency. A source without one: no bound.
    pub daily_budgets: BTreeMap<String, u64>,
}

/// When the recurring jobs are enqueued.
#[derive(Debug, Clone)]
pub struct Schedules {
    /// One per source.
    pub discover_sessions: Schedule,
    /// All rules.
    pub evaluate_alerts: Schedule,
    /// All sessions.
    pub reconcile: Schedule,
    /// All tables.
    pub prune_history: Schedule,
}

/// What the jobs are to do, in numbers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When recurring jobs are enqueued.
    pub schedule: Schedules,
    /// Waits before the second, third … look at a system of record.
    pub look_again: Vec<Duration>,
    /// After this, an answer that cannot be read counts as "cannot answer".
    pub give_up_after: Duration,
    /// What to measure every minute.
    pub alerts: Vec<AlertRule>,
    /// How long things are kept.
    pub retention: Ages,
    /// First wait for an upstream that is down; doubled up to [`Settings::outage_wait_most`].
    pub outage_wait: Duration,
    /// Longest wait between two tries of an upstream that is down.
    pub outage_wait_most: Duration,
}

/// Everything outside the process but the database, by the names of the configuration.
pub struct Upstreams {
    /// By name.
    pub sources: BTreeMap<String, SourceEntry>,
    /// By name.
    pub systems: BTreeMap<String, RecordsEntry>,
    /// The LLM, where one is configured.
    pub model: Option<ModelEntry>,
}

/// Everything that a job may touch.
pub struct Env {
    /// The database.
    pub db: Db,
    /// What to do, in numbers.
    pub settings: Settings,
    /// By name.
    pub sources: BTreeMap<String, SourceEntry>,
    /// By name.
    pub systems: BTreeMap<String, RecordsEntry>,
    /// `None`: the offline classifier reads and rules alone explain.
    pub model: Option<ModelEntry>,
    /// Places for large sessions: a process analyses only so many of them at once, whatever the limit of the queue is, since
    /// each takes its memory.
    pub large_sessions: Semaphore,
    /// The user's own readings, which replace every reader.
    pub readings: Option<ReadingsFile>,
}

impl Env {
    /// A source by its name.
    ///
    /// # Errors
    /// When it is no longer configured: its jobs wait for it as for an upstream that is down.
    pub fn source(&self, name: &str) -> Result<&SourceEntry, Outage> {
        self.sources.get(name).ok_or_else(|| {
            not_configured(
                format!("source:{name}"),
                format!("source {name} is not in the configuration: add its [[source]] and restart"),
            )
        })
    }

    /// A system of record by its name.
    ///
    /// # Errors
    /// When it is no longer configured: its jobs wait for it as for an upstream that is down.
    pub fn system(&self, name: &str) -> Result<&RecordsEntry, Outage> {
        self.systems.get(name).ok_or_else(|| {
            not_configured(
                format!("records:{name}"),
                format!("system of record {name} is not in the configuration: add its [[records]] and restart"),
            )
        })
    }

    /// How long a job waits by itself after an answer that cannot be read: what the upstream asks for, else 10 s, 20 s,
    /// 40 s … 10 min.
    pub fn bad_answer_wait(&self, outage: &UpstreamError, snoozes: u32) -> Duration {
        let doubled = self.settings.outage_wait.saturating_mul(1 << snoozes.min(16));
        outage.retry_after.unwrap_or(doubled).clamp(
            self.settings.outage_wait.min(Duration::from_millis(100)),
            self.settings.outage_wait_most,
        )
    }

    /// How long to wait before the look after `round`; `None` after the last.
    pub fn look_again_wait(&self, round: u32) -> Option<Duration> {
        self.settings.look_again.get(round as usize).copied()
    }

    /// How long a gate stays closed.
    pub fn gate_waits(&self) -> Waits {
        Waits {
            first: self.settings.outage_wait,
            most: self.settings.outage_wait_most,
        }
    }

    /// Lets a job wait for an upstream that cannot do its part, with what its transaction holds.
    ///
    /// An upstream that is down closes its gate for everybody. An answer that cannot be read may be about this one job: it
    /// alone waits.
    ///
    /// # Errors
    /// As [`JobContext::snooze`].
    pub async fn wait_for(
        &self,
        ctx: &JobContext,
        mut tx: Fenced,
        source: &str,
        outage: &UpstreamError,
    ) -> Result<Outcome, JobError> {
        if outage.reason == UpstreamReason::BadAnswer {
            ctx.give_back(&mut tx, self.gate_waits()).await?;
            let wait = self.bad_answer_wait(outage, ctx.snoozes());
            return ctx.snooze(tx, wait, &outage.to_string()).await;
        }
        self.hold(ctx, tx, source, &Outage::from(outage)).await
    }

    /// As [`Env::wait_for`], and says so on the job's session. What is shown of a session behind a gate is read from the
    /// gate: nothing has to be wiped from thousands of sessions when it opens.
    ///
    /// # Errors
    /// As [`JobContext::snooze`].
    pub async fn wait_out(
        &self,
        ctx: &JobContext,
        mut tx: Fenced,
        key: &SessionKey,
        outage: &UpstreamError,
    ) -> Result<Outcome, JobError> {
        if outage.reason == UpstreamReason::BadAnswer {
            let until = tx.now().await? + self.bad_answer_wait(outage, ctx.snoozes());
            sessions::set_waiting(&mut tx, key, &outage.to_string(), Some(until)).await?;
        } else {
            sessions::set_waiting_its_turn(&mut tx, key).await?;
        }
        self.wait_for(ctx, tx, &key.source, outage).await
    }

    /// Holds a job behind a gate, and closes it if the job found the upstream down itself.
    ///
    /// # Errors
    /// As [`JobContext::snooze`].
    pub async fn hold(&self, ctx: &JobContext, tx: Fenced, source: &str, outage: &Outage) -> Result<Outcome, JobError> {
        // Whoever waits for the LLM is behind its source's budget as well.
        let needs = match outage.gate.split_once('/') {
            None if outage.gate.starts_with("llm:") => format!("{}/{source}", outage.gate),
            _ => outage.gate.clone(),
        };
        ctx.hold(tx, outage, &needs, self.gate_waits()).await
    }
}

fn not_configured(gate: String, detail: String) -> Outage {
    Outage {
        gate,
        reason: NOT_CONFIGURED.to_owned(),
        detail,
        retry_after: None,
    }
}
