//! Where sessions come from.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{probe::Probe, upstream::UpstreamError};
use crate::domain::observation::Snapshot;

/// A session as a scan sees it, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSession {
    /// The application's id.
    pub session_id: String,
    /// `production`, …
    pub environment: Option<String>,
    /// Earliest start.
    pub first_activity: DateTime<Utc>,
    /// Latest end.
    pub last_activity: DateTime<Utc>,
    /// Observations seen so far, over all scans.
    pub observations: u64,
    /// Traces seen so far, over all scans.
    pub traces: u64,
    /// Hash of count, ids and newest change: equal digests mean equal content.
    pub digest: String,
    /// The source says that nothing more will come.
    pub ended: bool,
}

/// An observation as a scan sees it, without its content. A source that can only be read a window at a time gives these; what
/// they add up to is kept beside the sessions, so that no scan has to see a whole session at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenObservation {
    /// Unique within its trace.
    pub id: String,
    /// The trace it belongs to.
    pub trace_id: String,
    /// The session, where this observation names one. Others of its trace may name it, or none.
    pub session_id: Option<String>,
    /// The caller, as the application names them. Personal data.
    pub user_id: Option<String>,
    /// `production`, …
    pub environment: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The latest instant known of it.
    pub last_activity: DateTime<Utc>,
    /// Differs whenever the source changed it: part of the session's digest ([`crate::domain::session::digest_of`]).
    pub mark: String,
    /// It is the configured signal that the session is over.
    pub ends_session: bool,
}

/// Which session to read, and what the scans know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRef {
    /// The application's id; or ours, where traces without one were grouped.
    pub session_id: String,
    /// Its traces as far as scans saw them. A source that gives whole sessions needs none.
    pub trace_ids: Vec<String>,
    /// Earliest start.
    pub first_activity: DateTime<Utc>,
    /// Latest end.
    pub last_activity: DateTime<Utc>,
}

/// Something in the source that cannot be read. Reported, never silently dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFault {
    /// Where, in the source's words (`line 17`).
    pub position: String,
    /// What is wrong with it, without content.
    pub reason: String,
}

/// One step of a scan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Slice {
    /// Sessions with activity in this slice, from a source that sees them whole.
    pub sessions: Vec<SeenSession>,
    /// Observations in this slice, from a source that sees a window at a time. The same one may come again and again.
    pub observations: Vec<SeenObservation>,
    /// What could not be read.
    pub faults: Vec<SourceFault>,
    /// Where the next scan goes on: stored with the slice's sessions in one transaction.
    pub watermark: Value,
    /// There is more right now.
    pub more: bool,
}

/// A place that keeps traces.
#[async_trait]
pub trait TraceSource: Send + Sync {
    /// Name in the configuration.
    fn name(&self) -> &str;

    /// Reads the next slice after the watermark; `None` is the beginning. `now` is the database's clock.
    ///
    /// # Errors
    /// When the source cannot answer now.
    async fn scan(&self, watermark: Option<&Value>, now: DateTime<Utc>) -> Result<Slice, UpstreamError>;

    /// Reads the whole content of a session, with the digest that the scans would give it now. `None` when the source does
    /// not know it.
    ///
    /// # Errors
    /// When the source cannot answer now.
    async fn read(&self, session: &SessionRef) -> Result<Option<(Snapshot, String)>, UpstreamError>;

    /// Tries it without reading a session: reachable, let in, head-room.
    ///
    /// # Errors
    /// When the source cannot answer now.
    async fn probe(&self) -> Result<Probe, UpstreamError>;
}
