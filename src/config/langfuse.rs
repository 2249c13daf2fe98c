//! `kind = "langfuse"` of a `[[source]]`: a Langfuse project, of either generation of its API.

use std::time::Duration;

use serde::Serialize;

use super::{duration, secret::Secret, section::Section, url};

/// Late data comes up to this much later: what an overlap must cover beside the time that a session takes to settle.
const LATEST_INGESTION: Duration = Duration::from_mins(15);

/// What of a Langfuse project is read, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LangfuseSource {
    /// The server's address: `https://cloud.langfuse.com`.
    pub base_url: String,
    /// The project's public key.
    pub public_key: Secret,
    /// The project's secret key.
    pub secret_key: Secret,
    /// Which generation of the API is read. Default `auto`.
    pub api: LangfuseApi,
    /// Environments to read. Default: all. aftercall's own traces (environment `aftercall`) are always left out.
    pub environments: Vec<String>,
    /// How far back the very first scan looks. Default 24h.
    #[serde(serialize_with = "duration::serialize")]
    pub since: Duration,
    /// A scan reads again what began this long before the instant up to which all was read. At least 15m and
    /// `settle_after`; with the traces API also the longest trace. Default: 25m and `settle_after`.
    #[serde(serialize_with = "duration::serialize")]
    pub overlap: Duration,
    /// Longest window of time that is asked for at once. Default 1h.
    #[serde(serialize_with = "duration::serialize")]
    pub slice: Duration,
    /// What began this long ago is read again, for spans that come late. Default 24h.
    #[serde(serialize_with = "duration::serialize")]
    pub rescan: Duration,
    /// How often that happens. Default 1h.
    #[serde(serialize_with = "duration::serialize")]
    pub rescan_every: Duration,
    /// Most requests in a minute, of each process. Default: as many as the server takes.
    pub requests_per_minute: Option<u32>,
    /// Tags of a trace that say that the session is over. Default: none.
    pub end_tags: Vec<String>,
    /// Names of observations that say so, `*` for any text. Default: none.
    pub end_spans: Vec<String>,
    /// Metadata that says so, `key=value`. Default: none.
    pub end_metadata: Vec<String>,
    /// How long an answer may take. Default 60s.
    #[serde(serialize_with = "duration::serialize")]
    pub timeout: Duration,
}

/// Which generation of the API is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LangfuseApi {
    /// The newer one where the server has it; the server is asked.
    Auto,
    /// `GET /v2/observations`.
    Observations,
    /// `GET /traces`, which Langfuse v4 removes.
    Traces,
}

impl LangfuseSource {
    /// A project with the defaults for everything else.
    pub fn new(base_url: impl Into<String>, public_key: Secret, secret_key: Secret, settle_after: Duration) -> Self {
        Self {
            base_url: base_url.into(),
            public_key,
            secret_key,
            api: LangfuseApi::Auto,
            environments: Vec::new(),
            since: Duration::from_hours(24),
            overlap: LATEST_INGESTION + Duration::from_mins(10) + settle_after,
            slice: Duration::from_hours(1),
            rescan: Duration::from_hours(24),
            rescan_every: Duration::from_hours(1),
            requests_per_minute: None,
            end_tags: Vec::new(),
            end_spans: Vec::new(),
            end_metadata: Vec::new(),
            timeout: Duration::from_mins(1),
        }
    }

    pub(super) fn read(section: &mut Section<'_>, settle_after: Duration) -> Option<Self> {
        let base_url = url::read(section, "base_url");
        let public_key = required_secret(section, "public_key");
        let secret_key = required_secret(section, "secret_key");
        let none = || Secret::new("nowhere", "");
        let default = Self::new("", none(), none(), settle_after);
        let minute = Duration::from_mins(1);
        let read = Self {
            base_url: base_url.clone().unwrap_or_default(),
            public_key: public_key.clone().unwrap_or_else(none),
            secret_key: secret_key.clone().unwrap_or_else(none),
            api: section.choice(
                "api",
                default.api,
                &[
                    ("auto", LangfuseApi::Auto),
                    ("observations", LangfuseApi::Observations),
                    ("traces", LangfuseApi::Traces),
                ],
            ),
            environments: section.texts("environments"),
            since: section.duration("since", default.since, minute),
            overlap: section.duration("overlap", default.overlap, LATEST_INGESTION + settle_after),
            slice: section.duration("slice", default.slice, minute),
            rescan: section.duration("rescan", default.rescan, minute),
            rescan_every: section.duration("rescan_every", default.rescan_every, minute),
            requests_per_minute: match section.whole("requests_per_minute", 0, 0, 100_000) {
                0 => None,
                most => Some(most),
            },
            end_tags: section.texts("end_tags"),
            end_spans: section.texts("end_spans"),
            end_metadata: section.texts("end_metadata"),
            timeout: section.duration("timeout", default.timeout, Duration::from_secs(1)),
        };
        let no_condition = |text: &String| text.split_once('=').is_none_or(|(key, _)| key.trim().is_empty());
        if read.end_metadata.iter().any(no_condition) {
            section.fault_at(
                "end_metadata",
                "should be a list of keys and values: [\"status=ended\"]",
            );
        }
        if read.rescan < read.overlap {
            section.fault_at("rescan", "should not be shorter than `overlap`");
        }
        (base_url.is_some() && public_key.is_some() && secret_key.is_some()).then_some(read)
    }
}

fn required_secret(section: &mut Section<'_>, key: &'static str) -> Option<Secret> {
    if section.is_set(key) {
        return section.secret(key);
    }
    section.fault_at(
        key,
        "is missing: a reference to the project's key, such as \"env:LANGFUSE_SECRET_KEY\"",
    );
    None
}
