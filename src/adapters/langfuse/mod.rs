//! Sessions from a Langfuse server, of either generation of its API.
//!
//! Langfuse keeps no sessions that begin and end, only observations that name one, and v4 keeps no traces either. So a scan
//! reads windows of time and gives observations as it sees them; what they add up to is kept elsewhere. `plan` decides which
//! window comes next, `observations` and `traces` are the two generations, `generation` finds out which one the server
//! speaks, `server` asks, within the `pace` that the server and the configuration allow, and `refusal` says what an answer
//! that is none means.

mod back_end;
mod generation;
mod large_trace;
mod observations;
mod pace;
mod plan;
mod probe;
mod refusal;
mod server;
mod traces;
mod wire;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Semaphore;

use self::{
    back_end::BackEnd,
    observations::ObservationsApi,
    pace::Pace,
    plan::{Ask, Generation, Plan, Step},
    refusal::{Refusal, RefusalKind},
    server::Server,
    traces::TracesApi,
};
pub use self::{generation::Api, plan::Windows};
use super::{
    client::{self, ClientSettings},
    secret::Secret,
};
use crate::{
    domain::{
        end_signal::{EndSignals, NoCondition},
        id,
        observation::Snapshot,
    },
    ports::{Probe, SessionRef, Slice, SourceFault, TraceSource, UpstreamError, UpstreamReason},
};

/// The environment of aftercall's own traces: never read, so that it never judges itself.
pub const OWN_ENVIRONMENT: &str = "aftercall";

/// Sessions read at once: each holds its content while it is read.
const READS_AT_ONCE: usize = 4;
/// A read that finds no place among the others for this long lets its job wait elsewhere.
const LONGEST_QUEUE: Duration = Duration::from_mins(2);
/// A slice as short as it gets that the server cannot list is left after so many tries.
const TRIES_OF_SHORTEST: u32 = 8;

/// One configured Langfuse project.
#[derive(Debug, Clone)]
pub struct LangfuseConfig {
    /// Name of the source.
    pub name: String,
    /// The server's address: `https://cloud.langfuse.com`.
    pub base_url: String,
    /// The project's public key.
    pub public_key: Secret,
    /// The project's secret key.
    pub secret_key: Secret,
    /// Which generation of the API to read.
    pub api: Api,
    /// Environments to read; none: all but our own.
    pub environments: Vec<String>,
    /// How far windows reach.
    pub windows: Windows,
    /// Most requests of this process in a minute; `None`: as many as the server takes.
    pub requests_per_minute: Option<u32>,
    /// Tags that end a session.
    pub end_tags: Vec<String>,
    /// Names of observations that end a session.
    pub end_spans: Vec<String>,
    /// Metadata that ends a session, `key=value`.
    pub end_metadata: Vec<String>,
    /// From sending to the last byte of an answer.
    pub timeout: Duration,
    /// Bytes of input and output kept of one session.
    pub session_bytes: usize,
}

impl LangfuseConfig {
    /// With the defaults: the newer API where the server has it, all environments, a look back of a day, an overlap of half an
    /// hour, slices of an hour, late spans looked for over a day once an hour, no budget, no end signals, sessions to 8 MB.
    pub fn new(name: impl Into<String>, base_url: impl Into<String>, public_key: Secret, secret_key: Secret) -> Self {
        Self {
            name: name.into(),
            base_url: base_url.into(),
            public_key,
            secret_key,
            api: Api::Auto,
            environments: Vec::new(),
            windows: Windows {
                since: Duration::from_hours(24),
                overlap: Duration::from_mins(30),
                slice: Duration::from_hours(1),
                rescan: Duration::from_hours(24),
                rescan_every: Duration::from_hours(1),
            },
            requests_per_minute: None,
            end_tags: Vec::new(),
            end_spans: Vec::new(),
            end_metadata: Vec::new(),
            timeout: Duration::from_mins(1),
            session_bytes: 8 << 20,
        }
    }
}

/// What is wrong with the configuration of a Langfuse source.
#[derive(Debug, thiserror::Error)]
pub enum LangfuseError {
    /// A condition on metadata that is none.
    #[error("source `{name}`: end_metadata {source}")]
    EndMetadata {
        /// The source's name.
        name: String,
        /// Why.
        source: NoCondition,
    },
    /// TLS could not be set up.
    #[error("source `{name}`: no HTTPS on this machine: {source}")]
    Client {
        /// The source's name.
        name: String,
        /// Why.
        source: reqwest::Error,
    },
}

