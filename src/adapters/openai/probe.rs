//! Whether a server takes our questions, by asking it for its models and then one thing of no importance.

use serde_json::{Value, json};

use super::{Format, OpenAi};
use crate::{
    adapters::{client, plain_text::one_line},
    ports::{ChatMessage, ChatRequest, Finish, JsonSchema, LanguageModel as _, Probe, Role, UpstreamError},
};

/// Bound of the answer. Some models refuse less.
const ANSWER_TOKENS: u32 = 16;

impl OpenAi {
    /// Costs one short question and at most [`ANSWER_TOKENS`] tokens of answer; what a server refuses costs nothing.
    pub(super) async fn ask_of_no_importance(&self) -> Result<Probe, UpstreamError> {
        let mut probe = Probe::default();
        let model = one_line(&self.model, 100);
        let listed = self.listed_models(&mut probe).await?;
        let answer = self.complete(&question()).await?;
        match listed {
            Some(models) if lists(&models, &self.model) => probe.ok(format!("it serves {model}")),
            Some(models) => probe.ok(format!(
                "it answers as {model}, which is not in its list of models (number of models: {})",
                models.len()
            )),
            None => probe.ok(format!("it answers as {model}, and lists no models")),
        }
        match answer.finish {
            Finish::Stop | Finish::Length => {}
            Finish::Refusal { .. } | Finish::ContentFilter | Finish::ContextOverflow { .. } => probe.warn(
                "it gave no answer to a harmless question (refused, filtered or too long): look at the server's settings",
            ),
        }
        match self.dialect().format {
            Format::JsonSchema => probe.ok("response format json_schema is taken"),
            Format::JsonObject => {
                probe.ok("response format json_object is taken, json_schema is not: the schema goes into the prompt");
            }
            Format::Prompt => probe.warn(
                "response formats json_schema and json_object are refused: the schema goes into the prompt alone, so expect more \
                 answers that have to be asked for again; a server or model with one of them does better",
            ),
        }
        Ok(probe)
    }

    /// The names that `GET /models` gives; `None` where the server has no such list.
    async fn listed_models(&self, probe: &mut Probe) -> Result<Option<Vec<String>>, UpstreamError> {
        let mut address = self.address.clone();
        let path = address.path().trim_end_matches("/chat/completions").to_owned();
        address.set_path(&format!("{path}/models"));
        let mut request = self.client.get(address);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key.expose());
        }
        let reply = client::exchange(&self.upstream, request, self.bounds).await?;
        probe.server_date = reply.date;
        // A key may be let in to chat and not to list: the question decides.
        if !reply.is_success() {
            return Ok(None);
        }
        let Ok(body) = serde_json::from_slice::<Value>(&reply.body) else {
            return Ok(None);
        };
        let Some(models) = body["data"].as_array() else {
            return Ok(None);
        };
        let names = models.iter().filter_map(|model| model["id"].as_str());
        Ok(Some(names.map(str::to_owned).collect()))
    }
}

/// Some servers list a model with its default tag.
fn lists(models: &[String], wanted: &str) -> bool {
    models
        .iter()
        .any(|model| model == wanted || model.strip_suffix(":latest") == Some(wanted))
}

fn question() -> ChatRequest {
    ChatRequest {
        messages: vec![ChatMessage {
            role: Role::User,
            content: "Answer {\"ok\": true} as JSON.".to_owned(),
        }],
        schema: Some(JsonSchema {
            name: "probe".to_owned(),
            schema: json!({
                "type": "object",
                "properties": {"ok": {"type": "boolean"}},
                "required": ["ok"],
                "additionalProperties": false,
            }),
        }),
        max_tokens: ANSWER_TOKENS,
    }
}
