//! Any server that speaks OpenAI's `POST /chat/completions`.
//!
//! Servers differ in what they take (JSON schemas, `max_tokens`, a temperature): a refusal is learnt from once and
//! remembered. They differ in what they answer, too, so answers are read leniently, and an ending other than a normal one is
//! an outcome, not an error: asking again would pay again for the same.

mod body;
mod probe;

use std::{
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use reqwest::{Client, Url, header::CONTENT_TYPE};
use serde_json::{Map, Value, json};

use self::body::{Said, assembled, content, count};
use super::{
    client::{self, Bounds, ClientSettings, Reply},
    plain_text::one_line,
    secret::Secret,
};
use crate::ports::{ChatAnswer, ChatRequest, Finish, LanguageModel, Probe, Role, UpstreamError, UpstreamReason, Usage};

/// One configured model.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// Its name in the configuration.
    pub name: String,
    /// Up to and with the version: `https://api.openai.com/v1`.
    pub base_url: String,
    /// Left out for local servers that need none.
    pub api_key: Option<Secret>,
    /// The model's name.
    pub model: String,
    /// From sending to the last byte.
    pub timeout: Duration,
    /// Largest answer.
    pub max_bytes: usize,
}

impl OpenAiConfig {
    /// With the defaults: no key, 120 s, 4 MB.
    pub fn new(name: impl Into<String>, base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            base_url: base_url.into(),
            api_key: None,
            model: model.into(),
            timeout: Duration::from_mins(2),
            max_bytes: 4_000_000,
        }
    }
}

/// What is wrong with the configuration of a model.
#[derive(Debug, thiserror::Error)]
pub enum OpenAiError {
    /// Not an address.
    #[error("language model `{name}`: base_url should be an http(s) address like https://api.openai.com/v1: {reason}")]
    BaseUrl {
        /// The model's name in the configuration.
        name: String,
        /// Why.
        reason: String,
    },
    /// TLS could not be set up.
    #[error("language model `{name}`: no HTTPS on this machine: {source}")]
    Client {
        /// The model's name in the configuration.
        name: String,
        /// Why.
        source: reqwest::Error,
    },
}

/// How the shape of the answer is asked for, from the strictest to the last resort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Format {
    JsonSchema = 0,
    JsonObject = 1,
    Prompt = 2,
}

impl Format {
    fn from_stored(stored: u8) -> Self {
        match stored {
            0 => Self::JsonSchema,
            1 => Self::JsonObject,
            _ => Self::Prompt,
        }
    }

    fn weaker(self) -> Option<Self> {
        match self {
            Self::JsonSchema => Some(Self::JsonObject),
            Self::JsonObject => Some(Self::Prompt),
            Self::Prompt => None,
        }
    }
}

/// What a server takes, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dialect {
    format: Format,
    new_token_limit: bool,
    no_temperature: bool,
}

/// A model behind an OpenAI-compatible server.
#[derive(Debug)]
pub struct OpenAi {
    upstream: String,
    address: Url,
    api_key: Option<Secret>,
    model: String,
    bounds: Bounds,
    client: Client,
    format: AtomicU8,
    new_token_limit: AtomicBool,
    no_temperature: AtomicBool,
}

impl OpenAi {
    /// Checks the configuration. Nothing is sent.
    ///
    /// # Errors
    /// When the address is not one, or TLS cannot be set up.
    pub fn new(config: OpenAiConfig) -> Result<Self, OpenAiError> {
        let bad_base = |reason: String| OpenAiError::BaseUrl {
            name: config.name.clone(),
            reason,
        };
        let address = format!("{}/chat/completions", config.base_url.trim_end_matches('/'));
        let address = Url::parse(&address).map_err(|error| bad_base(error.to_string()))?;
        if !matches!(address.scheme(), "http" | "https") || address.query().is_some() {
            return Err(bad_base("it has another scheme, or a query".to_owned()));
        }
        let client = client::build(&ClientSettings::default()).map_err(|source| OpenAiError::Client {
            name: config.name.clone(),
            source,
        })?;
        Ok(Self {
            upstream: format!("llm:{}", config.name),
            address,
            api_key: config.api_key,
            model: config.model,
            bounds: Bounds {
                timeout: config.timeout,
                max_bytes: config.max_bytes,
            },
            client,
            format: AtomicU8::new(Format::JsonSchema as u8),
            new_token_limit: AtomicBool::new(false),
            no_temperature: AtomicBool::new(false),
        })
    }

