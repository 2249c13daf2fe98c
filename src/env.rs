//! [`Env`]: everything that a job may touch, built once from the configuration.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use cron::Schedule;

pub use crate::config::{AlertRule, Reanalyze};
use crate::{
    adapters::{
        bundle::{Bundle, BundleConfig, BundleSettle},
        expert::Artifact,
        http_records::{HttpRecords, HttpRecordsConfig},
        openai::{OpenAi, OpenAiConfig},
        secret::Secret,
        watched::Watched,
    },
    config::{Config, LlmConfig, PlaybookName, RecordsKind, Settle, SourceConfig, SourceKind},
    db::Db,
    domain::{
        lookup::HttpLookup,
        playbook::{Expert, Playbook},
        session::{SessionKey, SettleRules},
    },
    ports::{LanguageModel, SystemOfRecord, TraceSource, UpstreamError},
    queue::{self, JobContext, JobError, LimitSetting, OrRetry, Outcome, WorkerSettings},
    readings_file::ReadingsFile,
    store::{retention::Ages, sessions},
};

/// A configured source, with what teaches us to read it.
pub struct SourceEntry {
    /// The adapter.
    pub source: Arc<dyn TraceSource>,
    /// `bundle`.
    pub kind: &'static str,
    /// Whether it is scanned.
    pub enabled: bool,
    /// What judges its sessions.
    pub playbook: Arc<Playbook>,
    /// What new activity after the verdict does.
    pub reanalyze: Reanalyze,
    /// When its sessions are over.
    pub settle: SettleRules,
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
    /// The user's own readings, which replace every reader.
    pub readings: Option<ReadingsFile>,
}

impl Env {
    /// Builds the adapters that the configuration names. Does not call any of them.
    ///
    /// # Errors
    /// When a playbook does not hold, a schedule is none, or a playbook speaks of a system that is not configured.
    pub fn build(config: &Config, db: &Db) -> anyhow::Result<Self> {
        let mut sources = BTreeMap::new();
        for source in &config.sources {
            sources.insert(source.name.clone(), build_source(source)?);
        }
        let mut lookups: BTreeMap<String, BTreeMap<String, HttpLookup>> = BTreeMap::new();
        for entry in sources.values().filter(|entry| entry.enabled) {
            for system in entry.playbook.systems() {
                if config.system(&system).is_none() {
                    bail!(
                        "playbook {} of source {} keeps records in `{system}`, but there is no [[records]] of that name: add one with its base_url (with --bundle: --records URL)",
                        entry.playbook.reference().name,
                        entry.name()
                    );
                }
                merge_lookups(lookups.entry(system.clone()).or_default(), entry, &system)?;
            }
        }
        let mut systems = BTreeMap::new();
        for records in &config.records {
            let RecordsKind::Http { base_url, headers } = &records.kind;
            let adapter = HttpRecords::new(
                &records.name,
                HttpRecordsConfig {
                    headers: headers
                        .iter()
                        .map(|(name, secret)| (name.clone(), Secret::new(secret.expose())))
                        .collect(),
                    timeout: records.timeout,
                    ..HttpRecordsConfig::new(base_url)
                },
                lookups.remove(&records.name).unwrap_or_default(),
            )
            .with_context(|| format!("[[records]] {}", records.name))?;
            let adapter: Arc<dyn SystemOfRecord> = Arc::new(adapter);
            let system = Arc::new(Watched::new(adapter));
            systems.insert(
                records.name.clone(),
                RecordsEntry {
                    system,
                    pace: records.pace,
                },
            );
        }
        Ok(Self {
            db: db.clone(),
            settings: settings(config)?,
            sources,
            systems,
            model: config.llm.as_ref().map(build_model).transpose()?,
            readings: config.readings.as_deref().map(ReadingsFile::load).transpose()?,
        })
    }

    /// A source by its name.
    ///
    /// # Errors
    /// [`JobError::Snooze`] when it is no longer configured: the job waits for it.
    pub fn source(&self, name: &str) -> Result<&SourceEntry, JobError> {
        self.sources.get(name).ok_or_else(|| {
            JobError::snooze(
                self.settings.outage_wait_most,
                format!("source {name} is not in the configuration: add its [[source]], or cancel the job"),
            )
        })
    }

    /// A system of record by its name.
    ///
    /// # Errors
    /// [`JobError::Snooze`] when it is no longer configured: the job waits for it.
    pub fn system(&self, name: &str) -> Result<&RecordsEntry, JobError> {
        self.systems.get(name).ok_or_else(|| {
            JobError::snooze(
                self.settings.outage_wait_most,
                format!("system of record {name} is not in the configuration: add its [[records]], or cancel the job"),
            )
        })
    }

