//! `[llm]`: an OpenAI-compatible chat server. Without this section nothing leaves for an LLM: the offline classifier reads,
//! and a diagnosis is what the rules say.

use std::time::Duration;

use serde::Serialize;

use super::{duration, secret::Secret, section::Section, url};

/// Its settings.
pub(super) const KEYS: [&str; 8] = [
    "base_url",
    "model",
    "api_key",
    "timeout",
    "max_tokens",
    "mask",
    "price_prompt",
    "price_completion",
];

/// `[llm]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LlmConfig {
    /// The address before `/chat/completions`: `https://api.openai.com/v1`.
    pub base_url: String,
    /// The model, as the server calls it.
    pub model: String,
    /// Sent as a bearer token, where the server wants one.
    pub api_key: Option<Secret>,
    /// How long an answer may take. Default 60s.
    #[serde(serialize_with = "duration::serialize")]
    pub timeout: Duration,
    /// Most tokens of one answer. Default 4096.
    pub max_tokens: u32,
    /// Send e-mail addresses, phone numbers, dates of birth and card numbers as tokens (`[PHONE_1]`). Default `true`.
    pub mask: bool,
    /// Price of a million tokens sent, in a currency of your choice. Default 0.
    pub price_prompt: f64,
    /// Price of a million tokens answered. Default 0.
    pub price_completion: f64,
}

impl LlmConfig {
    /// A server with the defaults for everything else.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            model: model.into(),
            api_key: None,
            timeout: Duration::from_mins(1),
            max_tokens: 4096,
            mask: true,
            price_prompt: 0.0,
            price_completion: 0.0,
        }
    }

    /// No call costs anything, as far as the prices say.
    pub(super) fn is_free(&self) -> bool {
        self.price_prompt <= 0.0 && self.price_completion <= 0.0
    }

    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        if !section.is_given(&["base_url", "model"]) {
            return None;
        }
        let base_url = url::read(&mut section, "base_url");
        let model = section.required_text("model", "the model, as the server calls it");
        let default = Self::new("", "");
        let read = Self {
            base_url: base_url.clone().unwrap_or_default(),
            model: model.clone().unwrap_or_default(),
            api_key: section.secret("api_key"),
            timeout: section.duration("timeout", default.timeout, Duration::from_secs(1)),
            max_tokens: section.whole("max_tokens", default.max_tokens, 64, 1_000_000),
            mask: section.flag("mask", default.mask),
            price_prompt: section.number("price_prompt", 0.0, 1_000_000.0).unwrap_or_default(),
            price_completion: section.number("price_completion", 0.0, 1_000_000.0).unwrap_or_default(),
        };
        section.finish();
        (base_url.is_some() && model.is_some()).then_some(read)
    }
}
