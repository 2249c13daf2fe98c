//! Every error is a problem with a stable code, and says what to do next.

use std::fs;

use futures::{StreamExt as _, stream};
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::world::{Answer, Served};
use crate::on_each_engine;

on_each_engine! {
    a_question_that_does_not_fit_is_told_what_does_not,
    a_write_that_does_not_fit_is_told_what_does_not,
    a_body_has_to_be_json_to_say_so_and_to_be_small,
    who_asks_too_often_is_told_to_wait_and_nobody_else_is,
}

async fn a_question_that_does_not_fit_is_told_what_does_not() {
    let served = Served::start().await;
    let nobody = "01a21481-1315-70a7-8e7d-6802d688d648";
    for (path, status, code) in [
        ("/nosuch", 404, "unknown_route"),
        ("/queues/nosuch", 404, "unknown_queue"),
        (&format!("/jobs/{nobody}") as &str, 404, "unknown_job"),
        ("/sessions/calls/nosuch", 404, "unknown_session"),
        ("/sessions/nosuch/s-1", 404, "unknown_session"),
        ("/jobs/1", 422, "bad_path"),
        ("/queues/%ff", 422, "bad_path"),
        ("/jobs?limit=0", 422, "bad_query"),
        ("/jobs?limit=501", 422, "bad_query"),
        ("/jobs?limit=-1", 422, "bad_query"),
        ("/jobs?limit=many", 422, "bad_query"),
        ("/jobs?state=nosuch", 422, "bad_query"),
        ("/jobs?quueue=x", 422, "bad_query"),
        ("/jobs?queue=a&queue=b", 422, "bad_query"),
        ("/sessions?status=fail,nosuch", 422, "bad_query"),
        ("/sessions?since=yesterday", 422, "bad_query"),
        ("/coverage?cycles=101", 422, "bad_query"),
        ("/audit?after=x", 400, "bad_cursor"),
    ] {
        let answer = served.get(path).await;
        answer.is_problem(status, code);
    }
    let method = Answer::of(served.ask(Method::PATCH, "/queues")).await;
    method.is_problem(405, "method_not_allowed");
    assert_eq!(method.header("allow"), "GET, HEAD");
    served.stop().await;
}

async fn a_write_that_does_not_fit_is_told_what_does_not() {
    let served = Served::start().await;
    let nobody = "01a21481-1315-70a7-8e7d-6802d688d648";
    for (path, body, status, code) in [
        ("/queues/nosuch/pause", json!({"reason": "x"}), 404, "unknown_queue"),
        ("/queues/nosuch/resume", json!({}), 404, "unknown_queue"),
        ("/gates/nosuch/open", json!({}), 404, "unknown_gate"),
        ("/gates/records:till/open", json!({}), 409, "gate_not_shut"),
        ("/gates/nosuch/close", json!({"reason": "x"}), 404, "unknown_gate"),
        ("/sources/nosuch/discover", json!({}), 404, "unknown_source"),
        ("/sessions/calls/nosuch/reprocess", json!({}), 404, "unknown_session"),
        (&format!("/jobs/{nobody}/retry"), json!({}), 404, "unknown_job"),
        (&format!("/jobs/{nobody}/cancel"), json!({}), 404, "unknown_job"),
        ("/queues/reconcile/pause", json!({}), 422, "bad_body"),
        ("/queues/reconcile/pause", json!({"reason": ""}), 422, "bad_body"),
        (
            "/queues/reconcile/pause",
            json!({"reason": "x".repeat(501)}),
            422,
            "bad_body",
        ),
        (
            "/queues/reconcile/pause",
            json!({"reason": "x", "why": "y"}),
            422,
            "bad_body",
        ),
        ("/queues/reconcile/pause", json!(["x"]), 422, "bad_body"),
        ("/queues/reconcile/resume", json!([]), 422, "bad_body"),
        ("/queues/reconcile/resume", json!({"reason": "x"}), 422, "bad_body"),
        ("/queues/reconcile/resume", Value::Null, 422, "bad_body"),
        ("/tokens", json!({"name": "a b"}), 422, "bad_body"),
        ("/tokens", json!({"name": "x", "scope": "root"}), 422, "bad_body"),
        ("/tokens", json!({"name": "x", "expires_in_days": 0}), 422, "bad_body"),
        ("/tokens", json!({"name": "x", "expires_in_days": 1.5}), 422, "bad_body"),
        ("/tokens", json!({"name": "operator"}), 409, "name_taken"),
    ] {
        served.post(path, body).await.is_problem(status, code);
    }
    for limit in [
        json!(0),
        json!(10_001),
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(1e300),
        Value::Null,
    ] {
        let body = json!({"max_running": limit});
        let answer = Answer::of(served.ask(Method::PUT, "/limits/verify_session%2Fkitchen").json(&body)).await;
        answer.is_problem(422, "bad_body");
    }
    let limit = served
        .ask(Method::PUT, "/limits/nosuch")
        .json(&json!({"max_running": 1}));
    Answer::of(limit).await.is_problem(404, "unknown_limit");
    Answer::of(served.ask(Method::DELETE, "/tokens/nosuch"))
        .await
        .is_problem(404, "unknown_token");
    served.stop().await;
}

