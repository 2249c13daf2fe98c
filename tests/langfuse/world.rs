//! A server with sessions, and what the scans of it add up to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aftercall::{
    adapters::{
        langfuse::{Langfuse, LangfuseConfig},
        secret::Secret,
    },
    domain::{observation::Observation, session::digest_of},
    ports::{SeenObservation, SessionRef, SourceFault, TraceSource, UpstreamError},
    sandbox::{
        Server,
        langfuse::{self, Clock, FakeLangfuse, PUBLIC_KEY, SECRET_KEY, Version},
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// Noon of some day.
pub(super) fn noon() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// A turn of a session: a root with what was said, and a tool call below it, that began at this second after noon.
pub(super) fn turn(session: &str, number: u32, second: i64) -> Vec<Observation> {
    let start = noon() + TimeDelta::seconds(second);
    let trace = format!("{}-trace-{number}", session.replace(['/', ' ', '"', 'ü'], "_"));
    let observation = |id: &str, parent: Option<String>, kind: &str, input: Value, output: Value| {
        let end = start + TimeDelta::seconds(if parent.is_some() { 2 } else { 4 });
        let value = json!({
            "id": format!("{trace}-{id}"), "traceId": trace, "sessionId": session, "type": kind, "name": id,
            "parentObservationId": parent, "isRootObservation": parent.is_none(), "startTime": start, "endTime": end,
            "updatedAt": end + TimeDelta::seconds(1), "level": "DEFAULT", "environment": "production",
            "userId": "caller-7", "traceName": "turn", "tags": ["voice"], "input": input, "output": output,
        });
        serde_json::from_value(value).unwrap()
    };
    let asked = json!({"question": format!("question {number}")});
    vec![
        observation("root", None, "SPAN", asked, json!({"text": format!("answer {number}")})),
        observation(
            "lookup",
            Some(format!("{trace}-root")),
            "TOOL",
            json!({"action": "lookup", "n": number}),
            json!({"found": true}),
        ),
    ]
}

/// A running server, and a source that reads it.
pub(super) struct World {
    pub(super) fake: Arc<FakeLangfuse>,
    pub(super) server: Server,
    pub(super) source: Langfuse,
    pub(super) seen: Seen,
}

impl World {
    pub(super) async fn new(version: Version) -> Self {
        Self::with(version, |_| {}).await
    }

    pub(super) async fn with(version: Version, change: impl FnOnce(&mut LangfuseConfig)) -> Self {
        let fake = Arc::new(FakeLangfuse::with_clock(version, Clock::still_at(noon())));
        let server = langfuse::start(Arc::clone(&fake)).await.unwrap();
        let mut config = config(&server.url());
        change(&mut config);
        Self {
            fake,
            server,
            source: Langfuse::new(config).unwrap(),
            seen: Seen::default(),
        }
    }

    /// Moves the server's clock.
    pub(super) fn set(&self, minutes: i64) -> DateTime<Utc> {
        let now = noon() + TimeDelta::minutes(minutes);
        let ahead = (now - self.fake.clock().now()).to_std().unwrap_or_default();
        self.fake.clock().advance(ahead);
        now
    }

    /// Scans at this minute after noon until there is no more. What was learnt before an outage stays.
    pub(super) async fn scan(&mut self, minutes: i64) -> Result<(), UpstreamError> {
        let now = self.set(minutes);
        for _ in 0..2_000 {
            if !self.seen.scan_once(&self.source, now).await? {
                return Ok(());
            }
        }
        panic!("a cycle does not end");
    }

    /// Reads the session by what the scans know of it. Its digest must be theirs.
    pub(super) async fn read(&self, session: &str) -> aftercall::domain::observation::Snapshot {
        let (snapshot, digest) = self.source.read(&self.seen.session(session)).await.unwrap().unwrap();
        assert_eq!(digest, self.seen.digest(session), "of {session}");
        snapshot
    }
}

pub(super) fn config(url: &str) -> LangfuseConfig {
    LangfuseConfig {
        timeout: Duration::from_secs(10),
        ..LangfuseConfig::new("calls", url, Secret::new(PUBLIC_KEY), Secret::new(SECRET_KEY))
    }
}

/// What the scans add up to, kept as the database keeps it: the last mark of an observation counts, and a
/// trace belongs to the first session by alphabet that any of its observations names.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) watermark: Option<Value>,
    pub(super) observations: BTreeMap<(String, String), SeenObservation>,
    pub(super) faults: Vec<SourceFault>,
}

impl Seen {
    pub(super) async fn scan_once(
        &mut self,
        source: &dyn TraceSource,
        now: DateTime<Utc>,
    ) -> Result<bool, UpstreamError> {
        let slice = source.scan(self.watermark.as_ref(), now).await?;
        for seen in slice.observations {
            self.observations.insert((seen.trace_id.clone(), seen.id.clone()), seen);
        }
        self.faults.extend(slice.faults);
        self.watermark = Some(slice.watermark);
        Ok(slice.more)
    }

    fn of<'a>(&'a self, session: &'a str) -> impl Iterator<Item = &'a SeenObservation> {
        let mut named: BTreeMap<&str, &str> = BTreeMap::new();
        for seen in self.observations.values() {
            if let Some(id) = seen.session_id.as_deref() {
                let of_trace = named.entry(&seen.trace_id).or_insert(id);
                *of_trace = id.min(of_trace);
            }
        }
        self.observations
            .values()
            .filter(move |seen| named.get(seen.trace_id.as_str()) == Some(&session))
    }

    pub(super) fn digest(&self, session: &str) -> String {
        digest_of(self.of(session).map(|seen| (seen.id.as_str(), seen.mark.as_str())))
    }

    pub(super) fn session(&self, session: &str) -> SessionRef {
        let mut trace_ids: Vec<String> = self.of(session).map(|seen| seen.trace_id.clone()).collect();
        trace_ids.sort();
        trace_ids.dedup();
        SessionRef {
            session_id: session.to_owned(),
            trace_ids,
            first_activity: self.of(session).map(|seen| seen.started_at).min().unwrap_or(noon()),
            last_activity: self.of(session).map(|seen| seen.last_activity).max().unwrap_or(noon()),
        }
    }

    /// The observations of the application itself: without those that stand for a trace.
    pub(super) fn ids(&self) -> Vec<&str> {
        let ids = self.observations.keys().map(|(_, id)| id.as_str());
        ids.filter(|id| !id.starts_with("t-")).collect()
    }
}