/// What of the server's observations is ours to read.
#[derive(Debug)]
struct Selection {
    environments: Vec<String>,
    end_signals: EndSignals,
    /// As configured, for people.
    end_spans: Vec<String>,
}

impl Selection {
    fn takes(&self, environment: Option<&str>) -> bool {
        back_end::is_watched(environment, &self.environments)
    }
}

/// A Langfuse project as a source of sessions.
#[derive(Debug)]
pub struct Langfuse {
    server: Server,
    selection: Selection,
    api: Api,
    windows: Windows,
    session_bytes: usize,
    /// What the server speaks, once it was asked.
    generation: tokio::sync::Mutex<Option<Generation>>,
    reads: Semaphore,
    /// The shortest slice that the server could not list, and how often it was tried.
    stuck: Mutex<Option<(DateTime<Utc>, u32)>>,
}

impl Langfuse {
    /// Checks the configuration. Nothing is sent.
    ///
    /// # Errors
    /// When a condition on metadata is none, or TLS cannot be set up.
    pub fn new(config: LangfuseConfig) -> Result<Self, LangfuseError> {
        let end_signals =
            EndSignals::new(&config.end_tags, &config.end_spans, &config.end_metadata).map_err(|source| {
                LangfuseError::EndMetadata {
                    name: config.name.clone(),
                    source,
                }
            })?;
        let client = client::build(&ClientSettings::default()).map_err(|source| LangfuseError::Client {
            name: config.name.clone(),
            source,
        })?;
        // Within a small budget, sessions are read one after another: each would wait for all the others' turns.
        let reads = if config.requests_per_minute.is_some() {
            1
        } else {
            READS_AT_ONCE
        };
        Ok(Self {
            server: Server::new(
                &config.name,
                &config.base_url,
                (config.public_key, config.secret_key),
                config.timeout,
                Pace::new(config.requests_per_minute),
                client,
            ),
            selection: Selection {
                environments: config.environments,
                end_signals,
                end_spans: config.end_spans,
            },
            api: config.api,
            windows: config.windows,
            session_bytes: config.session_bytes,
            generation: tokio::sync::Mutex::new(None),
            reads: Semaphore::new(reads),
            stuck: Mutex::new(None),
        })
    }

