//! Every change does what the command line does, in the name of the token.

use aftercall::{
    jobs::DiscoverSessions,
    queue::{self, Enqueued},
};
use reqwest::Method;
use serde_json::json;

use super::world::{Answer, Served};
use crate::on_each_engine;

on_each_engine! {
    every_change_is_made_and_stands_in_the_audit_log_under_the_tokens_name,
    a_change_that_does_not_fit_changes_nothing_and_is_not_in_the_audit_log,
}

async fn every_change_is_made_and_stands_in_the_audit_log_under_the_tokens_name() {
    let served = Served::start().await;
    let queue = async |name: &str| served.get(&format!("/queues/{name}")).await.is(200);
    let paused = served
        .post("/queues/verify_session/pause", json!({"reason": "maintenance"}))
        .await;
    assert_eq!(paused.is(200), json!({"queue": "verify_session", "paused": true}));
    let pause = &queue("verify_session").await["paused"];
    assert_eq!(
        (&pause["by"], &pause["reason"]),
        (&json!("operator"), &json!("maintenance"))
    );
    served.post("/queues/verify_session/resume", json!({})).await.is(200);
    assert!(queue("verify_session").await["paused"].is_null());

    let limit = served
        .ask(Method::PUT, "/limits/verify_session%2Fkitchen")
        .json(&json!({"max_running": 3.0}));
    let limit = Answer::of(limit).await.is(200);
    assert_eq!(limit, json!({"key": "verify_session/kitchen", "max_running": 3}));
    let limits = queue("verify_session").await["limits"].clone();
    let kitchen = limits
        .as_array()
        .unwrap()
        .iter()
        .find(|limit| limit["key"] == "verify_session/kitchen")
        .unwrap();
    assert_eq!((&kitchen["max_running"], &kitchen["pinned"]), (&json!(3), &json!(true)));

    let closed = served
        .post("/gates/llm:default%2Fcalls/close", json!({"reason": "too expensive"}))
        .await;
    assert_eq!(closed.is(200), json!({"gate": "llm:default/calls", "result": "closed"}));
    let gates = served.get("/gates").await.is(200);
    let gate = gates["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|gate| gate["key"] == "llm:default/calls")
        .unwrap();
    assert_eq!(
        (&gate["state"], &gate["reason"]),
        (&json!("closed"), &json!("closed_by_hand"))
    );
    assert!(gate["detail"].as_str().unwrap().contains("operator"), "{gate}");
    let opened = served.post("/gates/llm:default%2Fcalls/open", json!({})).await.is(200);
    assert_eq!(opened["result"], "open");

    let scan = served.post("/sources/calls/discover", json!({})).await.is(202);
    let again = served.post("/sources/calls/discover", json!({})).await.is(202);
    assert_eq!(
        (&scan["new"], &again["new"], &scan["job"]),
        (&json!(true), &json!(false), &again["job"])
    );
    let job = scan["job"].as_str().unwrap();
    let cancelled = served.post(&format!("/jobs/{job}/cancel"), json!({})).await.is(200);
    assert_eq!(cancelled, json!({"job": job, "result": "cancelled"}));
    let retried = served.post(&format!("/jobs/{job}/retry"), json!({})).await.is(200);
    assert_eq!(retried["result"], "runs_now");
    assert_eq!(served.get(&format!("/jobs/{job}")).await.is(200)["state"], "available");

    let actions: Vec<String> = served
        .audit()
        .await
        .into_iter()
        .filter(|[actor, ..]| actor == "operator")
        .map(|[_, action, subject]| format!("{action} {subject}"))
        .rev()
        .collect();
    assert_eq!(
        actions,
        [
            "pause verify_session",
            "resume verify_session",
            "set_limit verify_session/kitchen",
            "close_gate llm:default/calls",
            "open_gate llm:default/calls",
            "discover calls",
            "discover calls",
            &format!("cancel_job {job}"),
            &format!("retry_job {job}"),
        ]
    );
    served.stop().await;
}

async fn a_change_that_does_not_fit_changes_nothing_and_is_not_in_the_audit_log() {
    let served = Served::start().await;
    let enqueue = async || {
        let mut tx = served.db.begin().await.unwrap();
        let job = DiscoverSessions {
            source: "made-up".to_owned(),
        };
        let enqueued = queue::enqueue(&mut tx, &job).await.unwrap();
        tx.commit().await.unwrap();
        enqueued
    };
    let Enqueued::New(first) = enqueue().await else {
        panic!("there was none")
    };
    served.post(&format!("/jobs/{first}/cancel"), json!({})).await.is(200);
    let before = served.audit().await;
    served
        .post(&format!("/jobs/{first}/cancel"), json!({}))
        .await
        .is_problem(409, "job_ended");
    let twin = enqueue().await.id();
    let refused = served.post(&format!("/jobs/{first}/retry"), json!({})).await;
    refused.is_problem(409, "job_has_twin");
    assert!(refused.text.contains(&twin.to_string()), "{refused}");
    assert_eq!(
        served.get(&format!("/jobs/{first}")).await.is(200)["state"],
        "cancelled"
    );
    assert_eq!(served.audit().await, before);
    served.stop().await;
}