    fn dialect(&self) -> Dialect {
        Dialect {
            format: Format::from_stored(self.format.load(Ordering::Relaxed)),
            new_token_limit: self.new_token_limit.load(Ordering::Relaxed),
            no_temperature: self.no_temperature.load(Ordering::Relaxed),
        }
    }

    /// Called only after the server took it: a refusal for another reason must not weaken every later question.
    fn remember(&self, dialect: Dialect) {
        self.format.store(dialect.format as u8, Ordering::Relaxed);
        self.new_token_limit.store(dialect.new_token_limit, Ordering::Relaxed);
        self.no_temperature.store(dialect.no_temperature, Ordering::Relaxed);
    }

    fn body(&self, request: &ChatRequest, dialect: Dialect) -> Value {
        let mut messages: Vec<Value> = Vec::new();
        for message in &request.messages {
            let role = match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            messages.push(json!({"role": role, "content": message.content}));
        }
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(self.model));
        if !dialect.no_temperature {
            body.insert("temperature".to_owned(), json!(0));
        }
        let limit = if dialect.new_token_limit {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        body.insert(limit.to_owned(), json!(request.max_tokens));
        if let Some(schema) = &request.schema {
            match dialect.format {
                Format::JsonSchema => {
                    let wanted = json!({"name": schema.name, "strict": true, "schema": schema.schema});
                    let format = json!({"type": "json_schema", "json_schema": wanted});
                    body.insert("response_format".to_owned(), format);
                }
                Format::JsonObject | Format::Prompt => {
                    let wanted = format!(
                        "Answer with exactly one JSON object that follows this JSON Schema, and nothing before or after it:\n{}",
                        schema.schema
                    );
                    match messages.first_mut().filter(|first| first["role"] == "system") {
                        Some(first) => {
                            let before = first["content"].as_str().unwrap_or_default();
                            first["content"] = json!(format!("{before}\n\n{wanted}"));
                        }
                        None => messages.insert(0, json!({"role": "system", "content": wanted})),
                    }
                    if dialect.format == Format::JsonObject {
                        body.insert("response_format".to_owned(), json!({"type": "json_object"}));
                    }
                }
            }
        }
        body.insert("messages".to_owned(), Value::Array(messages));
        Value::Object(body)
    }

