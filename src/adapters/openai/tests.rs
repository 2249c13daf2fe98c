//! Against a scripted server over a real socket.

use std::sync::Arc;

use super::*;
use crate::{
    ports::{ChatMessage, JsonSchema},
    sandbox::{
        Server,
        language_model::{self, Formats, Reply as Scripted, ScriptedModel},
    },
};

fn request() -> ChatRequest {
    ChatRequest {
        messages: vec![
            ChatMessage {
                role: Role::System,
                content: "Read.".to_owned(),
            },
            ChatMessage {
                role: Role::User,
                content: "I want my money back".to_owned(),
            },
        ],
        schema: Some(JsonSchema {
            name: "reading".to_owned(),
            schema: json!({"type": "object", "properties": {"intent": {"type": "string"}}}),
        }),
        max_tokens: 32,
    }
}

async fn serving(model: ScriptedModel) -> (Arc<ScriptedModel>, Server, OpenAi) {
    let model = Arc::new(model.with_key("sk-peer"));
    let server = language_model::start(Arc::clone(&model)).await.unwrap();
    let config = OpenAiConfig {
        api_key: Some(Secret::new("sk-peer")),
        timeout: Duration::from_millis(500),
        max_bytes: 20_000,
        ..OpenAiConfig::new("default", format!("{}/v1/", server.url()), "gpt-x")
    };
    (model, server, OpenAi::new(config).unwrap())
}

async fn answered(reply: Scripted) -> Result<ChatAnswer, UpstreamError> {
    let (_, _server, client) = serving(ScriptedModel::new(move |_| reply.clone())).await;
    client.complete(&request()).await
}

#[tokio::test]
async fn a_schema_is_asked_for_strictly_and_the_answer_is_read() {
    let (model, _server, client) = serving(ScriptedModel::new(|_| {
        Scripted::Text("{\"intent\": \"refund\"}".to_owned())
    }))
    .await;
    let answer = client.complete(&request()).await.unwrap();
    assert_eq!(answer.text, "{\"intent\": \"refund\"}");
    assert_eq!(answer.finish, Finish::Stop);
    assert_eq!(answer.model, "scripted-model");
    assert!(answer.usage.prompt_tokens > 0);
    let body = &model.seen()[0].body;
    assert_eq!(body["response_format"]["json_schema"]["strict"], true);
    assert_eq!(body["temperature"], 0);
    assert_eq!(body["max_tokens"], 32);
    assert_eq!(body["model"], "gpt-x");
}

#[tokio::test]
async fn a_server_that_refuses_schemas_is_learnt_once() {
    for (formats, format, first) in [(Formats::JsonObject, "json_object", 2), (Formats::Text, "text", 3)] {
        let script = ScriptedModel::new(|_| Scripted::Text("{}".to_owned())).taking(formats);
        let (model, _server, client) = serving(script).await;
        client.complete(&request()).await.unwrap();
        assert_eq!(model.requests(), first);
        client.complete(&request()).await.unwrap();
        assert_eq!(model.requests(), first + 1, "the second question goes straight through");
        let seen = model.seen();
        assert_eq!(seen[1].format, format);
        assert!(seen[1].text.contains("\"intent\""), "the schema is in the prompt");
    }
}

#[tokio::test]
async fn the_other_token_limit_is_sent_when_one_is_refused() {
    let script = ScriptedModel::new(|_| Scripted::Text("{}".to_owned())).with_new_token_limit();
    let (model, _server, client) = serving(script).await;
    client.complete(&request()).await.unwrap();
    client.complete(&request()).await.unwrap();
    assert_eq!(model.requests(), 3);
    assert_eq!(model.seen()[1].body["max_completion_tokens"], 32);
}

#[tokio::test]
async fn endings_other_than_a_normal_one_are_outcomes() {
    let cut = answered(Scripted::Cut("{\"int".to_owned())).await.unwrap();
    assert_eq!((cut.finish, cut.text.as_str()), (Finish::Length, "{\"int"));
    let filtered = answered(Scripted::Filtered).await.unwrap();
    assert_eq!(filtered.finish, Finish::ContentFilter);
    let refused = answered(Scripted::Refusal("I can't help with that".to_owned()))
        .await
        .unwrap();
    let text = "I can't help with that".to_owned();
    assert_eq!(refused.finish, Finish::Refusal { text });
    let long = answered(Scripted::TooLong(6002, 4096)).await.unwrap();
    assert_eq!(
        long.finish,
        Finish::ContextOverflow {
            sent: Some(6002),
            limit: Some(4096)
        }
    );
}

#[tokio::test]
async fn parts_and_streams_are_put_together() {
    let parts = json!({
        "choices": [{"message": {"content": [{"type": "text", "text": "{\"a\""}, {"type": "text", "text": ": 1}"}]}}],
        "usage": {"prompt_tokens": "12"},
    });
    let answer = answered(Scripted::Raw(200, "application/json", parts.to_string()))
        .await
        .unwrap();
    assert_eq!(answer.text, "{\"a\": 1}");
    assert_eq!(answer.usage.prompt_tokens, 12);
    assert_eq!(answer.model, "gpt-x");
    let answer = answered(Scripted::Stream("{\"name\": \"Zoë\"}".to_owned()))
        .await
        .unwrap();
    assert_eq!(answer.text, "{\"name\": \"Zoë\"}");
    assert_eq!(answer.usage.completion_tokens, 7);
    let broken = "data: {\"choices\":[{\"delta\":{\"content\":\"{\"}}]}\n\n".to_owned();
    let error = answered(Scripted::Raw(200, "text/event-stream", broken))
        .await
        .unwrap_err();
    assert_eq!(error.reason, UpstreamReason::BadAnswer);
}

