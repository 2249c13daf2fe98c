//! What says from outside that a session is over: the requests of a team's own program, and of the vendors that carry calls.
//!
//! [`proof()`] says what a request proves of its sender, [`read`] what it says. Neither knows which sessions there are.

mod event;
mod form;
mod pointer;
mod proof;

use chrono::{DateTime, TimeDelta, Utc};

pub use self::{
    event::{End, Event, Unreadable, read},
    pointer::{NoPointer, Pointer},
    proof::{Proof, Refusal, proof},
};

/// How far the time that was signed may be from ours.
pub const WINDOW: TimeDelta = TimeDelta::minutes(5);

/// Bytes of a session's id, at most: it is a key in indexes.
pub const LONGEST_ID: usize = 512;

/// How a waiting reason begins of a session that a webhook told of and no scan has seen.
pub const NOT_IN_TRACES: &str = "not in traces";

/// Why it waits, until the deadline of its traces.
pub fn not_in_traces_yet() -> String {
    format!("{NOT_IN_TRACES}: a webhook told that it ended, and no trace of it has arrived yet")
}

/// Who sends, and in which shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A team's own program, signing as this program documents.
    Generic,
    /// Vapi's `end-of-call-report`.
    Vapi,
    /// Retell's `call_ended` and `call_analyzed`.
    Retell,
    /// Twilio's status callback.
    Twilio,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Generic, Self::Vapi, Self::Retell, Self::Twilio];

    /// As it stands in configurations, paths and figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Vapi => "vapi",
            Self::Retell => "retell",
            Self::Twilio => "twilio",
        }
    }

    /// Reads that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.as_str() == word)
    }
}

/// A request as it came, as far as it matters here.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// A header by its name in lower case; `None` where it is not there, there twice, or no text.
    pub header: &'r (dyn Fn(&str) -> Option<&'r str> + Sync),
    /// The source that its path names.
    pub source: &'r str,
    /// The session that its path names; empty where the body does.
    pub session_id: &'r str,
    /// Where the vendor believes to have sent it: of the configuration.
    pub url: &'r str,
    /// Its query.
    pub query: Option<&'r str>,
    /// Its body.
    pub body: &'r [u8],
}

/// Whether what was signed then is of now.
pub fn is_fresh(signed_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (now - signed_at).abs() <= WINDOW
}

#[cfg(test)]
mod tests;