    /// How long to wait for an upstream that is down: what it asks for, else 10 s, 20 s, 40 s … 10 min.
    pub fn outage_wait(&self, outage: &UpstreamError, snoozes: u32) -> Duration {
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

    /// Snoozes a job behind an upstream that is down, and says so on its session.
    ///
    /// # Errors
    /// As [`JobContext::snooze`].
    pub async fn wait_out(
        &self,
        ctx: &JobContext,
        key: &SessionKey,
        outage: &UpstreamError,
    ) -> Result<Outcome, JobError> {
        let wait = self.outage_wait(outage, ctx.snoozes());
        let reason = outage.to_string();
        let mut tx = ctx.begin().await?;
        let until = tx.now().await.or_retry()? + wait;
        sessions::set_waiting(&mut tx, key, &reason, Some(until))
            .await
            .or_retry()?;
        ctx.snooze(tx, wait, &reason).await
    }
}

/// How the workers of a process are set up.
pub fn worker_settings(config: &Config) -> WorkerSettings {
    let limits = &config.limits;
    let max = |max_running: u32| LimitSetting {
        max_running: Some(max_running),
        rate: None,
    };
    WorkerSettings {
        lease: config.queue.lease,
        heartbeat: config.queue.heartbeat,
        poll: config.queue.poll,
        grace: config.queue.grace,
        limits: BTreeMap::from([
            ("analyze_session".to_owned(), max(limits.analyze_session)),
            (
                "diagnose_session".to_owned(),
                LimitSetting {
                    max_running: Some(limits.diagnose_session),
                    rate: Some(Some((limits.diagnose_starts, limits.diagnose_window))),
                },
            ),
        ]),
        ..WorkerSettings::default()
    }
}

/// Reads a playbook by its name: one that ships with aftercall, or a file.
///
/// # Errors
/// With every fault of the playbook.
pub fn load_playbook(name: &PlaybookName) -> anyhow::Result<Playbook> {
    match name {
        PlaybookName::BuiltIn(name) => Playbook::built_in(name).with_context(|| {
            let known: Vec<&str> = Playbook::BUILT_IN.iter().map(|(name, _)| *name).collect();
            format!(
                "there is no built-in playbook `{name}` (there are: {}); a file is named by its path",
                known.join(", ")
            )
        }),
        PlaybookName::File(path) => {
            let text =
                fs::read_to_string(path).with_context(|| format!("cannot read the playbook {}", path.display()))?;
            Playbook::parse(&path.display().to_string(), &text).map_err(|faults| {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                anyhow::anyhow!("{}", faults.join("\n"))
            })
        }
    }
}

fn build_source(source: &SourceConfig) -> anyhow::Result<SourceEntry> {
    let playbook = load_playbook(&source.playbook).with_context(|| format!("[[source]] {}", source.name))?;
    let SourceKind::Bundle { path, settle } = &source.kind;
    let adapter: Arc<dyn TraceSource> = Arc::new(build_bundle(&source.name, path, *settle));
    Ok(SourceEntry {
        source: Arc::new(Watched::new(adapter)),
        kind: "bundle",
        enabled: source.enabled,
        playbook: Arc::new(playbook),
        reanalyze: source.reanalyze,
        settle: SettleRules {
            settle_after: source.settle_after,
            settle_deadline: source.settle_deadline,
        },
        artifacts: source.artifacts.clone(),
    })
}

fn build_bundle(name: &str, path: &Path, settle: Settle) -> Bundle {
    Bundle::new(BundleConfig {
        settle: match settle {
            Settle::EndOfFile => BundleSettle::EndOfFile,
            Settle::Idle => BundleSettle::Idle,
        },
        ..BundleConfig::new(name, path)
    })
}

/// Two playbooks may keep records in one system, but a kind of record is asked for in one way.
fn merge_lookups(into: &mut BTreeMap<String, HttpLookup>, entry: &SourceEntry, system: &str) -> anyhow::Result<()> {
    for (kind, lookup) in entry.playbook.http_lookups(system) {
        if let Some(other) = into.insert(kind.clone(), lookup.clone())
            && other != lookup
        {
            bail!(
                "two playbooks ask `{system}` for `{kind}` in different ways (the second is {}): name the systems apart",
                entry.playbook.reference().name
            );
        }
    }
    Ok(())
}

fn build_model(llm: &LlmConfig) -> anyhow::Result<ModelEntry> {
    let adapter = OpenAi::new(OpenAiConfig {
        api_key: llm.api_key.as_ref().map(|key| Secret::new(key.expose())),
        timeout: llm.timeout,
        ..OpenAiConfig::new("default", &llm.base_url, &llm.model)
    })
    .context("[llm]")?;
    let adapter: Arc<dyn LanguageModel> = Arc::new(adapter);
    Ok(ModelEntry {
        model: Arc::new(Watched::new(adapter)),
        max_tokens: llm.max_tokens,
        mask: llm.mask,
        prices: (llm.price_prompt, llm.price_completion),
    })
}

fn settings(config: &Config) -> anyhow::Result<Settings> {
    let schedule = |name: &str, expression: &str| {
        queue::parse_schedule(expression).map_err(|error| anyhow::anyhow!("[schedule] {name}: {error}"))
    };
    Ok(Settings {
        schedule: Schedules {
            discover_sessions: schedule("discover_sessions", &config.schedule.discover_sessions)?,
            evaluate_alerts: schedule("evaluate_alerts", &config.schedule.evaluate_alerts)?,
            reconcile: schedule("reconcile", &config.schedule.reconcile)?,
            prune_history: schedule("prune_history", &config.schedule.prune_history)?,
        },
        look_again: config.verification.look_again.clone(),
        give_up_after: config.verification.give_up_after,
        alerts: config.alerts.clone(),
        retention: Ages {
            finished_jobs: config.retention.finished_jobs,
            snapshots: config.retention.snapshots,
        },
        outage_wait: config.verification.outage_wait,
        outage_wait_most: config.verification.outage_wait_most,
    })
}