#[tokio::test]
async fn every_refusal_has_its_reason() {
    let error = |status: u16, code: &str| Scripted::Error(status, code.to_owned(), "said\u{1b}[31m so".to_owned());
    let raw = |status, kind, body: &str| Scripted::Raw(status, kind, body.to_owned());
    let json = "application/json";
    for (reply, reason) in [
        (error(401, "authentication_error"), UpstreamReason::AuthInvalid),
        (error(403, "forbidden"), UpstreamReason::AuthInvalid),
        (error(402, "payment"), UpstreamReason::BillingExhausted),
        (error(429, "insufficient_quota"), UpstreamReason::BillingExhausted),
        (error(404, "model_not_found"), UpstreamReason::ModelUnavailable),
        (error(429, "rate_limit_exceeded"), UpstreamReason::RateLimited),
        (error(500, "server_error"), UpstreamReason::Unreachable),
        (error(529, "overloaded"), UpstreamReason::Unreachable),
        (error(400, "invalid_request_error"), UpstreamReason::BadAnswer),
        (raw(200, "text/html", "<html>login</html>"), UpstreamReason::BadAnswer),
        (raw(200, json, "{\"choices\": [{\"mess"), UpstreamReason::BadAnswer),
        (raw(200, json, "{\"choices\": []}"), UpstreamReason::BadAnswer),
        (
            raw(200, json, "{\"error\": {\"code\": 429, \"message\": \"slow\"}}"),
            UpstreamReason::RateLimited,
        ),
        (raw(200, json, &" ".repeat(30_000)), UpstreamReason::BadAnswer),
        (Scripted::Hang, UpstreamReason::Unreachable),
    ] {
        let shown = format!("{reply:?}").chars().take(80).collect::<String>();
        let error = answered(reply).await.unwrap_err();
        assert_eq!(error.reason, reason, "{shown}");
        assert_eq!(error.upstream, "llm:default");
        assert!(!error.to_string().contains(['\u{1b}', '\n']), "{error}");
    }
    let limited = answered(Scripted::RateLimited(7)).await.unwrap_err();
    assert_eq!(limited.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_key_is_not_repeated_in_errors_nor_printed() {
    let said = "Incorrect API key provided: sk-peer".to_owned();
    for status in [400, 401, 500] {
        let error = answered(Scripted::Error(status, "x".to_owned(), said.clone()))
            .await
            .unwrap_err();
        assert!(!error.to_string().contains("sk-peer"), "{error}");
    }
    // Servers that check their input repeat it: words of a transcript.
    for status in [400, 429, 500] {
        let said = "validation error: input was 'Ada Sorel, +1 555 0100'".to_owned();
        let error = answered(Scripted::Error(status, "bad_input".to_owned(), said))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("bad_input"), "{error}");
        assert!(!error.to_string().contains("Ada"), "{error}");
    }
    let (_, _server, client) = serving(ScriptedModel::new(|_| Scripted::Filtered)).await;
    assert!(!format!("{client:?}").contains("sk-peer"));
}

#[tokio::test]
async fn a_refusal_for_another_reason_does_not_weaken_the_next_question() {
    let (model, _server, client) = serving(ScriptedModel::new(|asked| {
        if asked.before < 3 {
            Scripted::Error(400, "invalid_request_error".to_owned(), "the schema is odd".to_owned())
        } else {
            Scripted::Text("{}".to_owned())
        }
    }))
    .await;
    client.complete(&request()).await.unwrap_err();
    client.complete(&request()).await.unwrap();
    assert_eq!(model.seen().last().unwrap().format, "json_schema");
}

/// What a real llama.cpp server answered, as it answered it.
async fn recorded(name: &str) -> Result<ChatAnswer, UpstreamError> {
    let path = format!("{}/tests/fixtures/llm-recorded/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let exchange: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let status = u16::try_from(exchange["status"].as_u64().unwrap()).unwrap();
    let kind = match exchange["content_type"].as_str().unwrap() {
        "text/event-stream" => "text/event-stream",
        _ => "application/json; charset=utf-8",
    };
    let body = match &exchange["body"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    answered(Scripted::Raw(status, kind, body)).await
}

#[tokio::test]
async fn recorded_answers_are_read_as_the_server_meant_them() {
    for (name, finish, text, tokens) in [
        (
            "chat_json_schema",
            Finish::Stop,
            "{\n    \"intent\": \"billing\"\n  }",
            (11, 21),
        ),
        (
            "unknown_model",
            Finish::Stop,
            "{\n    \"intent\": \"billing\"\n  }",
            (11, 21),
        ),
        ("chat_truncated", Finish::Length, "{", (11, 3)),
        (
            "chat_plain",
            Finish::Length,
            "\n  type: \"message\"\n  payload: {",
            (11, 12),
        ),
    ] {
        let answer = recorded(name).await.unwrap();
        assert_eq!((answer.finish, answer.text.as_str()), (finish, text), "{name}");
        assert_eq!(
            (answer.usage.prompt_tokens, answer.usage.completion_tokens),
            tokens,
            "{name}"
        );
        // The server says which model it was, also when another one was asked for.
        assert_eq!(answer.model, "gemma-3-270m", "{name}");
    }
    assert_eq!(recorded("chat_json_object").await.unwrap().finish, Finish::Length);
    // Only the first 3,000 characters of this stream were recorded: what broke off is never taken for the whole.
    let error = recorded("chat_stream").await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::BadAnswer);
    assert!(error.detail.contains("broke off"), "{error}");
    let overflow = recorded("context_overflow").await.unwrap();
    assert!(
        matches!(overflow.finish, Finish::ContextOverflow { sent: Some(sent), limit: Some(4096) } if sent > 4096),
        "{overflow:?}"
    );
}

#[tokio::test]
async fn recorded_refusals_have_their_reason() {
    for (name, reason) in [
        ("no_key", UpstreamReason::AuthInvalid),
        ("wrong_key", UpstreamReason::AuthInvalid),
        ("unknown_route", UpstreamReason::ModelUnavailable),
        ("no_messages", UpstreamReason::BadAnswer),
    ] {
        assert_eq!(recorded(name).await.unwrap_err().reason, reason, "{name}");
    }
}

#[tokio::test]
async fn a_stream_that_calls_itself_json_is_read_and_an_empty_content_is_no_error() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"{}\"}]},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let answer = answered(Scripted::Raw(200, "application/json", stream.to_owned()))
        .await
        .unwrap();
    assert_eq!(answer.text, "{}");
    let empty = json!({"choices": [{"message": {"content": null}, "finish_reason": "stop"}]});
    let answer = answered(Scripted::Raw(200, "application/json", empty.to_string()))
        .await
        .unwrap();
    assert_eq!((answer.text.as_str(), answer.usage), ("", Usage::default()));
}

async fn probed(model: ScriptedModel) -> (Arc<ScriptedModel>, Result<crate::ports::Probe, UpstreamError>) {
    let (model, _server, client) = serving(model).await;
    let probe = client.probe().await;
    assert!(!format!("{probe:?}").contains("sk-peer"), "{probe:?}");
    (model, probe)
}

#[tokio::test]
async fn a_probe_says_which_model_and_which_formats_the_server_takes() {
    let text = || ScriptedModel::new(|_| Scripted::Cut("{\"ok\"".to_owned()));
    for (model, warning, says) in [
        (
            text().listing(&["gpt-x:latest"]),
            false,
            ["it serves gpt-x", "json_schema is taken"],
        ),
        (
            text().listing(&["other"]),
            false,
            ["not in its list of models", "json_schema is taken"],
        ),
        (text(), false, ["lists no models", "json_schema is taken"]),
        (
            text().taking(Formats::JsonObject),
            false,
            ["gpt-x", "json_object is taken"],
        ),
        (text().taking(Formats::Text), true, ["gpt-x", "are refused"]),
        (text().with_new_token_limit(), false, ["gpt-x", "json_schema is taken"]),
    ] {
        let (model, probe) = probed(model).await;
        let probe = probe.unwrap();
        assert!(probe.server_date.is_some());
        assert_eq!(probe.notes.iter().any(|note| note.warning), warning, "{probe:?}");
        for (note, says) in probe.notes.iter().zip(says) {
            assert!(note.text.contains(says), "{says}: {probe:?}");
        }
        let seen = model.seen();
        assert_eq!(seen.len(), 1, "one question is answered, and paid");
        let limit = ["max_tokens", "max_completion_tokens"].map(|name| seen[0].body[name].as_u64().unwrap_or_default());
        assert_eq!(limit.iter().sum::<u64>(), 16);
    }
    let (_, probe) = probed(ScriptedModel::new(|_| Scripted::Filtered)).await;
    assert!(probe.unwrap().notes[1].warning);
}

#[tokio::test]
async fn a_probe_that_is_refused_says_why() {
    for (status, code, reason) in [
        (401, "authentication_error", UpstreamReason::AuthInvalid),
        (402, "payment", UpstreamReason::BillingExhausted),
        (404, "model_not_found", UpstreamReason::ModelUnavailable),
        (503, "overloaded", UpstreamReason::Unreachable),
    ] {
        let said = "Incorrect API key provided: sk-peer".to_owned();
        let reply = Scripted::Error(status, code.to_owned(), said);
        let (_, probe) = probed(ScriptedModel::new(move |_| reply.clone())).await;
        assert_eq!(probe.unwrap_err().reason, reason);
    }
    let (_, probe) = probed(ScriptedModel::new(|_| Scripted::Hang)).await;
    assert_eq!(probe.unwrap_err().reason, UpstreamReason::Unreachable);
}
