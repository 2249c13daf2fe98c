//! `[[records]]`: systems of record.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    cloud9::Cloud9Config,
    duration,
    http_records::HttpConfig,
    names,
    secret::{Lookup, Secret},
    section::Section,
    sql::SqlConfig,
    url,
};

/// One `[[records]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordsConfig {
    /// The name that playbooks call it by; also the name of its lane.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: RecordsKind,
    /// Least time between the starts of two of its calls, in the whole fleet. Default 200ms.
    #[serde(serialize_with = "duration::serialize")]
    pub pace: Duration,
    /// How long an answer may take; in a database also the server's own bound of a statement. Default 10s; 30s for Cloud9.
    #[serde(serialize_with = "duration::serialize")]
    pub timeout: Duration,
}

/// Kinds of systems of record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RecordsKind {
    /// JSON over HTTP; the playbook says what to ask.
    Http {
        /// The address that the playbook's paths are below. Nothing in a session can leave it.
        base_url: String,
        /// Sent with every request.
        headers: BTreeMap<String, Secret>,
        /// Preset, credentials, values, bounds.
        #[serde(flatten)]
        more: Box<HttpConfig>,
    },
    /// Cloud9 Ortho: XML procedures that only read.
    Cloud9(Box<Cloud9Config>),
    /// A database; the playbook says what to select.
    Sql(SqlConfig),
}

/// What `kind` may be.
#[derive(Clone, Copy)]
enum KindName {
    Http,
    Cloud9,
    Sql,
}

impl RecordsKind {
    /// As it is written in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Cloud9(_) => "cloud9",
            Self::Sql(_) => "sql",
        }
    }
}

impl RecordsConfig {
    /// An HTTP system with the defaults for everything else.
    pub fn http(name: impl Into<String>, base_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: RecordsKind::Http {
                base_url: base_url.into(),
                headers: BTreeMap::new(),
                more: Box::default(),
            },
            pace: Duration::from_millis(200),
            timeout: Duration::from_secs(10),
        }
    }

    /// A Cloud9 Ortho with the defaults for everything else.
    pub fn cloud9(name: impl Into<String>, cloud9: Cloud9Config) -> Self {
        Self {
            kind: RecordsKind::Cloud9(Box::new(cloud9)),
            timeout: Duration::from_secs(30),
            ..Self::http(name, "")
        }
    }

    /// A database with the defaults for everything else.
    pub fn sql(name: impl Into<String>, sql: SqlConfig) -> Self {
        Self {
            kind: RecordsKind::Sql(sql),
            ..Self::http(name, "")
        }
    }

    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let name = names::read(&mut section, "records");
        let known = [
            ("http", KindName::Http),
            ("cloud9", KindName::Cloud9),
            ("sql", KindName::Sql),
        ];
        let named = section.choice("kind", KindName::Http, &known);
        let kind = match named {
            KindName::Http => http_kind(&mut section),
            KindName::Cloud9 => Cloud9Config::read(&mut section).map(|cloud9| RecordsKind::Cloud9(Box::new(cloud9))),
            KindName::Sql => SqlConfig::read(&mut section).map(RecordsKind::Sql),
        };
        let default = Self::http("", "");
        let timeout = match named {
            KindName::Cloud9 => Duration::from_secs(30),
            KindName::Http | KindName::Sql => default.timeout,
        };
        let pace = section.duration("pace", default.pace, Duration::ZERO);
        let timeout = section.duration("timeout", timeout, Duration::from_millis(100));
        section.finish();
        Some(Self {
            name: name?,
            kind: kind?,
            pace,
            timeout,
        })
    }
}

fn http_kind(section: &mut Section<'_>) -> Option<RecordsKind> {
    let base_url = url::read(section, "base_url");
    let headers = section.table("headers");
    let headers = headers
        .map(|section| read_headers(&section, &section.secrets()))
        .unwrap_or_default();
    let more = HttpConfig::read(section, base_url.as_deref());
    if more.auth.is_some() && headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")) {
        section.fault_at(
            "headers",
            "holds Authorization, which [records.auth] says already: leave one of them out",
        );
    }
    Some(RecordsKind::Http {
        base_url: base_url?,
        headers,
        more: Box::new(more),
    })
}

/// Header values: references to secrets; literals only where the name says that it is none.
pub(super) fn read_headers(section: &Section<'_>, secrets: &Lookup<'_>) -> BTreeMap<String, Secret> {
    let mut headers = BTreeMap::new();
    for name in section.free_keys() {
        let Some((text, place)) = section.free_text(&name) else {
            continue;
        };
        if name.is_empty()
            || !name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
        {
            section.fault(place, &name, "is not the name of an HTTP header");
            continue;
        }
        match secrets.resolve(&text) {
            Ok(secret) => {
                headers.insert(name, secret);
            }
            Err(_) if is_public(&name) && !text.contains(['\n', '\r']) => {
                headers.insert(name, Secret::new("the configuration", text));
            }
            Err(reason) => section.fault(place, &name, reason),
        }
    }
    headers
}

/// Headers that carry no secret.
fn is_public(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
        "accept" | "accept-language" | "user-agent" | "prefer" | "x-api-version" | "api-version" | "nex-api-version"
    )
}
