//! What the API answers, read leniently: servers of different ages write the same thing in different ways. An empty text is
//! none, a field of an unexpected type is none, a field not asked for is absent.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{adapters::content::instant, domain::id};

/// A text; a number counts as one, an empty text and everything else as none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Text(pub(super) Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(from)? {
            Value::String(text) if !text.is_empty() => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }))
    }
}

/// An id, as it can be kept; whether it fits is asked of all ids of an entry at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Id(pub(super) Option<String>);

impl Id {
    fn fits(&self) -> bool {
        self.0.as_deref().is_none_or(id::fits)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(from)?;
        Ok(Self(text.map(id::without_nul)))
    }
}

/// An instant, where it can be read as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Instant(pub(super) Option<DateTime<Utc>>);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(from)?;
        Ok(Self(text.as_deref().and_then(instant)))
    }
}

/// An instant as the API takes it, and as marks are compared: with its zone, always equally long.
pub(super) fn written(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The mark that an endpoint is going away.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Deprecation {
    pub(super) replacement: Text,
    pub(super) sunset_at: Text,
}

/// `{"data": […], "meta": {…}}`; the entries are read one by one, so that one that is broken does not take the others along.
#[derive(Debug, Deserialize)]
pub(super) struct List<'a> {
    #[serde(borrow)]
    pub(super) data: Vec<&'a RawValue>,
    #[serde(default)]
    pub(super) meta: Meta,
    #[serde(default, rename = "_deprecation")]
    pub(super) deprecation: Option<Deprecation>,
}

/// How a list goes on.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    /// Of the observations API.
    pub(super) cursor: Text,
    /// Of the traces API; may be null.
    pub(super) total_pages: Value,
}

/// An observation without its content.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ObservationHead {
    pub(super) id: Id,
    pub(super) trace_id: Id,
    pub(super) session_id: Id,
    pub(super) user_id: Text,
    pub(super) environment: Text,
    pub(super) name: Text,
    pub(super) start_time: Instant,
    pub(super) end_time: Instant,
    pub(super) updated_at: Instant,
    pub(super) tags: Value,
    pub(super) metadata: Value,
}

impl ObservationHead {
    /// `None`: it is none, or its ids are too long to be kept. Neither a scan nor a read sees it then.
    pub(super) fn read(raw: &RawValue) -> Option<Self> {
        let head: Self = serde_json::from_str(raw.get()).ok()?;
        let fits = [&head.id, &head.trace_id, &head.session_id].into_iter().all(Id::fits);
        fits.then_some(head)
    }

    /// The latest instant known of it.
    pub(super) fn last_activity(&self) -> Option<DateTime<Utc>> {
        self.end_time.0.max(self.start_time.0)
    }

    /// Differs whenever the server changed it. A server that does not say when is gone by for its times.
    pub(super) fn mark(&self) -> String {
        let changed = self.updated_at.0.or(self.last_activity());
        changed.map(written).unwrap_or_default()
    }
}

/// A trace. Its observations are ids in a list, and objects in an answer about one trace.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Trace<'a> {
    pub(super) id: Id,
    pub(super) timestamp: Instant,
    pub(super) name: Text,
    pub(super) session_id: Id,
    pub(super) user_id: Text,
    pub(super) environment: Text,
    pub(super) tags: Value,
    pub(super) updated_at: Instant,
    /// Seconds; -1 where it was not asked for.
    pub(super) latency: Value,
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) output: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) observations: Option<Vec<&'a RawValue>>,
    #[serde(rename = "_deprecation")]
    pub(super) deprecation: Option<Deprecation>,
}

impl<'a> Trace<'a> {
    /// `None`: it is none, or its ids are too long to be kept. Neither a scan nor a read sees it then.
    pub(super) fn read(raw: &'a RawValue) -> Option<Self> {
        let trace: Self = serde_json::from_str(raw.get()).ok()?;
        (trace.id.fits() && trace.session_id.fits()).then_some(trace)
    }

    /// Differs whenever the server changed the trace itself. The same in a list and in an answer about it alone.
    pub(super) fn mark(&self) -> String {
        let changed = self.updated_at.0.or(self.timestamp.0);
        changed.map(written).unwrap_or_default()
    }

    /// When it ended, where the list says how long it took.
    pub(super) fn end(&self) -> Option<DateTime<Utc>> {
        let seconds = self.latency.as_f64().filter(|seconds| (0.0..1e9).contains(seconds))?;
        let start = self.timestamp.0?;
        std::time::Duration::try_from_secs_f64(seconds)
            .ok()
            .map(|length| start + length)
    }
}

/// A trace's own words as an observation: what newer servers make of an old trace, with the id that they give it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TraceAsRoot<'a> {
    pub(super) id: String,
    pub(super) trace_id: &'a str,
    pub(super) is_root_observation: bool,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
    pub(super) start_time: String,
    pub(super) end_time: Option<String>,
    pub(super) updated_at: Option<String>,
    pub(super) level: &'static str,
    pub(super) input: Option<&'a RawValue>,
    pub(super) output: Option<&'a RawValue>,
    pub(super) metadata: Option<&'a RawValue>,
}

/// `GET /projects`.
#[derive(Debug, Deserialize)]
pub(super) struct Projects {
    pub(super) data: Vec<Project>,
}

/// The project that the keys belong to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Project {
    pub(super) name: Text,
}

/// `GET /health`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Health {
    pub(super) version: Text,
}

/// Of an id, or of an observation that has one.
pub(super) fn observation_id(raw: &RawValue) -> Option<String> {
    let id = if raw.get().starts_with('{') {
        ObservationHead::read(raw)?.id
    } else {
        serde_json::from_str(raw.get()).ok()?
    };
    id.0.filter(|id| id::fits(id))
}

/// Texts of a list, everything else left out.
pub(super) fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