async fn a_body_has_to_be_json_to_say_so_and_to_be_small() {
    let served = Served::start().await;
    let pause = || served.ask(Method::POST, "/queues/reconcile/pause");
    Answer::of(pause().body("{\"reason\": \"x\"}"))
        .await
        .is_problem(415, "not_json");
    for other in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        let request = pause().header(CONTENT_TYPE, other).body("{\"reason\": \"x\"}");
        Answer::of(request).await.is_problem(415, "not_json");
    }
    let with_charset = pause()
        .header(CONTENT_TYPE, "application/json; charset=utf-8")
        .body("{\"reason\": \"x\"}");
    Answer::of(with_charset).await.is(200);
    let delete = served.ask(Method::DELETE, "/tokens/nosuch").body("x");
    Answer::of(delete).await.is_problem(415, "not_json");
    for broken in [
        "",
        "{",
        "{\"reason\": \"x\"",
        "{\"reason\": \"x\"} {}",
        "nonsense",
        &"[".repeat(1_000),
    ] {
        let request = pause().header(CONTENT_TYPE, "application/json").body(broken.to_owned());
        Answer::of(request).await.is_problem(422, "bad_body");
    }
    let large = json!({"reason": "x".repeat(1_000_000)});
    served
        .post("/queues/reconcile/pause", large)
        .await
        .is_problem(413, "too_large");
    served.stop().await;
}

async fn who_asks_too_often_is_told_to_wait_and_nobody_else_is() {
    let served = Served::start().await;
    let usual = served.get("/gates").await;
    assert_eq!(usual.header("ratelimit-limit"), "100", "{usual}");
    // Far more than a burst and what refills meanwhile.
    let many = async |path: &str| {
        let asked = (0..800).map(|_| served.get(path));
        stream::iter(asked).buffer_unordered(16).collect::<Vec<Answer>>().await
    };
    let asked = many("/nosuch").await;
    assert!(
        asked.iter().all(|answer| answer.status == 404),
        "what is not there costs nothing"
    );
    let asked = many("/jobs/x").await;
    let (mut let_in, mut refused) = (0, 0);
    for answer in asked {
        match answer.status {
            429 => {
                answer.is_problem(429, "too_many_requests");
                assert_eq!(
                    (answer.header("retry-after"), answer.header("ratelimit-remaining")),
                    ("1", "0"),
                    "{answer}"
                );
                refused += 1;
            }
            503 => answer.is_problem(503, "too_busy"),
            _ => {
                answer.is_problem(422, "bad_path");
                let_in += 1;
            }
        }
    }
    assert!(let_in > 0 && refused > 0, "{let_in} were let in, {refused} refused");
    let other = served.bare(Method::GET, "/gates").bearer_auth(&served.read);
    Answer::of(other).await.is(200);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_is_said_and_so_is_when_to_come_back() {
    let served = Served::start().await;
    let moved = |away: bool| {
        for name in ["aftercall.db", "aftercall.db-wal", "aftercall.db-shm"] {
            let (here, there) = (served.world.path(name), served.world.path(&format!("{name}.away")));
            let (from, to) = if away { (here, there) } else { (there, here) };
            if from.exists() {
                fs::rename(from, to).unwrap();
            }
        }
    };
    served.get("/gates").await.is(200);
    moved(true);
    let answer = served.post("/queues/reconcile/pause", json!({"reason": "x"})).await;
    assert_eq!(answer.status, 503, "{answer}\n{}", served.api.err());
    answer.is_problem(503, "database_unavailable");
    assert_eq!(answer.header("retry-after"), "5", "{answer}");
    assert!(
        !answer.text.contains("aftercall.db"),
        "where it is stays in the log: {answer}"
    );
    moved(false);
    served
        .post("/queues/reconcile/pause", json!({"reason": "x"}))
        .await
        .is(200);
    served.stop().await;
}
