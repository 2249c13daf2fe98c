//! Where sessions come from.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::upstream::UpstreamError;
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
    /// Sessions with activity in this slice.
    pub sessions: Vec<SeenSession>,
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

    /// Reads the next slice after the watermark; `None` is the beginning.
    ///
    /// # Errors
    /// When the source cannot answer now.
    async fn scan(&self, watermark: Option<&Value>) -> Result<Slice, UpstreamError>;

    /// Reads the whole content of a session, with the digest that [`TraceSource::scan`] would give it now. `None` when the
    /// source does not know it.
    ///
    /// # Errors
    /// When the source cannot answer now.
    async fn read(&self, session_id: &str) -> Result<Option<(Snapshot, String)>, UpstreamError>;
}
