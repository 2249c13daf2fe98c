//! A scripted language model: speaks `POST /v1/chat/completions`, answers from a script, and can be as difficult as the
//! servers that people run.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{
        HeaderMap, Method, StatusCode, Uri,
        header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Server;

/// One request, as a script sees it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// All messages, one after another: what a script looks for its marker in.
    pub text: String,
    /// Name of the JSON schema asked for, where one was.
    pub schema: Option<String>,
    /// `json_schema`, `json_object` or `text`.
    pub format: String,
    /// The request's body.
    pub body: Value,
    /// Requests before this one.
    pub before: u64,
}

/// What the model answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// This text.
    Text(String),
    /// This text, in parts, as an event stream that nobody asked for.
    Stream(String),
    /// This text, cut by the token limit.
    Cut(String),
    /// A refusal, in these words.
    Refusal(String),
    /// Nothing: the content filter stopped it.
    Filtered,
    /// An error in the usual shape: status, `code` and message.
    Error(u16, String, String),
    /// 429 with `Retry-After: SECONDS`.
    RateLimited(u32),
    /// 400 in the shape of a prompt that is too long: tokens sent, tokens that fit.
    TooLong(u64, u64),
    /// These bytes with this status and media type.
    Raw(u16, &'static str, String),
    /// No answer until the server stops.
    Hang,
}

impl Reply {
    /// A JSON value as the answer's text.
    #[expect(clippy::needless_pass_by_value, reason = "scripts build the value in place")]
    pub fn json(value: Value) -> Self {
        Self::Text(value.to_string())
    }
}

/// Which response formats the server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Formats {
    /// All.
    #[default]
    JsonSchema,
    /// No schemas.
    JsonObject,
    /// None at all.
    Text,
}

type Script = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// A scripted model.
pub struct ScriptedModel {
    script: Script,
    formats: Formats,
    /// Refuses `max_tokens` as newer models do.
    only_max_completion_tokens: bool,
    api_key: Option<String>,
    /// What `GET /v1/models` lists; `None`: there is no such list.
    models: Option<Vec<String>>,
    requests: AtomicU64,
    seen: Mutex<Vec<Asked>>,
}

impl ScriptedModel {
    /// Answers by a function of the request.
    pub fn new(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            script: Box::new(script),
            formats: Formats::default(),
            only_max_completion_tokens: false,
            api_key: None,
            models: None,
            requests: AtomicU64::new(0),
            seen: Mutex::new(Vec::new()),
        }
    }

    /// Answers by schema name and a text found in the request; the longest marker found wins, so that `s-1` does not
    /// answer for `s-12`. A request without any is an error 500 that says so.
    pub fn by_marker(answers: BTreeMap<(String, String), Reply>) -> Self {
        Self::new(move |asked| {
            let schema = asked.schema.as_deref().unwrap_or_default();
            answers
                .iter()
                .filter(|((name, marker), _)| name == schema && asked.text.contains(marker))
                .max_by_key(|((_, marker), _)| marker.len())
                .map_or_else(
                    || {
                        Reply::Error(
                            500,
                            "no_script".to_owned(),
                            "the script has no answer for this".to_owned(),
                        )
                    },
                    |(_, reply)| reply.clone(),
                )
        })
    }

    /// Takes only these formats.
    #[must_use]
    pub fn taking(mut self, formats: Formats) -> Self {
        self.formats = formats;
        self
    }

    /// Refuses `max_tokens` in favour of `max_completion_tokens`.
    #[must_use]
    pub fn with_new_token_limit(mut self) -> Self {
        self.only_max_completion_tokens = true;
        self
    }

    /// Asks for this key.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.api_key = Some(key.to_owned());
        self
    }

    /// Lists these models.
    #[must_use]
    pub fn listing(mut self, models: &[&str]) -> Self {
        self.models = Some(models.iter().map(|&model| model.to_owned()).collect());
        self
    }

    /// Requests so far, refused ones included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Every chat request that reached the script, in order.
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Clone)]
struct Shared {
    model: Arc<ScriptedModel>,
    stopping: CancellationToken,
}

/// Serves a scripted model on a free port of 127.0.0.1; its base address is [`Server::url`] + `/v1`.
///
/// # Errors
/// When no port can be had.
pub async fn start(model: Arc<ScriptedModel>) -> io::Result<Server> {
    let stopping = CancellationToken::new();
    Server::start(router(model, stopping.clone()), stopping).await
}

