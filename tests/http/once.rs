//! Writes with an `Idempotency-Key` are done once, and answers that a client has are not sent again.

use std::time::Duration;

use aftercall::{params, store::retention};
use futures::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::world::{Answer, Served};
use crate::{on_each_engine, support::state::count};

on_each_engine! {
    a_write_that_is_sent_again_is_done_once_and_answered_the_same,
    many_at_once_with_one_key_are_one,
    a_key_of_a_process_that_died_is_taken_over_and_an_old_one_is_forgotten,
    an_answer_that_the_client_has_is_not_sent_again,
}

fn keyed(served: &Served, path: &str, key: &str, body: &Value) -> RequestBuilder {
    served.ask(Method::POST, path).header("idempotency-key", key).json(body)
}

async fn a_write_that_is_sent_again_is_done_once_and_answered_the_same() {
    let served = Served::start().await;
    let path = "/queues/verify_session/pause";
    let body = json!({"reason": "maintenance"});
    let first = Answer::of(keyed(&served, path, "k-1", &body)).await;
    let again = Answer::of(keyed(&served, path, "k-1", &body)).await;
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    assert_eq!(
        (
            first.header("idempotency-replayed"),
            again.header("idempotency-replayed")
        ),
        ("", "true")
    );
    assert_eq!(again.header("content-type"), "application/json");
    let pauses = async || {
        served
            .audit()
            .await
            .iter()
            .filter(|[_, action, _]| action == "pause")
            .count()
    };
    assert_eq!(pauses().await, 1);

    let other = json!({"reason": "another"});
    Answer::of(keyed(&served, path, "k-1", &other))
        .await
        .is_problem(422, "idempotency_key_reused");
    Answer::of(keyed(&served, "/queues/reconcile/pause", "k-1", &body))
        .await
        .is_problem(422, "idempotency_key_reused");
    assert_eq!(pauses().await, 1);
    // The same key of another is another key.
    let made = served
        .post("/tokens", json!({"name": "second", "scope": "operate"}))
        .await
        .is(201);
    let second = served
        .bare(Method::POST, path)
        .bearer_auth(made["token"].as_str().unwrap());
    Answer::of(second.header("idempotency-key", "k-1").json(&other))
        .await
        .is(200);
    assert_eq!(pauses().await, 2);

    // What did not work is answered the same, too, also when it would work by now.
    let unknown = Answer::of(keyed(&served, "/queues/nosuch/resume", "k-2", &json!({}))).await;
    unknown.is_problem(404, "unknown_queue");
    let again = Answer::of(keyed(&served, "/queues/nosuch/resume", "k-2", &json!({}))).await;
    again.is_problem(404, "unknown_queue");
    assert_eq!(
        (again.text.as_str(), again.header("idempotency-replayed")),
        (unknown.text.as_str(), "true")
    );
    for bad in ["", " ", "a b", "é", &"k".repeat(256)] {
        Answer::of(keyed(&served, path, bad, &body))
            .await
            .is_problem(422, "bad_idempotency_key");
    }
    served.stop().await;
}

async fn many_at_once_with_one_key_are_one() {
    let served = Served::start().await;
    let body = json!({"name": "made-once"});
    let answers = join_all((0..12).map(|_| Answer::of(keyed(&served, "/tokens", "many", &body)))).await;
    let shown: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.text.contains("aftercall_"))
        .collect();
    assert_eq!(shown.len(), 1, "it is shown once");
    for answer in &answers {
        match answer.status {
            201 => assert_eq!(answer.json()["id"], shown[0].json()["id"], "{answer}"),
            409 => {
                answer.is_problem(409, "request_under_way");
                assert!(!answer.header("retry-after").is_empty(), "{answer}");
            }
            _ => panic!("{answer}"),
        }
    }
    let again = Answer::of(keyed(&served, "/tokens", "many", &body)).await.is(201);
    assert_eq!(again["token"], Value::Null);
    assert_eq!(
        count(
            &served.db,
            "SELECT COUNT(*) AS n FROM api_tokens WHERE name = 'made-once'"
        )
        .await,
        1
    );
    served.stop().await;
}

