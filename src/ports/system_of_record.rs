//! A system of record: the one place that knows whether something really happened.

use async_trait::async_trait;

use super::{probe::Probe, upstream::UpstreamError};
use crate::domain::lookup::{Fact, Lookup};

/// The answer to one lookup.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What the system says.
    pub fact: Fact,
    /// The request as sent, without secrets.
    pub request: String,
    /// Status code of the answer, where there was one.
    pub status: Option<u16>,
}

impl Answer {
    /// Nothing was sent: the question cannot be asked.
    pub fn unasked(reason: String) -> Self {
        Self {
            fact: Fact::Unknown { reason },
            request: "not sent".to_owned(),
            status: None,
        }
    }

    /// Nothing was sent: nobody taught us how to ask for such records.
    pub fn without_lookup(record: &str) -> Self {
        Self::unasked(format!("the playbook has no lookup for records of kind `{record}`"))
    }
}

/// A system of record that can be asked, never written to.
#[async_trait]
pub trait SystemOfRecord: Send + Sync {
    /// Name in the configuration: also the name of its lane.
    fn name(&self) -> &str;

    /// Whether "there is none" may also mean that the system is overloaded: then nothing is concluded from it before all
    /// looks are done, not even that something is gone as it should be.
    fn doubts_absence(&self) -> bool {
        false
    }

    /// Asks for one record.
    ///
    /// # Errors
    /// When the system cannot answer now: never a verdict.
    async fn look_up(&self, lookup: &Lookup) -> Result<Answer, UpstreamError>;

    /// Tries it with a question that only reads.
    ///
    /// # Errors
    /// When it cannot answer now.
    async fn probe(&self) -> Result<Probe, UpstreamError>;
}