    fn back_end(&self, generation: Generation) -> Box<dyn BackEnd + '_> {
        let (server, selection) = (&self.server, &self.selection);
        match generation {
            Generation::Observations => Box::new(ObservationsApi { server, selection }),
            Generation::Traces => Box::new(TracesApi { server, selection }),
        }
    }

    async fn scan_as(
        &self,
        generation: Generation,
        watermark: Option<&Value>,
        now: DateTime<Utc>,
    ) -> Result<Slice, Refusal> {
        let mut plan = Plan::resume(watermark, generation, now, &self.windows);
        let back_end = self.back_end(generation);
        loop {
            let ask = plan.ask(now, &self.windows);
            let page = match back_end.page(&ask).await {
                Ok(page) => page,
                Err(refusal) if refusal.kind == RefusalKind::TooLarge => {
                    if plan.halve() {
                        continue;
                    }
                    return self.leave_too_large(plan, &ask, refusal);
                }
                Err(refusal) if refusal.kind == RefusalKind::BadCursor && plan.is_inside_slice() => {
                    tracing::info!(
                        source = self.server.source,
                        "the server does not take its cursor back: the slice is read again"
                    );
                    plan.begin_slice_again();
                    continue;
                }
                Err(refusal) => return Err(refusal),
            };
            let mut slice = Slice {
                observations: page.observations,
                ..Slice::default()
            };
            if page.unreadable > 0 {
                slice.faults.push(SourceFault {
                    position: position(&ask),
                    reason: format!(
                        "{} entries without an id, a trace or a start, or with an id longer than {} bytes",
                        page.unreadable,
                        id::LONGEST
                    ),
                });
            }
            slice.more = match plan.read(page.next, page.held, &self.windows) {
                Step::More => true,
                Step::Done => false,
                Step::Endless { more } => {
                    slice.faults.push(SourceFault {
                        position: position(&ask),
                        reason: "the server gives the same page again and again: the rest of this time was left; it is read \
                                 again with the next look for late spans"
                            .to_owned(),
                    });
                    more
                }
            };
            slice.watermark = self.stored(&plan)?;
            return Ok(slice);
        }
    }

    /// The shortest slice is still too much: tried again for a while, as the server may only be busy, then left with a note,
    /// so that one bad moment does not hold up everything after it.
    fn leave_too_large(&self, mut plan: Plan, ask: &Ask, mut refusal: Refusal) -> Result<Slice, Refusal> {
        let tries = {
            let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
            let tries = match *stuck {
                Some((from, tries)) if from == ask.from => tries + 1,
                _ => 1,
            };
            *stuck = Some((ask.from, tries));
            tries
        };
        if tries < TRIES_OF_SHORTEST {
            let advice = format!(
                "; even {} s at a time are too much: name the environments to read, or give the server's database more room",
                (ask.to - ask.from).num_seconds()
            );
            refusal.error.detail.push_str(&advice);
            return Err(refusal);
        }
        let more = plan.leave_slice(&self.windows);
        Ok(Slice {
            faults: vec![SourceFault {
                position: position(ask),
                reason: "the server cannot list what began then (status 422): it was left, and is tried again with each look \
                         for late spans"
                    .to_owned(),
            }],
            watermark: self.stored(&plan)?,
            more,
            ..Slice::default()
        })
    }

    fn stored(&self, plan: &Plan) -> Result<Value, Refusal> {
        serde_json::to_value(plan).map_err(|_| {
            Refusal::failed(
                self.server
                    .error(UpstreamReason::BadAnswer, "the watermark cannot be written"),
            )
        })
    }

    async fn read_as(
        &self,
        generation: Generation,
        session: &SessionRef,
    ) -> Result<Option<(Snapshot, String)>, Refusal> {
        self.back_end(generation).content(session, self.session_bytes).await
    }
}

/// A window, for people.
fn position(ask: &Ask) -> String {
    format!("{} to {}", wire::written(ask.from), wire::written(ask.to))
}

#[async_trait]
impl TraceSource for Langfuse {
    fn name(&self) -> &str {
        &self.server.source
    }

    async fn scan(&self, watermark: Option<&Value>, now: DateTime<Utc>) -> Result<Slice, UpstreamError> {
        let generation = self.generation().await.map_err(|refusal| refusal.error)?;
        match self.scan_as(generation, watermark, now).await {
            Err(refusal) if refusal.kind == RefusalKind::OtherApi => {
                let other = self.changed(generation, refusal).await?;
                self.scan_as(other, watermark, now)
                    .await
                    .map_err(|refusal| refusal.error)
            }
            scanned => scanned.map_err(|refusal| refusal.error),
        }
    }

    async fn read(&self, session: &SessionRef) -> Result<Option<(Snapshot, String)>, UpstreamError> {
        let Ok(Ok(_place)) = tokio::time::timeout(LONGEST_QUEUE, self.reads.acquire()).await else {
            let mut error = self.server.error(
                UpstreamReason::RateLimited,
                "other sessions of this source are being read, within requests_per_minute",
            );
            error.retry_after = Some(Duration::from_secs(30));
            return Err(error);
        };
        let generation = self.generation().await.map_err(|refusal| refusal.error)?;
        match self.read_as(generation, session).await {
            Err(refusal) if refusal.kind == RefusalKind::OtherApi => {
                let other = self.changed(generation, refusal).await?;
                self.read_as(other, session).await.map_err(|refusal| refusal.error)
            }
            content => content.map_err(|refusal| refusal.error),
        }
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        self.look_at_server().await
    }
}

impl Langfuse {
    /// What the server speaks now, after it refused what it spoke before.
    async fn changed(&self, from: Generation, refusal: Refusal) -> Result<Generation, UpstreamError> {
        self.forget(from).await;
        let now = self.generation().await.map_err(|refusal| refusal.error)?;
        if now == from {
            return Err(self.no_generation(refusal).error);
        }
        Ok(now)
    }
}