/// What it answers. `stopping` is what answers that hang wait for.
pub(super) fn router(model: Arc<ScriptedModel>, stopping: CancellationToken) -> Router {
    Router::new().fallback(answer).with_state(Shared { model, stopping })
}

async fn answer(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let model = &shared.model;
    let before = model.requests.fetch_add(1, Ordering::Relaxed);
    if let Some(key) = &model.api_key {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if given != Some(&format!("Bearer {key}")) {
            return error(401, "authentication_error", "Invalid API Key");
        }
    }
    if let (&Method::GET, "/v1/models", Some(models)) = (&method, uri.path(), &model.models) {
        let listed: Vec<Value> = models.iter().map(|id| json!({"id": id, "object": "model"})).collect();
        return Json(json!({"object": "list", "data": listed})).into_response();
    }
    if method != Method::POST || uri.path() != "/v1/chat/completions" {
        return error(404, "not_found_error", "File Not Found");
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return error(400, "invalid_request_error", "parse error");
    };
    let format = body["response_format"]["type"].as_str().unwrap_or("text").to_owned();
    let refused = match model.formats {
        Formats::JsonSchema => false,
        Formats::JsonObject => format == "json_schema",
        Formats::Text => format != "text",
    };
    if refused {
        let message = format!("response_format type must be one of those supported, but got: {format}");
        return error(400, "invalid_request_error", &message);
    }
    if model.only_max_completion_tokens && body.get("max_tokens").is_some() {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        return error(400, "unsupported_parameter", message);
    }
    let mut text = String::new();
    for message in body["messages"].as_array().into_iter().flatten() {
        text.push_str(message["content"].as_str().unwrap_or_default());
        text.push('\n');
    }
    let asked = Asked {
        text,
        schema: body["response_format"]["json_schema"]["name"]
            .as_str()
            .map(str::to_owned),
        format,
        before,
        body,
    };
    let reply = (model.script)(&asked);
    model
        .seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(asked.clone());
    respond(reply, &asked, &shared.stopping).await
}

async fn respond(reply: Reply, asked: &Asked, stopping: &CancellationToken) -> Response {
    match reply {
        Reply::Text(text) => completion(asked, &json!({"role": "assistant", "content": text}), "stop"),
        Reply::Cut(text) => completion(asked, &json!({"role": "assistant", "content": text}), "length"),
        Reply::Refusal(text) => {
            let message = json!({"role": "assistant", "content": null, "refusal": text});
            completion(asked, &message, "stop")
        }
        Reply::Filtered => completion(asked, &json!({"role": "assistant", "content": ""}), "content_filter"),
        Reply::Stream(text) => stream(&text),
        Reply::Error(status, code, message) => error(status, &code, &message),
        Reply::RateLimited(seconds) => {
            let mut response = error(429, "rate_limit_exceeded", "Too many requests");
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            response
        }
        Reply::TooLong(sent, limit) => {
            let message = format!(
                "request ({sent} tokens) exceeds the available context size ({limit} tokens), try increasing it"
            );
            let body = json!({"error": {
                "code": 400, "message": message, "type": "exceed_context_size_error",
                "n_prompt_tokens": sent, "n_ctx": limit,
            }});
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
        Reply::Raw(status, media_type, body) => {
            (status_code(status), [(CONTENT_TYPE, media_type)], body).into_response()
        }
        Reply::Hang => {
            stopping.cancelled().await;
            error(503, "stopping", "stopping")
        }
    }
}

fn completion(asked: &Asked, message: &Value, finish: &str) -> Response {
    // Four characters to a token is close enough for a script.
    let prompt = asked.text.len() / 4;
    let answered = message["content"].as_str().unwrap_or_default().len() / 4;
    let body = json!({
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "model": "scripted-model",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": answered, "total_tokens": prompt + answered},
    });
    Json(body).into_response()
}

fn stream(text: &str) -> Response {
    let characters: Vec<char> = text.chars().collect();
    let mut body = String::new();
    let mut event = |value: &Value| {
        body.push_str("data: ");
        body.push_str(&value.to_string());
        body.push_str("\n\n");
    };
    event(
        &json!({"model": "scripted-model", "choices": [{"index": 0, "delta": {"role": "assistant", "content": null}}]}),
    );
    for part in characters.chunks(5) {
        let part: String = part.iter().collect();
        event(&json!({"choices": [{"index": 0, "delta": {"content": part}}]}));
    }
    event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    event(&json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}));
    body.push_str("data: [DONE]\n\n");
    ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let body = json!({"error": {"code": code, "message": message, "type": code}});
    (status_code(status), Json(body)).into_response()
}
