//! A session: one finished conversation between a caller and an agent, as its source names it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Counts the analyses of one session: reprocessing and reopening open the next. Starts at 1.
pub type Generation = u32;

/// Identity of a session: session ids are free text and unique only within their source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionKey {
    /// Name of the configured source.
    pub source: String,
    /// The application's own id: any text, may hold `/` and unicode.
    pub session_id: String,
}

impl SessionKey {
    /// A key from its two parts.
    pub fn new(source: impl Into<String>, session_id: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            session_id: session_id.into(),
        }
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.session_id)
    }
}

/// Where a session is on its way to a verdict.
///
/// ```text
/// open ──► settled ──► analyzing ──► verifying ──► done ──► reopened
///                          └──────── skipped ───────▲          │
///              ▲                                               │
///              └───────────────────────────────────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Seen, but it may still be going on.
    Open,
    /// Over: its analysis is enqueued.
    Settled,
    /// Its content was read and a paid reading is under way.
    Analyzing,
    /// Read; waiting for the system of record.
    Verifying,
    /// Has its verdict.
    Done,
    /// Had a verdict, then new activity: waiting to settle again.
    Reopened,
}

impl SessionState {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Analyzing => "analyzing",
            Self::Verifying => "verifying",
            Self::Done => "done",
            Self::Reopened => "reopened",
        }
    }

    /// Reads the stored spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "open" => Self::Open,
            "settled" => Self::Settled,
            "analyzing" => Self::Analyzing,
            "verifying" => Self::Verifying,
            "done" => Self::Done,
            "reopened" => Self::Reopened,
            _ => return None,
        })
    }
}
