//! One session's content, read leniently and bounded: what is too large is cut, and the cut is visible.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::domain::{
    nesting::is_too_deep,
    observation::{Cut, Observation, Snapshot},
};

/// Observations kept of one session.
pub(super) const OBSERVATIONS: usize = 20_000;
/// Bytes kept of what is neither input nor output.
const SMALL: usize = 16 << 10;
/// A field other than input and output that is longer is left out unread.
const LARGEST_OTHER: usize = 1 << 20;
/// A field is never cut below this many bytes.
const SHORTEST: usize = 256;

/// An observation whose input and output are still text.
pub(super) struct Gathered {
    observation: Observation,
    /// Input and output.
    io: [Option<Field>; 2],
}

struct Field {
    text: String,
    /// Bytes left out.
    cut: usize,
}

impl Gathered {
    /// What is known of it besides input and output: a source may know more than the observation itself says.
    pub(super) fn observation_mut(&mut self) -> &mut Observation {
        &mut self.observation
    }
}

/// The content gathered so far. Keeps at most about `bound` bytes of input and output: the largest fields are cut first,
/// and keep their head.
pub(super) struct Content {
    gathered: Vec<Gathered>,
    cut: Cut,
    bound: usize,
    /// The length that fields are cut to by now.
    cap: usize,
    /// Bytes of input and output kept.
    total: usize,
}

impl Content {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            gathered: Vec::new(),
            cut: Cut {
                observations: 0,
                bytes: 0,
            },
            bound,
            cap: bound,
            total: 0,
        }
    }

    /// Reads one observation from its JSON object. `None` when it is none after all.
    pub(super) fn read(&mut self, object: &[u8]) -> Option<Gathered> {
        read(object, &mut self.cut)
    }

    /// How many observations are kept so far.
    pub(super) fn kept(&self) -> usize {
        self.gathered.len()
    }

    /// Keeps it.
    pub(super) fn add(&mut self, one: Gathered) {
        let one = self.shortened(one);
        self.gathered.push(one);
        self.fit();
    }

    /// Keeps it in place of the one that was kept at this position: the source has a newer version of it.
    pub(super) fn replace(&mut self, position: usize, one: Gathered) {
        let one = self.shortened(one);
        if let Some(place) = self.gathered.get_mut(position) {
            let old = std::mem::replace(place, one);
            self.total -= old.io.iter().flatten().map(|field| field.text.len()).sum::<usize>();
        }
        self.fit();
    }

    fn shortened(&mut self, mut one: Gathered) -> Gathered {
        for field in one.io.iter_mut().flatten() {
            shorten(field, self.cap);
            self.total += field.text.len();
        }
        one
    }

    /// Cuts as we go, so that memory stays within twice the bound whatever the session's size.
    fn fit(&mut self) {
        if self.total > self.bound.saturating_mul(2) {
            (self.cap, self.total) = fit(&mut self.gathered, self.bound);
        }
    }

    /// Takes back what was kept from this position on: it is not the session's after all.
    pub(super) fn take_back(&mut self, position: usize) {
        for one in self.gathered.drain(position.min(self.gathered.len())..) {
            self.total -= one.io.iter().flatten().map(|field| field.text.len()).sum::<usize>();
        }
    }

    /// Counts an observation that is not kept.
    pub(super) fn leave_out(&mut self, bytes: u64) {
        self.cut.observations += 1;
        self.cut.bytes += bytes;
    }

    /// Counts bytes of input or output that the source did not give.
    pub(super) fn cut_bytes(&mut self, bytes: u64) {
        self.cut.bytes += bytes;
    }

    /// All of it, in order.
    pub(super) fn finish(mut self) -> Snapshot {
        fit(&mut self.gathered, self.bound);
        let mut cut = self.cut;
        let mut observations = Vec::with_capacity(self.gathered.len());
        for one in self.gathered {
            let mut observation = one.observation;
            let [input, output] = one.io.map(|field| match field {
                None => Value::Null,
                Some(Field { text, cut: 0 }) => decoded(text),
                Some(Field { text, cut: left_out }) => {
                    cut.bytes += left_out as u64;
                    Value::String(format!("{text}… [{left_out} bytes cut]"))
                }
            });
            observation.input = input;
            observation.output = output;
            observations.push(observation);
        }
        observations.sort_by(|a, b| (a.start_time, &a.id).cmp(&(b.start_time, &b.id)));
        let nothing = cut.observations == 0 && cut.bytes == 0;
        Snapshot {
            observations,
            cut: (!nothing).then_some(cut),
        }
    }
}

