//! A Langfuse server: keeps what it is given and answers as one of four releases, with their keys, their errors and their
//! habits, as recorded from real servers.
//!
//! The release can be changed while it runs, which is what an upgrade looks like to a client. Data becomes visible when the
//! server's clock reaches its instant, so late, reordered and repeated spans can be scripted; so can outages.
//!
//! What it leaves out: ingestion over HTTP (data comes in through [`FakeLangfuse::ingest`]), metrics, comments, datasets,
//! and everything else that aftercall does not call.

mod answer;
mod auth;
mod clock;
mod data;
mod faults;
mod filter;
mod log;
mod observations;
mod old_observations;
mod problem;
mod query;
mod rate;
mod route;
mod scores;
mod scores_read;
mod state;
mod time;
mod traces;
mod version;

#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::{
    clock::Clock,
    data::{More, Recorded, SentTrace},
    faults::{Fault, When},
    log::Logged,
    rate::RateLimit,
    route::Endpoint,
    scores::Score,
    version::Version,
};
use self::{data::Arrival, state::State};
use super::Server;

/// The public key that the server knows. Like the real ones it lets any other in, too: the secret key decides.
pub const PUBLIC_KEY: &str = "pk-lf-sandbox";
/// The secret key that the server knows.
pub const SECRET_KEY: &str = "sk-lf-sandbox";

/// A Langfuse server's data and habits.
#[derive(Debug)]
pub struct FakeLangfuse {
    clock: Clock,
    state: Mutex<State>,
}

impl FakeLangfuse {
    /// An empty server on the machine's clock.
    pub fn new(version: Version) -> Self {
        Self::with_clock(version, Clock::running())
    }

    /// An empty server on a clock of the caller's.
    pub fn with_clock(version: Version, clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::new(State::new(version)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Changes the release, as an upgrade does. What was ingested stays.
    pub fn switch_to(&self, version: Version) {
        self.state().version = version;
    }

    /// Takes observations in. They are visible at once; one whose trace and id are there already takes its place.
    pub fn ingest(&self, observations: impl IntoIterator<Item = impl Into<Recorded>>) {
        self.ingest_at(self.clock.now(), observations);
    }

    /// Takes observations in that a reader sees from an instant of the server's clock on, and not before.
    pub fn ingest_at(&self, visible_after: DateTime<Utc>, observations: impl IntoIterator<Item = impl Into<Recorded>>) {
        let arrivals = observations.into_iter().map(|observation| Arrival {
            visible_after,
            what: observation.into(),
            unmerged: false,
        });
        self.state().observations.extend(arrivals);
    }

    /// Takes observations in as rows of their own, though their ids may be there: a server whose database has not merged
    /// them yet shows both.
    pub fn ingest_unmerged(&self, observations: impl IntoIterator<Item = impl Into<Recorded>>) {
        let visible_after = self.clock.now();
        let arrivals = observations.into_iter().map(|observation| Arrival {
            visible_after,
            what: observation.into(),
            unmerged: true,
        });
        self.state().observations.extend(arrivals);
    }

    /// Takes in traces with words of their own, as applications sent them before v4. Only the old reads show them.
    pub fn ingest_traces(&self, traces: impl IntoIterator<Item = SentTrace>) {
        let visible_after = self.clock.now();
        let arrivals = traces.into_iter().map(|what| Arrival {
            visible_after,
            what,
            unmerged: false,
        });
        self.state().traces.extend(arrivals);
    }

    /// Scripts trouble, for one thing that can be asked or for all.
    pub fn fault(&self, fault: Fault, when: When, endpoint: Option<Endpoint>) {
        self.state().faults.script(fault, when, endpoint);
    }

    /// Ends all scripted trouble.
    pub fn heal(&self) {
        self.state().faults.heal();
    }

    /// Limits requests from now on, or no longer.
    pub fn limit_rate(&self, limit: Option<RateLimit>) {
        self.state().rates.limit = limit;
    }

    /// Refuses `GET /v2/observations` with 422 where more observations match, or no longer.
    pub fn refuse_above(&self, rows: Option<usize>) {
        self.state().most_rows = rows;
    }

    /// Scores can be read only this long after they were written.
    pub fn delay_scores(&self, delay: Duration) {
        self.state().score_delay = delay;
    }

    /// Accepts scores of this name and forgets them, as one that does not fit its configuration.
    pub fn drop_scores(&self, name: &str) {
        self.state().dropped_scores.insert(name.to_owned());
    }

    /// Every score that was kept, visible or not, in order of their first writing.
    pub fn scores(&self) -> Vec<Score> {
        self.state().scores.clone()
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<Logged> {
        self.state().log.clone()
    }

    /// How often something was asked so far, refusals included.
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.state()
            .log
            .iter()
            .filter(|logged| logged.endpoint == endpoint)
            .count()
    }
}

/// Serves it on a free port of 127.0.0.1; its base address is [`Server::url`].
///
/// # Errors
/// When no port can be had.
pub async fn start(langfuse: Arc<FakeLangfuse>) -> io::Result<Server> {
    let stopping = CancellationToken::new();
    Server::start(router(langfuse, stopping.clone()), stopping).await
}

/// What it answers. `stopping` is what answers that hang wait for.
pub(super) fn router(langfuse: Arc<FakeLangfuse>, stopping: CancellationToken) -> axum::Router {
    answer::router(langfuse, stopping)
}

/// Serves it on a listener of the caller's until `stopping` is cancelled.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(langfuse: Arc<FakeLangfuse>, listener: TcpListener, stopping: CancellationToken) -> io::Result<()> {
    let router = router(langfuse, stopping.clone());
    axum::serve(listener, router)
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await
}
