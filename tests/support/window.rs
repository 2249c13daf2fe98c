//! A source in memory that shows a window at a time, as a test scripts it: pages in any order, twice, late, half; outages;
//! a content that is another at every read. And a fleet of one worker over it, whose clock the test moves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aftercall::{
    db::Db,
    domain::{
        observation::{Observation, Snapshot},
        session::{SettleRules, digest_of},
    },
    env::{Env, worker_settings},
    jobs::{self, DiscoverSessions},
    ports::{Probe, SeenObservation, SessionRef, Slice, TraceSource, UpstreamError, UpstreamReason},
    queue::{self, Running},
};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    bakery::Session,
    state::count,
    until,
    world::{SOURCE, World},
};

/// An observation as the source holds it: what a scan shows, and what a read gives.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) seen: SeenObservation,
    content: Observation,
}

impl Held {
    /// Names its session not itself: another of its trace does.
    pub(crate) fn nameless(mut self) -> Self {
        self.seen.session_id = None;
        self.content.session_id = None;
        self
    }

    /// The source says that its session is over.
    pub(crate) fn ending(mut self) -> Self {
        self.seen.ends_session = true;
        self
    }

    /// Changed since.
    pub(crate) fn changed(mut self, mark: &str) -> Self {
        mark.clone_into(&mut self.seen.mark);
        self
    }
}

/// The observations of a session, one a second from an instant on; its turns are traces.
pub(crate) fn held(session: &Session, from: DateTime<Utc>) -> Vec<Held> {
    let mut all = Vec::new();
    for (second, observation) in (0..).zip(&session.observations) {
        let mut content: Observation = serde_json::from_value(observation.clone()).unwrap();
        content.start_time = from + TimeDelta::seconds(second);
        content.end_time = Some(from + TimeDelta::seconds(second + 1));
        let seen = SeenObservation {
            id: content.id.clone(),
            trace_id: content.trace_id.clone(),
            session_id: content.session_id.clone(),
            user_id: None,
            environment: None,
            started_at: content.start_time,
            last_activity: content.last_activity(),
            mark: "1".to_owned(),
            ends_session: false,
        };
        all.push(Held { seen, content });
    }
    all
}

#[derive(Debug, Default)]
struct Script {
    pages: Vec<Vec<SeenObservation>>,
    /// By trace and id.
    content: BTreeMap<(String, String), Held>,
    down: Option<usize>,
    stuck: Option<usize>,
    restless: bool,
    reads: u64,
}

/// The source.
#[derive(Debug)]
pub(crate) struct Window {
    name: String,
    script: Mutex<Script>,
}

impl Window {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            script: Mutex::default(),
        })
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// The source holds them from now on, and no scan has shown them yet.
    pub(crate) fn hold(&self, observations: &[Held]) {
        let mut script = self.script();
        for held in observations {
            let key = (held.seen.trace_id.clone(), held.seen.id.clone());
            script.content.insert(key, held.clone());
        }
    }

    /// The next page of the scan: these, which the source holds.
    pub(crate) fn page(&self, observations: &[Held]) {
        self.hold(observations);
        let page = observations.iter().map(|held| held.seen.clone()).collect();
        self.script().pages.push(page);
    }

    /// Shows everything it holds once more, as the slow look back at a whole day does.
    pub(crate) fn look_back(&self) {
        let mut script = self.script();
        let page = script.content.values().map(|held| held.seen.clone()).collect();
        script.pages.push(page);
    }

    /// Is not reachable from the page of this number on; `None`: is.
    pub(crate) fn down_from(&self, page: Option<usize>) {
        self.script().down = page;
    }

    /// Does not answer for the page of this number at all; `None`: does.
    pub(crate) fn stuck_at(&self, page: Option<usize>) {
        self.script().stuck = page;
    }

    /// Every read gives another content.
    pub(crate) fn restless(&self) {
        self.script().restless = true;
    }

    /// Sessions read so far.
    pub(crate) fn reads(&self) -> u64 {
        self.script().reads
    }

    /// Pages so far.
    pub(crate) fn pages(&self) -> usize {
        self.script().pages.len()
    }
}

#[async_trait]
impl TraceSource for Window {
    fn name(&self) -> &str {
        &self.name
    }