    async fn send(&self, body: &Value) -> Result<Reply, UpstreamError> {
        let mut request = self
            .client
            .post(self.address.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key.expose());
        }
        client::exchange(&self.upstream, request, self.bounds).await
    }

    fn error(&self, reason: UpstreamReason, detail: String) -> UpstreamError {
        UpstreamError {
            upstream: self.upstream.clone(),
            reason,
            detail,
            retry_after: None,
        }
    }

    /// The error behind an answer that is none, with the server's codes and without its words.
    fn refusal(&self, reply: &Reply, said: &Said) -> UpstreamError {
        let codes = said.shown();
        if reply.status == 404 {
            return self.error(
                UpstreamReason::ModelUnavailable,
                format!(
                    "the server knows no model `{}` at this address (status 404): check model and base_url",
                    one_line(&self.model, 100)
                ),
            );
        }
        if let Some(mut error) = client::refusal(&self.upstream, reply, codes.as_deref()) {
            // A spent budget comes as "too many requests": waiting a minute will not help, a person must.
            if reply.status == 429 && said.is("insufficient_quota") {
                error.reason = UpstreamReason::BillingExhausted;
            }
            return error;
        }
        let codes = codes.map_or_else(String::new, |codes| format!(": {codes}"));
        self.error(
            UpstreamReason::BadAnswer,
            format!(
                "the server refused the request (status {}){codes}; its own log says why",
                reply.status
            ),
        )
    }

    fn read(&self, reply: &Reply) -> Result<ChatAnswer, UpstreamError> {
        let bad = |what: &str| self.error(UpstreamReason::BadAnswer, format!("{what} (status {})", reply.status));
        if reply.is_html() {
            return Err(bad("the answer is an HTML page, not the API's: check base_url"));
        }
        // Some gateways stream without saying so.
        let body = if reply.media_type == "text/event-stream" || reply.body.trim_ascii_start().starts_with(b"data:") {
            assembled(&reply.body).ok_or_else(|| bad("the answer is a stream that broke off"))?
        } else {
            serde_json::from_slice(&reply.body).map_err(|_| bad("the answer is not complete JSON"))?
        };
        if let Some(said) = Said::of(&body) {
            // Gateways report the model's trouble with status 200.
            let status = body["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
            let inner = Reply {
                status: status.filter(|status| (400..600).contains(status)).unwrap_or(502),
                ..reply.clone()
            };
            return Err(self.refusal(&inner, &said));
        }
        let Some(choice) = body["choices"].as_array().and_then(|choices| choices.first()) else {
            return Err(bad(
                "the answer has no `choices`: is base_url an OpenAI-compatible address?",
            ));
        };
        let message = &choice["message"];
        let (text, mut refused) = content(&message["content"]);
        if let Some(words) = message["refusal"].as_str().filter(|words| !words.is_empty()) {
            refused = Some(words.to_owned());
        }
        let finish = match (refused, choice["finish_reason"].as_str()) {
            (Some(text), _) => Finish::Refusal { text },
            (None, Some("length" | "max_tokens")) => Finish::Length,
            (None, Some("content_filter")) => Finish::ContentFilter,
            _ => Finish::Stop,
        };
        Ok(ChatAnswer {
            text: if matches!(finish, Finish::Refusal { .. }) {
                String::new()
            } else {
                text
            },
            finish,
            usage: Usage {
                prompt_tokens: count(&body["usage"], &["prompt_tokens", "input_tokens"]),
                completion_tokens: count(&body["usage"], &["completion_tokens", "output_tokens"]),
            },
            model: body["model"]
                .as_str()
                .filter(|model| !model.is_empty())
                .unwrap_or(&self.model)
                .to_owned(),
        })
    }

    fn ended(&self, finish: Finish) -> ChatAnswer {
        ChatAnswer {
            text: String::new(),
            finish,
            usage: Usage::default(),
            model: self.model.clone(),
        }
    }
}

#[async_trait]
impl LanguageModel for OpenAi {
    fn upstream(&self) -> &str {
        &self.upstream
    }

    fn model(&self) -> &str {
        &self.model
    }

    async fn complete(&self, request: &ChatRequest) -> Result<ChatAnswer, UpstreamError> {
        let mut dialect = self.dialect();
        loop {
            let reply = self.send(&self.body(request, dialect)).await?;
            if reply.is_success() {
                let answer = self.read(&reply)?;
                self.remember(dialect);
                return Ok(answer);
            }
            let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
            let said = Said::of(&body).unwrap_or_default();
            if !matches!(reply.status, 400 | 413 | 422) {
                return Err(self.refusal(&reply, &said));
            }
            if reply.status == 413 || said.is_context_overflow() {
                return Ok(self.ended(Finish::ContextOverflow {
                    sent: body["error"]["n_prompt_tokens"].as_u64(),
                    limit: body["error"]["n_ctx"].as_u64(),
                }));
            }
            if said.is("content_filter") || said.is("content_policy_violation") {
                return Ok(self.ended(Finish::ContentFilter));
            }
            // Each arm can be taken only so often, so the loop ends.
            if said.mentions(&["max_tokens", "max_completion_tokens"]) && !dialect.new_token_limit {
                dialect.new_token_limit = true;
            } else if said.mentions(&["temperature"]) && !dialect.no_temperature {
                dialect.no_temperature = true;
            } else if let Some(weaker) = dialect.format.weaker()
                && request.schema.is_some()
                && said.mentions(&[
                    "response_format",
                    "json_schema",
                    "json_object",
                    "schema",
                    "grammar",
                    "structured",
                ])
            {
                dialect.format = weaker;
            } else {
                return Err(self.refusal(&reply, &said));
            }
        }
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        self.ask_of_no_importance().await
    }
}

#[cfg(test)]
mod slow_and_large;
#[cfg(test)]
mod tests;
