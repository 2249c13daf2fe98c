//! What the recordings do not show.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    super::{Clock, Endpoint, FakeLangfuse, Fault, RateLimit, Recorded, SentTrace, Version, When},
    Client,
};
use crate::ports::UpstreamReason;

fn noon() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-08-20T12:00:00Z").unwrap().to_utc()
}

/// An observation of session `call-1` that began so many seconds after noon.
fn span(id: &str, trace: &str, second: i64) -> Recorded {
    let start = noon() + TimeDelta::seconds(second);
    let end = start + TimeDelta::milliseconds(500);
    let line = json!({"id": id, "traceId": trace, "type": "SPAN", "name": "step", "sessionId": "call-1",
        "startTime": start, "endTime": end, "input": {"n": 1}, "output": "plain"});
    Recorded::read(&line.to_string()).unwrap()
}

fn server(version: Version) -> Arc<FakeLangfuse> {
    Arc::new(FakeLangfuse::with_clock(version, Clock::still_at(noon())))
}

fn ids(answer: &Value) -> Vec<&str> {
    let rows = answer["data"].as_array().unwrap();
    rows.iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn data_becomes_visible_when_the_clock_reaches_its_instant_and_newer_data_replaces_older() {
    let langfuse = server(Version::V4);
    langfuse.ingest([span("a", "t1", 0), span("b", "t1", 10)]);
    let mut later = span("a", "t1", 0);
    later.observation.name = "changed".to_owned();
    langfuse.ingest_at(noon() + TimeDelta::minutes(9), [later, span("late", "t1", 5)]);
    let client = Client::of(&langfuse).await;
    assert_eq!(ids(&client.get("/v2/observations").await.1), ["b", "a"]);
    langfuse.clock().advance(Duration::from_mins(9));
    let answer = client.get("/v2/observations").await.1;
    assert_eq!(ids(&answer), ["b", "late", "a"], "by start, not by arrival");
    assert_eq!(answer["data"][2]["name"], "changed");
    langfuse.ingest_unmerged([span("b", "t1", 10)]);
    assert_eq!(ids(&client.get("/v2/observations").await.1), ["b", "b", "late", "a"]);
}

#[tokio::test]
async fn a_cursor_visits_everything_once_while_offset_pages_shift() {
    let langfuse = server(Version::V4Dual);
    langfuse.ingest((0..7).map(|n| span(&format!("o{n}"), &format!("t{n}"), n)));
    let client = Client::of(&langfuse).await;
    let first = client.get("/v2/observations?limit=3").await.1;
    let page = client.get("/traces?limit=3&page=1").await.1;
    assert_eq!(ids(&page), ["t6", "t5", "t4"]);
    langfuse.ingest([span("newest", "t-newest", 60)]);
    let mut seen: Vec<String> = ids(&first).iter().map(ToString::to_string).collect();
    let mut cursor = first["meta"]["cursor"].as_str().map(str::to_owned);
    while let Some(at) = cursor {
        let answer = client.get(&format!("/v2/observations?limit=3&cursor={at}")).await.1;
        seen.extend(ids(&answer).iter().map(ToString::to_string));
        cursor = answer["meta"]["cursor"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, ["o6", "o5", "o4", "o3", "o2", "o1", "o0"]);
    let shifted = client.get("/traces?limit=3&page=2").await.1;
    assert_eq!(ids(&shifted), ["t4", "t3", "t2"], "t4 comes a second time");
}

#[tokio::test]
async fn a_filter_overrides_the_plain_parameters() {
    let langfuse = server(Version::V4);
    langfuse.ingest([span("a", "t1", 0), span("b", "t2", 10)]);
    let mut other = span("c", "t3", 20);
    other.observation.session_id = None;
    langfuse.ingest([other]);
    let client = Client::of(&langfuse).await;
    let condition = r#"[{"type":"string","column":"sessionId","operator":"=","value":"call-1"},
        {"type":"datetime","column":"startTime","operator":">=","value":"2026-08-20T12:00:00Z"},
        {"type":"datetime","column":"startTime","operator":"<","value":"2026-08-20T12:00:10Z"}]"#;
    let mut url = reqwest::Url::parse("http://x/").unwrap();
    url.query_pairs_mut().append_pair("filter", condition);
    let filter = url.query().unwrap();
    let answer = client
        .get(&format!("/v2/observations?sessionId=other&{filter}"))
        .await
        .1;
    assert_eq!(
        ids(&answer),
        ["a"],
        "from is inclusive, to is not, and sessionId=other is not looked at"
    );
    let answer = client.get("/v2/observations?traceId=t3&fields=core,basic,io").await.1;
    assert_eq!(answer["data"][0]["sessionId"], "");
    assert_eq!(answer["data"][0]["input"], "{\"n\":1}");
    let unknown = client
        .get("/v2/observations?filter=[{\"type\":\"string\",\"column\":\"nope\",\"operator\":\"=\",\"value\":\"x\"}]")
        .await;
    assert_eq!(unknown.0, 400);
}

#[tokio::test]
async fn each_release_has_the_reads_that_it_has_and_an_upgrade_changes_them() {
    let langfuse = server(Version::V2);
    langfuse.ingest([span("a", "t1", 0)]);
    let client = Client::of(&langfuse).await;
    let mut statuses = Vec::new();
    for version in Version::ALL {
        langfuse.switch_to(version);
        let mut row = vec![version.as_str().to_owned()];
        for path in [
            "/v2/observations",
            "/traces",
            "/traces/t1",
            "/sessions/call-1",
            "/scores",
            "/v2/scores",
            "/v3/scores",
        ] {
            row.push(client.get(path).await.0.to_string());
        }
        statuses.push(row.join(" "));
    }
    assert_eq!(
        statuses,
        [
            "v2 404 200 200 200 200 404 404",
            "v3 404 200 200 200 200 200 200",
            "v4-dual 200 200 200 200 200 200 200",
            "v4 200 404 404 404 404 404 200",
        ]
    );
    langfuse.switch_to(Version::V3);
    let (_, answer) = client.get("/v2/observations").await;
    assert_eq!(answer["error"], "LangfuseNotFoundError", "{answer}");
}

#[tokio::test]
async fn a_group_of_a_trace_that_was_not_asked_for_is_empty_or_minus_one() {
    let langfuse = server(Version::V3);
    langfuse.ingest([span("a", "t1", 0)]);
    langfuse.ingest_traces([SentTrace {
        id: "t1".to_owned(),
        timestamp: noon(),
        name: Some("turn".to_owned()),
        input: json!("hello"),
        ..SentTrace::default()
    }]);
    let client = Client::of(&langfuse).await;
    let trace = client.get("/traces?fields=core,io").await.1["data"][0].clone();
    assert_eq!(trace["input"], "hello");
    assert_eq!(trace["observations"], json!([]));
    assert_eq!((&trace["latency"], &trace["totalCost"]), (&json!(-1), &json!(-1)));
    let whole = client.get("/traces").await.1["data"][0].clone();
    assert_eq!(
        (&whole["observations"], &whole["latency"]),
        (&json!(["a"]), &json!(0.5))
    );
}

#[tokio::test]
async fn faults_come_as_scripted_where_and_for_as_long_as_scripted() {
    let langfuse = server(Version::V4);
    langfuse.ingest([span("a", "t1", 0)]);
    let client = Client::of(&langfuse).await;
    langfuse.fault(Fault::RateLimited(41), When::Next(1), None);
    langfuse.fault(Fault::RateLimitedPlain(7), When::Next(1), None);
    assert_eq!(client.get("/projects").await.0, 200, "exempt from rate limits");
    let limited = client.ask("/v2/observations").await.unwrap();
    let body: Value = serde_json::from_slice(&limited.body).unwrap();
    assert_eq!(
        (limited.status, limited.retry_after),
        (429, Some(Duration::from_secs(41)))
    );
    assert_eq!(
        (&body["code"], &body["details"]["retryAfterSeconds"]),
        (&json!("rate_limited"), &json!(41))
    );
    assert_eq!(
        client.ask("/v2/observations").await.unwrap().body,
        b"429 - rate limit exceeded"
    );
    assert_eq!(client.get("/v2/observations").await.0, 200);

    let outage = When::Between(noon() + TimeDelta::minutes(1), noon() + TimeDelta::minutes(2));
    langfuse.fault(Fault::Status(503), outage, Some(Endpoint::ObservationsV2));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push((client.get("/v2/observations").await.0, client.get("/v3/scores").await.0));
        langfuse.clock().advance(Duration::from_mins(1));
    }
    assert_eq!(statuses, [(200, 200), (503, 200), (200, 200)]);

    langfuse.fault(Fault::CutBody, When::Next(1), None);
    let error = client.ask("/v2/observations").await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::Unreachable, "{error}");
    langfuse.fault(Fault::CutJson, When::Next(1), None);
    let cut = client.ask("/v2/observations").await.unwrap();
    assert!(serde_json::from_slice::<Value>(&cut.body).is_err());
    langfuse.fault(Fault::Html(502), When::Always, None);
    assert!(client.ask("/v2/observations").await.unwrap().is_html());
    langfuse.heal();
    assert_eq!(client.get("/v2/observations").await.0, 200);
    langfuse.refuse_above(Some(0));
    assert_eq!(client.get("/v2/observations").await.0, 422);
    assert_eq!(langfuse.count(Endpoint::ObservationsV2), 11);
}

