//! Finds one value of a JSON text without keeping the others: a report may hold megabytes of transcript.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize as _, Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A JSON pointer (RFC 6901): `/message/call/metadata/session_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    parts: Vec<String>,
}

/// What is no JSON pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("should be a JSON pointer, such as \"/message/call/metadata/session_id\"")]
pub struct NoPointer;

impl FromStr for Pointer {
    type Err = NoPointer;

    fn from_str(text: &str) -> Result<Self, NoPointer> {
        let rest = text
            .strip_prefix('/')
            .filter(|rest| !rest.is_empty())
            .ok_or(NoPointer)?;
        let parts = rest.split('/').map(|part| {
            let is_escaped = part.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
            is_escaped.then(|| part.replace("~1", "/").replace("~0", "~"))
        });
        Ok(Self {
            text: text.to_owned(),
            parts: parts.collect::<Option<_>>().ok_or(NoPointer)?,
        })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Pointer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Pointer {
    /// Its one part, where it leads into no object: the name of a form's parameter.
    pub(super) fn name(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    /// The text or the number there, as text; `None` where there is neither.
    ///
    /// # Errors
    /// When this is no JSON.
    pub(super) fn find(&self, json: &[u8]) -> Result<Option<String>, serde_json::Error> {
        let parts: Vec<&str> = self.parts.iter().map(String::as_str).collect();
        find(json, &parts)
    }
}

/// The same, by names.
pub(super) fn find(json: &[u8], parts: &[&str]) -> Result<Option<String>, serde_json::Error> {
    let mut text = serde_json::Deserializer::from_slice(json);
    let found = Seek(parts).deserialize(&mut text)?;
    text.end()?;
    Ok(found)
}

/// What is behind these names. Of two members of one name the later counts, as elsewhere.
struct Seek<'p>(&'p [&'p str]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<String>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Option<String>, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key::<String>()? {
            match self.0.split_first() {
                Some((first, rest)) if *first == name => found = members.next_value_seed(Seek(rest))?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<String>, A::Error> {
        let wanted = self.0.split_first().map(|(first, rest)| (first.parse::<usize>(), rest));
        let mut found = None;
        for index in 0.. {
            let more = match wanted {
                Some((Ok(at), rest)) if at == index => items.next_element_seed(Seek(rest))?.map(|value| found = value),
                _ => items.next_element::<IgnoredAny>()?.map(drop),
            };
            if more.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<String>, E> {
        Ok(self.0.is_empty().then(|| text.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<String>, E> {
        Ok(self.0.is_empty().then(|| number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<String>, E> {
        Ok(self.0.is_empty().then(|| number.to_string()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Option<String>, D::Error> {
        IgnoredAny::deserialize(from).map(|_| None)
    }
}
