//! The bodies that servers answer with, read leniently: errors, contents, token counts, streams.

use serde_json::{Value, json};

/// What a server says of its refusal.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) message: String,
    /// `code` and `type`.
    codes: Vec<String>,
}

impl Said {
    /// `{"error": {"message", "type", "code"}}`, `{"error": "…"}`, `{"detail": "…"}`, `{"message": "…"}`.
    pub(super) fn of(body: &Value) -> Option<Self> {
        let error = &body["error"];
        if let Some(message) = error.as_str() {
            return Some(Self {
                message: message.to_owned(),
                codes: Vec::new(),
            });
        }
        if error.is_object() {
            let codes = ["code", "type"]
                .iter()
                .filter_map(|key| error[*key].as_str())
                .map(str::to_owned);
            return Some(Self {
                message: error["message"].as_str().unwrap_or_default().to_owned(),
                codes: codes.collect(),
            });
        }
        if body.get("choices").is_some() {
            return None;
        }
        let message = body["message"].as_str().or_else(|| body["detail"].as_str())?;
        Some(Self {
            message: message.to_owned(),
            codes: Vec::new(),
        })
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.codes.iter().any(|own| own == code)
    }

    /// Its codes, as far as they are identifiers: what may be shown. The message may repeat the key or words of the
    /// transcript, as servers that check their input do.
    pub(super) fn shown(&self) -> Option<String> {
        let is_identifier = |code: &&String| {
            let plain = |letter: char| letter.is_ascii_lowercase() || matches!(letter, '_' | '-' | '.');
            !code.is_empty() && code.len() <= 64 && code.chars().all(plain)
        };
        let codes: Vec<&str> = self.codes.iter().filter(is_identifier).map(String::as_str).collect();
        (!codes.is_empty()).then(|| codes.join(", "))
    }

    pub(super) fn mentions(&self, words: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        words.iter().any(|word| message.contains(word))
    }

    pub(super) fn is_context_overflow(&self) -> bool {
        self.is("context_length_exceeded")
            || self.is("exceed_context_size_error")
            || self.mentions(&["context length", "context size", "context window", "prompt is too long"])
    }
}

/// Text and refusal of a message's content: a text, or a list of parts.
pub(super) fn content(content: &Value) -> (String, Option<String>) {
    let mut text = String::new();
    let mut refused = None;
    match content {
        Value::String(whole) => text.push_str(whole),
        Value::Array(parts) => {
            for part in parts {
                if let Some(words) = part["refusal"].as_str() {
                    refused = Some(words.to_owned());
                } else {
                    text.push_str(part["text"].as_str().or_else(|| part.as_str()).unwrap_or_default());
                }
            }
        }
        _ => {}
    }
    (text, refused)
}

pub(super) fn count(usage: &Value, names: &[&str]) -> u64 {
    for name in names {
        let value = &usage[*name];
        let whole = value
            .as_u64()
            .or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
        if let Some(tokens) = whole {
            return tokens;
        }
    }
    0
}

/// A stream that nobody asked for, as the answer that it would have been. `None` when it has no end.
pub(super) fn assembled(body: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(body);
    let mut words = String::new();
    let mut refusal = String::new();
    let (mut finish, mut usage, mut model) = (Value::Null, Value::Null, Value::Null);
    let mut done = false;
    for line in text.lines() {
        let Some(data) = line.strip_prefix("data:").map(str::trim) else {
            continue;
        };
        if data == "[DONE]" {
            done = true;
            break;
        }
        let event: Value = serde_json::from_str(data).ok()?;
        if event.get("error").is_some_and(|error| !error.is_null()) {
            return Some(event);
        }
        let choice = &event["choices"][0];
        words.push_str(&content(&choice["delta"]["content"]).0);
        refusal.push_str(choice["delta"]["refusal"].as_str().unwrap_or_default());
        for (kept, new) in [
            (&mut finish, &choice["finish_reason"]),
            (&mut usage, &event["usage"]),
            (&mut model, &event["model"]),
        ] {
            if !new.is_null() {
                *kept = new.clone();
            }
        }
    }
    if !done && finish.is_null() {
        return None;
    }
    let message = json!({"content": words, "refusal": refusal});
    Some(json!({"choices": [{"message": message, "finish_reason": finish}], "usage": usage, "model": model}))
}