#[tokio::test]
async fn a_server_that_hangs_answers_when_it_stops_and_its_request_is_logged() {
    let langfuse = server(Version::V4);
    langfuse.fault(Fault::Hang, When::Always, None);
    let Client { server, client } = Client::of(&langfuse).await;
    let request = tokio::spawn(client.get(format!("{}/api/public/health", server.url())).send());
    while langfuse.count(Endpoint::Health) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!request.is_finished());
    server.stop().await;
    assert_eq!(request.await.unwrap().unwrap().status(), 503);
    assert_eq!(langfuse.requests()[0].status, 0);
}

#[tokio::test]
async fn of_thirty_requests_a_minute_the_thirtieth_is_refused_and_old_reads_have_a_limit_of_their_own() {
    let langfuse = server(Version::V4Dual);
    langfuse.limit_rate(Some(RateLimit::HOBBY));
    let client = Client::of(&langfuse).await;
    for request in 1..=30 {
        let status = client.get("/v2/observations").await.0;
        assert_eq!(status, if request < 30 { 200 } else { 429 }, "request {request}");
        langfuse.clock().advance(Duration::from_secs(1));
    }
    let limited = client.ask("/v2/observations?limit=abc").await.unwrap();
    assert_eq!(
        (limited.status, limited.retry_after),
        (429, Some(Duration::from_secs(30)))
    );
    assert_eq!(client.get("/projects").await.0, 200);
    let (status, body) = client.get("/traces").await;
    assert_eq!(status, 200, "{body}");
    langfuse.clock().advance(Duration::from_secs(30));
    assert_eq!(client.get("/v2/observations").await.0, 200, "the next window");
}

