//! The demo's world while it goes on: two Langfuse servers, a practice's Cloud9, a language model, and what happens to them
//! in the meantime: a call that goes on, spans that come late, an outage.
//!
//! What happens later waits for what it follows upon (a verdict, a closed gate), never for a clock: the demo is the same on a
//! slow machine.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{DemoSession, DemoSource, model, practice};
use crate::{
    domain::observation::Observation,
    sandbox::{
        Server, cloud9,
        langfuse::{self, FakeLangfuse, Version},
        language_model,
    },
};

/// Questions that the model answers before its outage begins.
const ANSWERED_BEFORE: u64 = 10;
/// Seconds for which a call goes on.
const GOES_ON: i64 = 600;
/// Between the ends of two sessions.
pub(super) const APART: TimeDelta = TimeDelta::seconds(3);

/// The language model's outage: begins by itself, ends when it is told to.
#[derive(Debug, Default)]
pub struct Outage {
    asked: AtomicU64,
    over: Mutex<bool>,
}

impl Outage {
    /// Counts a question; says whether nobody answers it.
    pub(super) fn is_on(&self) -> bool {
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        before >= ANSWERED_BEFORE && !*self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model answers again.
    pub fn end(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

/// The running servers.
pub struct Stage {
    newer: Arc<FakeLangfuse>,
    older: Arc<FakeLangfuse>,
    /// Ends the outage.
    pub outage: Arc<Outage>,
    servers: Servers,
    /// Sessions whose later part has arrived.
    resumed: BTreeSet<String>,
}

struct Servers {
    newer: Server,
    older: Server,
    practice: Server,
    model: Server,
}

impl Stage {
    /// Starts the servers. What was said so far is there, and ended a moment ago.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(sessions: &[DemoSession]) -> io::Result<Self> {
        let newer = Arc::new(FakeLangfuse::new(Version::V4));
        let older = Arc::new(FakeLangfuse::new(Version::V3));
        let outage = Arc::new(Outage::default());
        let model = model::scripted(sessions, Some(Arc::clone(&outage)));
        let servers = Servers {
            newer: langfuse::start(Arc::clone(&newer)).await?,
            older: langfuse::start(Arc::clone(&older)).await?,
            practice: cloud9::start(Arc::new(practice(sessions))).await?,
            model: language_model::start(Arc::new(model)).await?,
        };
        let stage = Self {
            newer,
            older,
            outage,
            servers,
            resumed: BTreeSet::new(),
        };
        let now = stage.newer.clock().now();
        for (session, ago) in sessions.iter().rev().zip(0..) {
            let at_once = |observation: &&Observation| !session.later.contains(&observation.id);
            let observations: Vec<Observation> = session.observations.iter().filter(at_once).cloned().collect();
            let end = if session.going_on { now } else { now - APART * (ago + 1) };
            if session.going_on {
                stage.go_on(session, now);
            }
            stage.server_of(session.source).ingest(ending_at(end, observations));
        }
        Ok(stage)
    }

    fn server_of(&self, source: DemoSource) -> &FakeLangfuse {
        match source {
            DemoSource::Newer => &self.newer,
            DemoSource::Older => &self.older,
        }
    }

    /// The address of a source's server.
    pub fn langfuse_url(&self, source: DemoSource) -> String {
        match source {
            DemoSource::Newer => self.servers.newer.url(),
            DemoSource::Older => self.servers.older.url(),
        }
    }

    /// The address of the practice's Cloud9.
    pub fn practice_url(&self) -> String {
        format!("{}{}", self.servers.practice.url(), cloud9::PATH)
    }

    /// The address before `/chat/completions`.
    pub fn model_url(&self) -> String {
        format!("{}/v1", self.servers.model.url())
    }

    /// What comes after a session's verdict arrives, once.
    pub fn resume(&mut self, session: &DemoSession) {
        if session.later.is_empty() || !self.resumed.insert(session.id.clone()) {
            return;
        }
        let comes = |observation: &&Observation| session.later.contains(&observation.id);
        let observations: Vec<Observation> = session.observations.iter().filter(comes).cloned().collect();
        let now = self.newer.clock().now();
        self.server_of(session.source).ingest(ending_at(now, observations));
    }

    /// Sound of a call that goes on, for longer than the demo may take. The server shows each when its time has come, so that
    /// the call is never silent for long, however busy the machine.
    fn go_on(&self, session: &DemoSession, from: DateTime<Utc>) {
        let Some(last) = session.observations.last() else {
            return;
        };
        let server = self.server_of(session.source);
        for second in 1..=GOES_ON {
            let sound = Observation {
                id: format!("{}-sound{second}", session.id),
                kind: "EVENT".to_owned(),
                name: "RunnableMap".to_owned(),
                input: Value::Null,
                output: Value::Null,
                ..last.clone()
            };
            let at = from + TimeDelta::seconds(second);
            server.ingest_at(at, ending_at(at, vec![sound]));
        }
    }

    /// Stops the servers.
    pub async fn stop(self) {
        let Servers {
            newer,
            older,
            practice,
            model,
        } = self.servers;
        for server in [newer, older, practice, model] {
            server.stop().await;
        }
    }
}

/// Moved in time as a whole, so that the last of them ends then. The server says itself when it changed them.
pub(super) fn ending_at(end: DateTime<Utc>, mut observations: Vec<Observation>) -> Vec<Observation> {
    let last = observations.iter().map(Observation::last_activity).max();
    let by = last.map_or(TimeDelta::zero(), |last| end - last);
    for observation in &mut observations {
        observation.start_time += by;
        observation.end_time = observation.end_time.map(|end| end + by);
        observation.updated_at = None;
    }
    observations
}
