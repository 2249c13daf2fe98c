//! The data that was behind the recorded answers, as far as the answers show it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::{Clock, FakeLangfuse, Recorded, SentTrace, Version};

/// When the recorded traces began: one an hour.
fn hour(n: i64) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-20T10:00:00Z").unwrap().to_utc() + TimeDelta::hours(n)
}

/// When all of it was sent, before the scores that a recorded cursor speaks of.
fn ingested() -> DateTime<Utc> {
    hour(24 * 2)
}

fn text(at: DateTime<Utc>, milliseconds: i64) -> String {
    super::super::time::instant(at + TimeDelta::milliseconds(milliseconds))
}

fn recorded(value: &Value) -> Recorded {
    Recorded::read(&value.to_string()).unwrap()
}

/// Nine chats and what a tracing library wrote of each, in the words of the old way of sending.
pub(super) fn old(version: Version) -> Arc<FakeLangfuse> {
    let langfuse = FakeLangfuse::with_clock(version, Clock::still_at(ingested()));
    for n in 0..9 {
        let start = hour(n);
        let trace = format!("trace-{n:03}");
        let (user, session) = (format!("user-{}", i64::from(n == 3 || n == 4 || n == 5)), n / 3);
        let common = json!({"traceId": trace, "sessionId": format!("session-{session}"), "userId": user,
            "traceName": "chat-turn", "tags": ["peer", format!("t{}", n % 3)], "release": "1.0"});
        let with = |more: Value| {
            let mut value = common.clone();
            for (key, more) in more.as_object().unwrap() {
                value[key] = more.clone();
            }
            recorded(&value)
        };
        let warning = n == 4;
        langfuse.ingest([
            with(json!({"id": format!("span-{n:03}"), "type": "SPAN", "name": "retrieve",
                "startTime": text(start, 0), "endTime": text(start, 120), "input": {"q": format!("question {n}")},
                "output": ["doc1", "doc2"], "metadata": {"k": 2}})),
            with(json!({"id": format!("gen-{n:03}"), "type": "GENERATION", "name": "llm",
                "parentObservationId": format!("span-{n:03}"),
                "startTime": text(start, 130), "endTime": text(start, 1000), "completionStartTime": text(start, 300),
                "level": if warning { "WARNING" } else { "DEFAULT" },
                "statusMessage": if warning { json!("slow") } else { Value::Null },
                "input": [{"role": "user", "content": format!("question {n}")}],
                "output": {"role": "assistant", "content": format!("answer {n}")},
                "model": "gpt-4o", "modelId": "b9854a5c92dc496b997d99d20",
                "modelParameters": {"max_tokens": 64, "temperature": "0.2"},
                "inputPrice": "0.0000025", "outputPrice": "0.00001",
                "usageDetails": {"input": 40, "output": 10 + n, "total": 50 + n},
                "costDetails": {"input": 0.0001, "output": 0.0001, "total": 0.0002},
                "usagePricingTierId": "tier", "usagePricingTierName": "Standard"})),
            with(
                json!({"id": format!("ev-{n:03}"), "type": "EVENT", "name": "feedback-shown",
                "startTime": text(start, 2000), "metadata": {"x": 1}}),
            ),
        ]);
        langfuse.ingest_traces([SentTrace {
            id: trace,
            timestamp: start,
            name: Some("chat-turn".to_owned()),
            version: Some("v1".to_owned()),
            input: json!({"messages": [{"role": "user", "content": format!("question {n}")}]}),
            output: json!({"role": "assistant", "content": format!("answer {n}")}),
            metadata: json!({"n": n, "channel": "web"}),
            ..SentTrace::default()
        }]);
    }
    langfuse.ingest_traces([
        SentTrace {
            id: "trace-nosession".to_owned(),
            timestamp: hour(24),
            name: Some("no-session".to_owned()),
            input: json!("plain text in"),
            ..SentTrace::default()
        },
        SentTrace {
            id: "trace-unicode".to_owned(),
            timestamp: hour(25),
            name: Some("uni".to_owned()),
            session_id: Some("sess/ion ü".to_owned()),
            input: json!({"t": "héllo ☃ 日本語 "}),
            output: json!("ok"),
            ..SentTrace::default()
        },
    ]);
    Arc::new(langfuse)
}

/// The same chats as an OpenTelemetry library writes them.
pub(super) fn new(version: Version) -> Arc<FakeLangfuse> {
    let langfuse = FakeLangfuse::with_clock(version, Clock::still_at(ingested()));
    for n in 1..10 {
        let start = hour(n - 1);
        let user = format!("user-{}", i64::from((4..=6).contains(&n)));
        let common = json!({"traceId": format!("{n:032}"), "sessionId": format!("session-{}", (n - 1) / 3),
            "userId": user, "traceName": "chat-turn", "tags": ["peer", "t2"], "release": "1.0", "version": "v1",
            "metadata": {"scope.name": "peer"}});
        let with = |step: i64, more: Value| {
            let mut value = common.clone();
            value["id"] = json!(format!("{:016}", n * 10 + step));
            for (key, more) in more.as_object().unwrap() {
                value[key] = more.clone();
            }
            recorded(&value)
        };
        let (question, answer) = (
            json!({"messages": [{"role": "user", "content": format!("question {}", n - 1)}]}),
            json!({"role": "assistant", "content": format!("answer {}", n - 1)}),
        );
        langfuse.ingest([
            with(
                1,
                json!({"type": "SPAN", "name": "chat-turn", "isRootObservation": true,
                "startTime": text(start, 0), "endTime": text(start, 2000), "input": question, "output": answer}),
            ),
            with(
                2,
                json!({"type": "SPAN", "name": "retrieve", "parentObservationId": format!("{:016}", n * 10 + 1),
                "startTime": text(start, 0), "endTime": text(start, 120), "input": {"q": "question"}}),
            ),
            with(
                3,
                json!({"type": "GENERATION", "name": "llm", "parentObservationId": format!("{:016}", n * 10 + 2),
                "startTime": text(start, 130), "endTime": text(start, 1000), "input": question, "output": answer,
                "model": "gpt-4o", "modelId": "b9854a5c92dc496b997d99d20",
                "inputPrice": 2.5e-6, "outputPrice": 1e-5,
                "usageDetails": {"input": 40, "output": 18, "total": 58},
                "costDetails": {"input": 0.0001, "output": 0.00018, "total": 0.00028},
                "usagePricingTierId": "tier", "usagePricingTierName": "Standard"}),
            ),
        ]);
    }
    Arc::new(langfuse)
}