    async fn scan(&self, watermark: Option<&Value>, _: DateTime<Utc>) -> Result<Slice, UpstreamError> {
        let next = watermark.and_then(Value::as_u64).unwrap_or_default();
        let page = usize::try_from(next).unwrap();
        if self.script().stuck == Some(page) {
            std::future::pending::<()>().await;
        }
        let script = self.script();
        if script.down.is_some_and(|down| page >= down) {
            return Err(UpstreamError {
                upstream: format!("source:{}", self.name),
                reason: UpstreamReason::Unreachable,
                detail: "no connection".to_owned(),
                retry_after: None,
            });
        }
        let known = script.pages.len();
        Ok(Slice {
            observations: script.pages.get(page).cloned().unwrap_or_default(),
            watermark: json!(known.min(page + 1)),
            more: page + 1 < known,
            ..Slice::default()
        })
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        Ok(Probe::default())
    }

    async fn read(&self, session: &SessionRef) -> Result<Option<(Snapshot, String)>, UpstreamError> {
        let mut script = self.script();
        script.reads += 1;
        let reads = script.reads.to_string();
        let mut found: Vec<&Held> = script
            .content
            .values()
            .filter(|held| {
                held.seen.session_id.as_ref() == Some(&session.session_id)
                    || session.trace_ids.contains(&held.seen.trace_id)
            })
            .collect();
        found.sort_by_key(|held| (held.content.start_time, held.content.id.clone()));
        let marks = found
            .iter()
            .map(|held| (held.seen.id.as_str(), held.seen.mark.as_str()));
        let digest = digest_of(marks.chain(script.restless.then_some(("restless", reads.as_str()))));
        let observations: Vec<Observation> = found.iter().map(|held| held.content.clone()).collect();
        let snapshot = Snapshot {
            observations,
            cut: None,
        };
        Ok((!snapshot.observations.is_empty()).then_some((snapshot, digest)))
    }
}

/// One worker over such sources, without schedules: nothing happens but what the test calls for.
pub(crate) struct Fleet {
    pub(crate) db: Db,
    running: Option<Running>,
    env: Arc<Env>,
    world: World,
}

impl Fleet {
    /// In this world, the sources of these names are windows. The first takes the place of the world's bundle.
    pub(crate) async fn start(world: World, windows: &[Arc<Window>]) -> Self {
        let db = world.db().await;
        let mut env = Env::build(&world.config, &db).unwrap();
        for window in windows {
            let entry = env.sources.get_mut(window.name()).unwrap();
            entry.source = Arc::clone(window) as Arc<dyn TraceSource>;
        }
        let mut fleet = Self {
            db,
            running: None,
            env: Arc::new(env),
            world,
        };
        fleet.go_on().await;
        fleet
    }

    /// Starts its worker again.
    pub(crate) async fn go_on(&mut self) {
        let settings = worker_settings(&self.world.config);
        let registry = Arc::new(jobs::registry());
        let running = queue::start(&self.db, registry, Arc::clone(&self.env), Vec::new(), settings).await;
        self.running = Some(running.unwrap());
    }

    /// The worker is gone as if it was killed.
    pub(crate) async fn kill(&mut self) {
        self.running.take().unwrap().abort().await;
    }

    /// The clock goes on.
    pub(crate) async fn after(&self, time: Duration) {
        self.db.advance_clock(time).await.unwrap();
    }

    /// Enqueues the scan of a source.
    pub(crate) async fn call_for_scan(&self, source: &str) {
        let mut tx = self.db.begin().await.unwrap();
        let source = source.to_owned();
        queue::enqueue(&mut tx, &DiscoverSessions { source }).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// One scan, and all that comes of it.
    pub(crate) async fn cycle(&self) {
        self.call_for_scan(SOURCE).await;
        self.rest().await;
    }

    /// A scan every five minutes, so many times.
    pub(crate) async fn cycles(&self, times: u32) {
        for _ in 0..times {
            self.after(Duration::from_mins(5)).await;
            self.cycle().await;
        }
    }

    /// When sessions of the first source are over.
    pub(crate) fn rules(&self) -> SettleRules {
        self.env.sources[SOURCE].settle
    }

    /// Waits until no job is left.
    pub(crate) async fn rest(&self) {
        const LIVE: &str =
            "SELECT COUNT(*) AS n FROM jobs WHERE state IN ('available', 'scheduled', 'running', 'retryable')";
        until("no job is left", async || count(&self.db, LIVE).await == 0).await;
    }
}
