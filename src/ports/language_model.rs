//! An LLM that answers a chat, if asked with a JSON schema then in that schema, as far as it can.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{probe::Probe, upstream::UpstreamError};

/// Who speaks in a chat with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Our instructions.
    System,
    /// What the model is asked.
    User,
    /// What the model answered before.
    Assistant,
}

/// One message of a chat with the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who.
    pub role: Role,
    /// The text.
    pub content: String,
}

/// The shape that the answer must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JsonSchema {
    /// Its name, `[a-z_]`.
    pub name: String,
    /// The schema itself, strict: every property required, nothing additional.
    pub schema: Value,
}

/// One question. Everything in it is part of the input hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// The chat so far.
    pub messages: Vec<ChatMessage>,
    /// The shape of the answer.
    pub schema: Option<JsonSchema>,
    /// Upper bound of the answer.
    pub max_tokens: u32,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finish", rename_all = "snake_case")]
pub enum Finish {
    /// By itself.
    Stop,
    /// Cut by the token limit.
    Length,
    /// Cut by the provider's content filter.
    ContentFilter,
    /// The model will not answer.
    Refusal {
        /// Its words.
        text: String,
    },
    /// The question is longer than the model can take: an answer of its own, because asking again with less may work and
    /// asking the same again never will.
    ContextOverflow {
        /// Tokens sent, where the server says it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sent: Option<u64>,
        /// Tokens that fit, where the server says it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens sent.
    pub prompt_tokens: u64,
    /// Tokens answered.
    pub completion_tokens: u64,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatAnswer {
    /// The text, empty on a refusal.
    pub text: String,
    /// How it ended.
    pub finish: Finish,
    /// What it took.
    pub usage: Usage,
    /// The model that answered.
    pub model: String,
}

/// A chat model behind an API.
#[async_trait]
pub trait LanguageModel: Send + Sync {
    /// Name of the upstream for people and gates: `llm:default`.
    fn upstream(&self) -> &str;

    /// The configured model: part of the input hash.
    fn model(&self) -> &str;

    /// Asks once.
    ///
    /// # Errors
    /// When the server cannot answer now; a poor answer is an answer.
    async fn complete(&self, request: &ChatRequest) -> Result<ChatAnswer, UpstreamError>;

    /// Tries it with a question of one token: reachable, let in, which answer formats it knows.
    ///
    /// # Errors
    /// When it cannot answer now.
    async fn probe(&self) -> Result<Probe, UpstreamError>;
}
