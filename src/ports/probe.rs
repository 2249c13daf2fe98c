//! What a person should know of an upstream before the first job runs.

use chrono::{DateTime, Utc};

/// What a try of an upstream showed. That it cannot answer at all is an [`super::UpstreamError`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probe {
    /// In the order found.
    pub notes: Vec<ProbeNote>,
    /// What its clock says (`Date` of an answer), where it tells.
    pub server_date: Option<DateTime<Utc>>,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeNote {
    /// It works, but somebody should look at it.
    pub warning: bool,
    /// What was found and, with a warning, what to do. Without secrets and without content of a session.
    pub text: String,
}

impl Probe {
    /// Adds something that is as it should be.
    pub fn ok(&mut self, text: impl Into<String>) {
        self.notes.push(ProbeNote {
            warning: false,
            text: text.into(),
        });
    }

    /// Adds something to look at, with what to do.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.notes.push(ProbeNote {
            warning: true,
            text: text.into(),
        });
    }
}
