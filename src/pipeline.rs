//! Runs the whole flow in this process: what `aftercall run` does, and the demo, the bench and the tests with it. What the
//! other roles of a fleet do of it: [`roles`].

pub mod roles;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    config::Config,
    db::{Db, DbError},
    env::{self, Env, NOT_CONFIGURED},
    jobs::{self, DiscoverSessions, Reconcile},
    queue::{
        self, Pulse, Running,
        control::CLOSED_BY_HAND,
        gate,
        inspect::{self, Pending, gates},
    },
    store::sessions,
};

/// How often the state is looked at while waiting for the end. Only watching: jobs wake each other.
const LOOK: Duration = Duration::from_millis(100);

/// The running workers and what they touch.
pub struct Pipeline {
    /// What the jobs touch.
    pub env: Arc<Env>,
    running: Running,
}

impl Pipeline {
    /// Starts all queues and schedules in this process.
    ///
    /// # Errors
    /// When the configuration does not hold or the database cannot be reached.
    pub async fn start(config: &Config, db: &Db) -> anyhow::Result<Self> {
        let env = Arc::new(Env::build(config, db)?);
        let registry = Arc::new(jobs::registry());
        let scanned = env.sources.values().filter(|source| source.enabled);
        let crons = jobs::crons(scanned.map(|source| source.name().to_owned()), &env.settings.schedule);
        try_mended(&env).await?;
        let running = queue::start(db, registry, Arc::clone(&env), crons, env::worker_settings(config)).await?;
        Ok(Self { env, running })
    }

    /// Whether the workers of this process live.
    pub fn pulse(&self) -> Pulse {
        self.running.pulse()
    }

    /// The longest time so far between two signs of life of this process that reached the database.
    pub fn longest_silence(&self) -> Duration {
        self.running.longest_silence()
    }

    /// Stops claiming, lets running jobs end, and hands back what is left.
    pub async fn shutdown(self) {
        self.running.shutdown().await;
    }

    /// Looks at every source and at every unfinished session now, without waiting for their schedules.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn look_now(&self) -> Result<(), DbError> {
        let mut tx = self.env.db.begin().await?;
        let tick = tx.now().await?;
        queue::enqueue(&mut tx, &Reconcile { tick }).await?;
        for source in self.env.sources.values().filter(|source| source.enabled) {
            let source = source.name().to_owned();
            queue::enqueue(&mut tx, &DiscoverSessions { source }).await?;
        }
        tx.commit().await
    }

    /// Waits until every session has its verdict and no job is left, for at most `max_wait`. Work that is due later counts
    /// as pending; sessions that wait to settle in a source that is switched off or gone do not: nobody would settle them.
    ///
    /// # Errors
    /// When the database cannot be read for good.
    pub async fn until_idle(
        &self,
        max_wait: Option<Duration>,
        mut on_look: impl FnMut(&State),
    ) -> Result<State, DbError> {
        let started = tokio::time::Instant::now();
        loop {
            let scanned = |source: &str| self.env.sources.get(source).is_some_and(|source| source.enabled);
            let state = State::read_of(&self.env.db, scanned).await?;
            on_look(&state);
            if state.is_idle() || max_wait.is_some_and(|most| started.elapsed() >= most) {
                return Ok(state);
            }
            if state.is_settling_due() {
                self.look_now().await?;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What a restart may have mended is tried at once: credentials, the name of a model, a budget, a section that was missing.
async fn try_mended(env: &Env) -> Result<(), DbError> {
    for line in gates::all(&env.db).await? {
        let (kind, name) = line.key.split_once(':').unwrap_or_default();
        let configured = match kind {
            "source" => env.sources.contains_key(name),
            "records" => env.systems.contains_key(name),
            "llm" => env.model.is_some(),
            _ => false,
        };
        let reason = line.reason.as_deref().unwrap_or_default();
        let mut tx = env.db.begin().await?;
        let gate = line.key.as_str();
        if kind == "llm" && !configured && reason != CLOSED_BY_HAND {
            if gate::open(&mut tx, gate).await? {
                tracing::warn!(gate, "no LLM is configured any more: nothing waits for it");
            }
        } else if configured && MENDED_BY_RESTART.contains(&reason) && gate::probe_now(&mut tx, gate).await? {
            tracing::warn!(gate, reason, "closed when this process started: it is tried now");
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Why a gate is closed that a change of the configuration may open.
const MENDED_BY_RESTART: [&str; 4] = ["auth_invalid", "model_unavailable", "budget", NOT_CONFIGURED];

/// How far the work is.
#[derive(Debug, Clone)]
pub struct State {
    /// Jobs that are live.
    pub pending: Pending,
    /// Sessions seen.
    pub sessions: u64,
    /// Sessions with a verdict.
    pub done: u64,
    /// Sessions that wait to settle.
    pub settling: u64,
    /// When the first of those can settle.
    pub settling_until: Option<DateTime<Utc>>,
    /// Sessions that wait to settle although nobody scans their source.
    pub unscanned: u64,
    /// Sessions that only a webhook knows, and that wait for their traces.
    pub untraced: u64,
    /// By the database's clock.
    pub at: DateTime<Utc>,
}

impl State {
    /// Reads it, all sources included.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn read(db: &Db) -> Result<Self, DbError> {
        Self::read_of(db, |_| true).await
    }

    /// Reads it; `scanned` says whether a source is looked at.
    async fn read_of(db: &Db, scanned: impl Fn(&str) -> bool) -> Result<Self, DbError> {
        let pending = inspect::pending_work(db).await?;
        let counts = sessions::progress(db, scanned).await?;
        Ok(Self {
            pending,
            sessions: counts.seen,
            done: counts.done,
            settling: counts.settling,
            settling_until: counts.settling_until,
            unscanned: counts.unscanned,
            untraced: counts.untraced,
            at: db.now().await?,
        })
    }

    /// Nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.settling == 0 && self.done + self.unscanned + self.untraced == self.sessions
    }

    fn is_settling_due(&self) -> bool {
        self.pending.is_empty()
            && (self.done + self.settling + self.unscanned + self.untraced < self.sessions
                || self.settling_until.is_some_and(|until| until <= self.at))
    }
}
