//! Lines of bounded length, and what a line says of itself, read leniently.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom},
};

use chrono::{DateTime, Utc};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::super::content::instant;
use crate::domain::id;

/// Reads lines from an offset on, through one buffer.
pub(super) struct Lines<'f> {
    reader: BufReader<&'f mut File>,
    buffer: Vec<u8>,
    max: usize,
}

/// One line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'b> {
    /// Its bytes without the line end; empty when it is too long.
    pub(super) bytes: &'b [u8],
    /// Its length in the file, with the line end.
    pub(super) length: u64,
    /// Longer than the bound.
    pub(super) too_long: Option<usize>,
}

impl<'f> Lines<'f> {
    pub(super) fn from(file: &'f mut File, offset: u64, max: usize) -> io::Result<Self> {
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self {
            reader: BufReader::with_capacity(256 << 10, file),
            buffer: Vec::new(),
            max,
        })
    }

    /// The next line. A last line without its line end is one only when the file is whole.
    pub(super) fn next(&mut self, whole: bool) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let mut length = 0;
        let mut too_long = false;
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                if length == 0 || !whole {
                    return Ok(None);
                }
                break;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(available.len(), |end| end + 1);
            if self.buffer.len() + used > self.max {
                too_long = true;
                self.buffer.clear();
                self.buffer.shrink_to(1 << 20);
            }
            if !too_long {
                self.buffer.extend_from_slice(&available[..used]);
            }
            self.reader.consume(used);
            length += used as u64;
            if end.is_some() {
                break;
            }
        }
        Ok(Some(Line {
            bytes: self.buffer.trim_ascii_end(),
            length,
            too_long: too_long.then_some(self.max),
        }))
    }
}

/// What the index needs of a line. Input and output are passed over without being kept.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) id: Option<String>,
    pub(super) trace_id: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) environment: Option<String>,
    start: Option<String>,
    end: Option<String>,
    updated: Option<String>,
    /// Looks like a whole page of the API.
    page: bool,
}

/// A head whose parts are all there.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) id: String,
    pub(super) trace_id: String,
    pub(super) session_id: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) start: DateTime<Utc>,
    pub(super) last: DateTime<Utc>,
    pub(super) changed: DateTime<Utc>,
}

impl Head {
    /// Reads a line's head; the error says what is wrong without repeating any of it.
    pub(super) fn read(bytes: &[u8]) -> Result<Located, String> {
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        if std::str::from_utf8(bytes).is_err() {
            return Err("not valid UTF-8".to_owned());
        }
        let head: Self = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Eof => "the JSON breaks off before its end".to_owned(),
            serde_json::error::Category::Data => "not a JSON object".to_owned(),
            _ => format!("not valid JSON at column {}", error.column()),
        })?;
        if head.page && head.id.is_none() {
            return Err("a whole answer of the API: write one observation of its `data` per line".to_owned());
        }
        let id = kept(head.id.ok_or("no `id`")?, "id")?;
        let trace_id = kept(head.trace_id.ok_or("no `traceId`")?, "traceId")?;
        let session_id = head.session_id.map(|id| kept(id, "sessionId")).transpose()?;
        let start = head.start.ok_or("no `startTime`")?;
        let start = instant(&start).ok_or("`startTime` is not a time like 2026-08-20T10:00:00Z")?;
        let end = head.end.as_deref().and_then(instant);
        let last = end.map_or(start, |end| end.max(start));
        let updated = head.updated.as_deref().and_then(instant);
        Ok(Located {
            id,
            trace_id,
            session_id,
            environment: head.environment,
            start,
            last,
            changed: updated.map_or(last, |updated| updated.max(last)),
        })
    }
}

/// An id as it can be kept.
fn kept(id: String, field: &str) -> Result<String, String> {
    if id::fits(&id) {
        Ok(id::without_nul(id))
    } else {
        Err(format!("`{field}` is longer than {} bytes", id::LONGEST))
    }
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Head;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an observation")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
                let mut head = Head::default();
                while let Some(Text(key)) = map.next_key()? {
                    let field = match key.as_deref().unwrap_or_default() {
                        "id" => &mut head.id,
                        "traceId" => &mut head.trace_id,
                        "sessionId" => &mut head.session_id,
                        "environment" => &mut head.environment,
                        "startTime" => &mut head.start,
                        "endTime" => &mut head.end,
                        "updatedAt" => &mut head.updated,
                        other => {
                            head.page |= other == "data";
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    let Text(value) = map.next_value()?;
                    *field = value;
                }
                Ok(head)
            }
        }
        from.deserialize_map(Fields)
    }
}

/// A text, a number as text, or nothing: an empty text and any other type count as none.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Some(text.to_owned()).filter(|text| !text.is_empty())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
                Ok(Text(Some(number.to_string())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Text(Some(number.to_string())))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Text, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }
        }
        from.deserialize_any(Any)
    }
}
