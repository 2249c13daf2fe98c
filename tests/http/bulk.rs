//! What is done to many: shown first, then called for, and done by a worker.

use aftercall::{
    jobs::DiscoverSessions,
    queue::{self, Enqueued},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{ODD, Served};
use crate::{
    on_each_engine,
    support::{child::Child, until},
};

on_each_engine! {
    many_jobs_are_shown_first_and_changed_by_a_worker,
    a_filter_that_says_nothing_or_is_written_wrong_changes_nothing,
    jobs_are_listed_by_what_their_arguments_hold_and_by_their_attempts,
    sessions_are_judged_again_by_filter,
    a_retried_job_calls_for_its_session_anew_where_that_had_ended_with_it,
}

const OPERATIONS: &str = "/operations";

async fn scan(served: &Served, source: &str) -> Uuid {
    let mut tx = served.db.begin().await.unwrap();
    let job = DiscoverSessions {
        source: source.to_owned(),
    };
    let Enqueued::New(id) = queue::enqueue(&mut tx, &job).await.unwrap() else {
        panic!("{source} is scanned already");
    };
    tx.commit().await.unwrap();
    id
}

/// A worker that does nothing but what is called for in bulk.
fn worker(served: &Served) -> Child {
    Child::start(&served.world, &["worker", "--queues", "apply_operation"], &[])
}

/// The operation, when it has ended.
async fn done(served: &Served, called: &Value) -> Value {
    let path = format!("{OPERATIONS}/{}", called["operation"].as_str().unwrap());
    until("the operation is done", async || {
        served.get(&path).await.is(200)["state"] == "done"
    })
    .await;
    served.get(&path).await.is(200)
}

/// Works until nothing is left to do.
async fn worked(served: &Served) {
    let ended = Child::start(&served.world, &["run", "--until-idle", "--max-wait", "60s"], &[])
        .ended()
        .await;
    assert!(ended.status.success(), "{ended}");
}

async fn many_jobs_are_shown_first_and_changed_by_a_worker() {
    let served = Served::start().await;
    let ids = [scan(&served, "made-up-1").await, scan(&served, "made-up-2").await];
    let state = async |id: Uuid| served.get(&format!("/jobs/{id}")).await.is(200);
    let filter = json!({"queue": "discover_sessions", "key": "made-up", "state": "available"});
    let call = async |verb: &str, more: Value| {
        let mut body = json!({"filter": filter});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        served.post(&format!("{OPERATIONS}/{verb}"), body).await
    };

    let shown = call("reprioritise", json!({"priority": -5})).await.is(200);
    assert_eq!((&shown["matched"], &shown["acted"]), (&json!(2), &json!(false)));
    let sample: Vec<&Value> = shown["sample"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["id"])
        .collect();
    assert_eq!(sample, [&json!(ids[1]), &json!(ids[0])]);
    assert_eq!(state(ids[0]).await["priority"], 0);

    let worker = worker(&served);
    let called = call("reprioritise", json!({"priority": -5, "act": true})).await.is(202);
    assert_eq!(called["matched"], 2);
    assert_eq!(done(&served, &called).await["done"], 2);
    let to = json!({"to": {"run_at": "2999-01-01T00:00:00Z"}, "act": true});
    let moved = call("move", to).await.is(202);
    assert_eq!(done(&served, &moved).await["done"], 2);
    let job = state(ids[0]).await;
    assert_eq!((&job["priority"], &job["state"]), (&json!(-5), &json!("scheduled")));

    let reason = "nobody reads them";
    let nothing = call("discard", json!({"reason": reason, "act": true})).await.is(202);
    assert_eq!(nothing["matched"], 0, "what was moved waits for its time");
    let by_id = json!({"filter": {"ids": ids}, "reason": reason, "act": true});
    let discarded = served.post(&format!("{OPERATIONS}/discard"), by_id).await.is(202);
    let discard = done(&served, &discarded).await;
    assert_eq!((&discard["done"], &discard["reason"]), (&json!(2), &json!(reason)));
    let job = state(ids[0]).await;
    assert_eq!(job["state"], "discarded");
    let told = job["last_error"].as_str().unwrap();
    assert!(told.contains(reason) && told.contains("operator"), "{job}");
    let audit = served.audit().await;
    let id = discarded["operation"].as_str().unwrap();
    assert!(
        audit.contains(&["operator".to_owned(), "discard".to_owned(), id.to_owned()]),
        "{audit:?}"
    );

    let deleted = json!({"filter": {"ids": ids, "state": "discarded"}, "act": true});
    let deleted = served.post(&format!("{OPERATIONS}/delete"), deleted).await.is(202);
    done(&served, &deleted).await;
    served
        .get(&format!("/jobs/{}", ids[0]))
        .await
        .is_problem(404, "unknown_job");
    worker.signal(Signal::TERM);
    let ended = worker.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
    served.stop().await;
}

async fn a_filter_that_says_nothing_or_is_written_wrong_changes_nothing() {
    let served = Served::start().await;
    let operations = async || served.get(OPERATIONS).await.is(200);
    let before = (served.audit().await, operations().await);
    for body in [
        json!({"filter": {}, "act": true}),
        json!({"act": true}),
        json!({"filter": {"queue": null}, "act": true}),
        json!({"filter": {"key": ""}, "act": true}),
        json!({"filter": {"ids": []}, "act": true}),
        json!({"filter": {"ids": ["x"]}, "act": true}),
        json!({"filter": {"queues": "reconcile"}, "act": true}),
        json!({"filter": {"state": "gone"}, "act": true}),
        json!({"filter": {"arg": {"path": "$.x'", "value": ""}}, "act": true}),
        json!({"filter": {"queue": "reconcile"}, "act": "yes"}),
        json!({"filter": {"queue": "reconcile"}, "reason": "", "act": true}),
    ] {
        served
            .post(&format!("{OPERATIONS}/cancel"), body)
            .await
            .is_problem(422, "bad_body");
    }
    for (verb, body) in [
        ("move", json!({"filter": {"queue": "reconcile"}, "to": {}, "act": true})),
        ("move", json!({"filter": {"queue": "reconcile"}, "act": true})),
        (
            "reprioritise",
            json!({"filter": {"queue": "reconcile"}, "priority": 1.5, "act": true}),
        ),
        ("reprocess", json!({"filter": {"status": []}, "act": true})),
        ("reprocess", json!({"filter": {"status": ["good"]}, "act": true})),
    ] {
        served
            .post(&format!("{OPERATIONS}/{verb}"), body)
            .await
            .is_problem(422, "bad_body");
    }
    served
        .get(&format!("{OPERATIONS}/cancel"))
        .await
        .is_problem(405, "method_not_allowed");
    assert_eq!((served.audit().await, operations().await), before);
    served.stop().await;
}

async fn jobs_are_listed_by_what_their_arguments_hold_and_by_their_attempts() {
    let served = Served::start().await;
    let id = scan(&served, "made-up").await;
    let listed = async |query: &str| {
        let jobs = served.get(&format!("/jobs?{query}")).await.is(200);
        let jobs = jobs["items"].as_array().unwrap().clone();
        jobs.into_iter().map(|job| job["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed("arg=source%3Dmade-up").await, [json!(id)]);
    assert_eq!(listed("arg=source%3Dmade").await, [Value::Null; 0]);
    assert!(!listed("attempts=1&limit=500").await.contains(&json!(id)));
    assert!(listed("attempts=0&limit=500").await.contains(&json!(id)));
    for query in ["arg=source", "arg=so%20urce%3Dx", "attempts=-1", "attempts=1000001"] {
        served.get(&format!("/jobs?{query}")).await.is_problem(422, "bad_query");
    }
    served.stop().await;
}

async fn sessions_are_judged_again_by_filter() {
    let served = Served::start().await;
    let filter = json!({"source": "calls", "id_contains": "é"});
    let shown = served
        .post(&format!("{OPERATIONS}/reprocess"), json!({"filter": filter}))
        .await
        .is(200);
    assert_eq!((&shown["matched"], &shown["acted"]), (&json!(1), &json!(false)));
    assert_eq!(shown["sample"][0]["session_id"], ODD);
    let act = json!({"filter": filter, "act": true});
    served.post(&format!("{OPERATIONS}/reprocess"), act).await.is(202);
    worked(&served).await;
    let session = served.get("/sessions/calls/c%2F%C3%A9%20100%25").await.is(200);
    assert_eq!((&session["generation"], &session["state"]), (&json!(2), &json!("done")));
    served.stop().await;
}

async fn a_retried_job_calls_for_its_session_anew_where_that_had_ended_with_it() {
    let served = Served::start().await;
    let path = "/sessions/calls/c%2F%C3%A9%20100%25";
    let session = async || served.get(path).await.is(200);
    served.post(&format!("{path}/reprocess"), json!({})).await.is(202);
    let jobs = served.get("/jobs?queue=analyze_session&state=available").await.is(200);
    let job = jobs["items"][0]["id"].clone();
    let worker = worker(&served);
    let discard = json!({"filter": {"ids": [job]}, "reason": "bad tenant", "act": true});
    let discard = served.post(&format!("{OPERATIONS}/discard"), discard).await.is(202);
    assert_eq!(done(&served, &discard).await["done"], 1);
    worker.signal(Signal::TERM);
    worker.ended().await;
    assert_eq!(session().await["status"], "error");

    let retried = served
        .post(&format!("/jobs/{}/retry", job.as_str().unwrap()), json!({}))
        .await
        .is(200);
    assert_eq!(retried["result"], "called_anew");
    assert_eq!(session().await["generation"], 3);
    worked(&served).await;
    assert_eq!(session().await["state"], "done");
    assert_ne!(session().await["status"], "error");
    served.stop().await;
}