/// Finds the length that all fields have to be cut to, and cuts them. Gives that length and the new total.
fn fit(gathered: &mut [Gathered], bound: usize) -> (usize, usize) {
    let mut lengths: Vec<usize> = gathered
        .iter()
        .flat_map(|one| &one.io)
        .flatten()
        .map(|field| field.text.len())
        .collect();
    lengths.sort_unstable();
    let mut left = bound;
    let mut cap = bound;
    for (position, length) in lengths.iter().enumerate() {
        let share = left / (lengths.len() - position);
        if *length > share {
            cap = share;
            break;
        }
        left -= length;
    }
    let mut total = 0;
    for field in gathered.iter_mut().flat_map(|one| &mut one.io).flatten() {
        shorten(field, cap);
        total += field.text.len();
    }
    (cap, total)
}

fn shorten(field: &mut Field, cap: usize) {
    let mut end = cap.max(SHORTEST);
    if field.text.len() <= end {
        return;
    }
    while !field.text.is_char_boundary(end) {
        end -= 1;
    }
    field.cut += field.text.len() - end;
    field.text.truncate(end);
    field.text.shrink_to_fit();
}

/// `None` when the line is no observation after all.
fn read(bytes: &[u8], cut: &mut Cut) -> Option<Gathered> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut raw = raw_fields(std::str::from_utf8(bytes).ok()?)?;
    let mut io = ["input", "output"].map(|key| {
        let text = match raw.remove(key)? {
            "null" => return None,
            quoted if quoted.starts_with('"') => serde_json::from_str(quoted).ok()?,
            other => other.to_owned(),
        };
        Some(Field { text, cut: 0 })
    });
    let mut fields: Map<String, Value> = Map::new();
    for (key, text) in raw {
        if text.len() <= LARGEST_OTHER {
            fields.insert(key, serde_json::from_str(text).unwrap_or_default());
        } else {
            cut.bytes += text.len() as u64;
        }
    }
    let metadata = match fields.remove("metadata").unwrap_or_default() {
        Value::String(text) => decoded(text),
        other => other,
    };
    let mut small = |value: Option<String>| {
        value.map(|text| {
            let mut field = Field { text, cut: 0 };
            shorten(&mut field, SMALL);
            cut.bytes += field.cut as u64;
            field.text
        })
    };
    let metadata = match metadata {
        Value::Null => Value::Null,
        other => {
            let text = other.to_string();
            if text.len() <= SMALL && !is_too_deep(&other) {
                other
            } else {
                Value::String(small(Some(text))?)
            }
        }
    };
    let time = |fields: &Map<String, Value>, key: &str| fields.get(key)?.as_str().and_then(instant);
    let mut tags = Vec::new();
    for tag in fields
        .get("tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .take(100)
    {
        tags.extend(small(tag.as_str().map(str::to_owned)));
    }
    let observation = Observation {
        id: text(&mut fields, "id")?,
        trace_id: text(&mut fields, "traceId")?,
        session_id: text(&mut fields, "sessionId"),
        parent_observation_id: text(&mut fields, "parentObservationId"),
        is_root_observation: fields
            .get("isRootObservation")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        kind: small(text(&mut fields, "type")).unwrap_or_default(),
        name: small(text(&mut fields, "name")).unwrap_or_default(),
        start_time: time(&fields, "startTime")?,
        end_time: time(&fields, "endTime"),
        updated_at: time(&fields, "updatedAt"),
        level: small(text(&mut fields, "level")).unwrap_or_default(),
        status_message: small(text(&mut fields, "statusMessage")),
        environment: small(text(&mut fields, "environment")),
        user_id: small(text(&mut fields, "userId")),
        trace_name: small(text(&mut fields, "traceName")),
        tags,
        input: Value::Null,
        output: Value::Null,
        metadata,
    };
    // Blank fields count as none, so that no empty turn comes of them.
    for field in &mut io {
        field.take_if(|field| field.text.trim().is_empty());
    }
    Some(Gathered { observation, io })
}

/// The fields of an object as the JSON text of each: decoding all of a large line would take many times its size.
fn raw_fields(object: &str) -> Option<HashMap<String, &str>> {
    let mut fields = HashMap::new();
    let mut rest = object.trim_start().strip_prefix('{')?.trim_start();
    while !rest.starts_with('}') {
        let mut keys = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let key = keys.next()?.ok()?;
        rest = rest[keys.byte_offset()..].trim_start().strip_prefix(':')?.trim_start();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let (value, after) = rest.split_at(values.byte_offset());
        fields.insert(key, value.trim());
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(fields)
}

fn text(fields: &mut Map<String, Value>, key: &str) -> Option<String> {
    match fields.remove(key)? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// JSON where it is an object, a list or a quoted text; a caller who says `42` or `true` said a text.
fn decoded(text: String) -> Value {
    if !text.trim_start().starts_with(['{', '[', '"']) {
        return Value::String(text);
    }
    match serde_json::from_str(&text) {
        Ok(value) if !is_too_deep(&value) => value,
        _ => Value::String(text),
    }
}

/// An instant as servers write it; one without a zone is taken as UTC.
pub(super) fn instant(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    let naive = text.parse::<NaiveDateTime>().ok()?;
    Some(naive.and_utc())
}
