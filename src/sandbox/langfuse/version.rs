//! The releases that the server can be, and what each of them has.

/// Which Langfuse the server behaves as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 2.95: the old reads only.
    V2,
    /// 3.225 as it is installed: the old reads, and every read of scores.
    V3,
    /// 4.16 as it is installed (`events_only`): the old reads are gone.
    V4,
    /// 4.16 in its `dual` mode: old and new reads side by side.
    V4Dual,
}

impl Version {
    /// Every release, oldest first.
    pub const ALL: [Self; 4] = [Self::V2, Self::V3, Self::V4Dual, Self::V4];

    /// The spelling on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
            Self::V4Dual => "v4-dual",
        }
    }

    /// Reads the spelling of the command line.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// What `GET /health` says.
    pub fn release(self) -> &'static str {
        match self {
            Self::V2 => "2.95.12",
            Self::V3 => "3.225.0",
            Self::V4 | Self::V4Dual => "4.16.0",
        }
    }

    /// `GET /traces`, `/sessions` and `/observations`.
    pub(super) fn has_old_reads(self) -> bool {
        self != Self::V4
    }

    /// `GET /v2/observations` answers.
    pub(super) fn has_new_reads(self) -> bool {
        matches!(self, Self::V4 | Self::V4Dual)
    }

    /// Its database is PostgreSQL and its validation that of an older library: other keys, other error texts.
    pub(super) fn is_v2(self) -> bool {
        self == Self::V2
    }
}
