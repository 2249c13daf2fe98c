//! What an application leaves in its traces to say that a session is over: a closing tag, a span of a certain name, a flag
//! in the metadata. Which ones is configuration; without any, a session is over when it rests.

use serde_json::Value;
use wildmatch::WildMatch;

/// The configured signals. Any one of them ends the session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EndSignals {
    /// Tags of a trace, to the letter: `call-ended`.
    tags: Vec<String>,
    /// Names of observations, `*` for any text: `hangup*`.
    spans: Vec<WildMatch>,
    /// Keys of the metadata and what they hold then: `status` = `ended`.
    metadata: Vec<(String, String)>,
}

/// A metadata condition that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("should be a key and a value, such as \"status=ended\"")]
pub struct NoCondition;

impl EndSignals {
    /// Reads the configured signals. A condition on metadata is written `key=value`; a key may lead into objects with dots
    /// (`call.status`).
    ///
    /// # Errors
    /// When a condition has no `=`, or no key.
    pub fn new(tags: &[String], spans: &[String], metadata: &[String]) -> Result<Self, NoCondition> {
        let mut conditions = Vec::new();
        for condition in metadata {
            let (key, value) = condition.split_once('=').ok_or(NoCondition)?;
            if key.trim().is_empty() {
                return Err(NoCondition);
            }
            conditions.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Self {
            tags: tags.to_vec(),
            spans: spans.iter().map(|pattern| WildMatch::new(pattern)).collect(),
            metadata: conditions,
        })
    }

    /// Whether tags matter: a source may have to ask for them.
    pub fn need_tags(&self) -> bool {
        !self.tags.is_empty()
    }

    /// Whether metadata matters: a source may have to ask for it.
    pub fn need_metadata(&self) -> bool {
        !self.metadata.is_empty()
    }

    /// Whether an observation with this name, these tags and this metadata says that its session is over.
    pub fn given_by(&self, name: &str, tags: &[String], metadata: &Value) -> bool {
        self.tags.iter().any(|tag| tags.contains(tag))
            || self.spans.iter().any(|pattern| pattern.matches(name))
            || self
                .metadata
                .iter()
                .any(|(key, value)| member(metadata, key).is_some_and(|found| says(found, value)))
    }
}

/// The member of this very name, else the one that the dots lead to.
fn member<'a>(metadata: &'a Value, key: &str) -> Option<&'a Value> {
    metadata
        .get(key)
        .or_else(|| key.split('.').try_fold(metadata, |inside, part| inside.get(part)))
}

/// Equal as text: servers keep flags as `true` or as `"true"`.
fn says(found: &Value, wanted: &str) -> bool {
    match found {
        Value::String(text) => text == wanted,
        Value::Bool(flag) => wanted == if *flag { "true" } else { "false" },
        Value::Number(number) => wanted.parse().is_ok_and(|wanted: serde_json::Number| wanted == *number),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn signals(tags: &[&str], spans: &[&str], metadata: &[&str]) -> EndSignals {
        let owned = |texts: &[&str]| -> Vec<String> { texts.iter().map(|&text| text.to_owned()).collect() };
        EndSignals::new(&owned(tags), &owned(spans), &owned(metadata)).unwrap()
    }

    #[test]
    fn without_signals_nothing_ends_a_session() {
        let none = signals(&[], &[], &[]);
        assert!(!none.given_by("hangup", &["call-ended".to_owned()], &json!({"status": "ended"})));
        assert!(!none.need_tags() && !none.need_metadata());
    }

    #[test]
    fn a_tag_must_be_the_very_one() {
        let ended = signals(&["call-ended"], &[], &[]);
        assert!(ended.given_by("", &["voice".to_owned(), "call-ended".to_owned()], &Value::Null));
        assert!(!ended.given_by("call-ended", &["call-ended-not".to_owned()], &Value::Null));
    }

    #[test]
    fn a_span_is_matched_with_wildcards() {
        let ended = signals(&[], &["hangup*"], &[]);
        assert!(ended.given_by("hangup-by-caller", &[], &Value::Null));
        assert!(!ended.given_by("no-hangup", &[], &Value::Null));
    }

    #[test]
    fn metadata_is_compared_as_text_and_found_by_name_or_path() {
        let ended = signals(&[], &[], &["status=ended", "call.over = true"]);
        assert!(ended.given_by("", &[], &json!({"status": "ended"})));
        assert!(ended.given_by("", &[], &json!({"call": {"over": true}})));
        assert!(ended.given_by("", &[], &json!({"call.over": "true"})));
        assert!(!ended.given_by("", &[], &json!({"status": {"ended": 1}, "call": "true"})));
        assert!(!ended.given_by("", &[], &json!("status=ended")));
    }

    #[test]
    fn a_condition_without_key_or_sign_is_refused() {
        for bad in ["status", "=ended"] {
            assert_eq!(EndSignals::new(&[], &[], &[bad.to_owned()]), Err(NoCondition), "{bad}");
        }
    }
}