async fn a_key_of_a_process_that_died_is_taken_over_and_an_old_one_is_forgotten() {
    let served = Served::start().await;
    let path = "/sources/calls/discover";
    let first = Answer::of(keyed(&served, path, "k", &json!({}))).await.is(202);
    // As if its process had died before it was answered.
    let change = async |sql: &'static str, age: chrono::TimeDelta| {
        let mut tx = served.db.begin().await.unwrap();
        let at = tx.now().await.unwrap() - age;
        tx.execute(sql, &params![at]).await.unwrap();
        tx.commit().await.unwrap();
    };
    let unanswered = "-- x\nUPDATE api_idempotency SET status = NULL, answer = NULL, claimed_at = $1";
    change(unanswered, chrono::TimeDelta::seconds(5)).await;
    Answer::of(keyed(&served, path, "k", &json!({})))
        .await
        .is_problem(409, "request_under_way");
    change(unanswered, chrono::TimeDelta::minutes(2)).await;
    Answer::of(keyed(&served, path, "k", &json!({}))).await.is(202);
    let replayed = Answer::of(keyed(&served, path, "k", &json!({}))).await;
    assert_eq!(replayed.header("idempotency-replayed"), "true", "{replayed}");
    assert!(first["new"].is_boolean());

    let ages = retention::Ages {
        finished_jobs: Duration::from_hours(1_000),
        snapshots: Duration::from_hours(1_000),
    };
    let kept = "SELECT COUNT(*) AS n FROM api_idempotency";
    change(
        "-- x\nUPDATE api_idempotency SET claimed_at = $1",
        chrono::TimeDelta::hours(23),
    )
    .await;
    while retention::prune_batch(&served.db, &ages).await.unwrap() > 0 {}
    assert_eq!(count(&served.db, kept).await, 1);
    change(
        "-- x\nUPDATE api_idempotency SET claimed_at = $1",
        chrono::TimeDelta::hours(25),
    )
    .await;
    // Forgotten: it may come with another request.
    Answer::of(keyed(&served, "/queues/reconcile/resume", "k", &json!({})))
        .await
        .is(200);
    change(
        "-- x\nUPDATE api_idempotency SET claimed_at = $1",
        chrono::TimeDelta::hours(25),
    )
    .await;
    while retention::prune_batch(&served.db, &ages).await.unwrap() > 0 {}
    assert_eq!(count(&served.db, kept).await, 0);
    served.stop().await;
}

async fn an_answer_that_the_client_has_is_not_sent_again() {
    let served = Served::start().await;
    for path in ["/sessions", "/gates", "/coverage", "/openapi.json", "/docs"] {
        let first = served.get(path).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.len() > 20, "{path}: {first}");
        for named in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let request = served.ask(Method::GET, path).header("if-none-match", named);
            let known = Answer::of(request).await;
            assert_eq!(
                (known.status, known.text.as_str(), known.header("etag")),
                (304, "", tag.as_str()),
                "{path}"
            );
            known.is_protected();
        }
        let other = Answer::of(served.ask(Method::GET, path).header("if-none-match", "\"other\"")).await;
        assert_eq!((other.status, other.text), (200, first.text), "{path}");
    }
    let before = served.get("/gates").await;
    let closed = served.post("/gates/source:calls/close", json!({"reason": "x"})).await;
    closed.is(200);
    let request = served
        .ask(Method::GET, "/gates")
        .header("if-none-match", before.header("etag"));
    let changed = Answer::of(request).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert_ne!(changed.header("etag"), before.header("etag"));
    let head = Answer::of(served.ask(Method::HEAD, "/gates")).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""), "{head}");
    assert_eq!(head.header("etag"), changed.header("etag"));
    served.stop().await;
}