#[tokio::test]
async fn a_score_is_upserted_by_id_dropped_silently_or_late() {
    let langfuse = server(Version::V4);
    let client = Client::of(&langfuse).await;
    langfuse.delay_scores(Duration::from_secs(5));
    let score = json!({"id": "s", "sessionId": "call/1", "name": "fulfilment", "value": "not_fulfilled"});
    assert_eq!(client.post("/scores", &score).await, (200, json!({"id": "s"})));
    assert_eq!(ids(&client.get("/v3/scores?id=s").await.1), [""; 0]);
    langfuse.clock().advance(Duration::from_secs(5));
    let mut again = score.clone();
    again["value"] = json!("fulfilled");
    client.post("/scores", &again).await;
    let answer = client.get("/v3/scores?id=s&fields=subject,details").await.1;
    assert_eq!(answer["data"][0]["value"], "fulfilled");
    assert_eq!(answer["data"][0]["subject"], json!({"kind": "session", "id": "call/1"}));
    assert_eq!(client.get("/v3/scores?sessionId=a&traceId=b").await.0, 400);
    langfuse.drop_scores("unknown");
    again["name"] = json!("unknown");
    assert_eq!(client.post("/scores", &again).await.0, 200);
    let kept = langfuse.scores();
    assert_eq!((kept.len(), kept[0].writes), (1, 2));
    langfuse.switch_to(Version::V2);
    assert_eq!(client.post("/scores", &score).await.0, 400, "v2 scores traces only");
}
