//! Systems of record in trouble: never "not found", never a burnt attempt, and the right verdict once it is over.

use aftercall::sandbox::records::Fault;

use crate::{
    on_each_engine,
    support::{
        bakery::{ordered, vanished},
        state::{broken_promises, count, verdict, waiting},
        until,
        world::{Plan, idle},
    },
};

on_each_engine! {
    a_system_that_answers_errors_is_waited_for,
    a_system_that_answers_a_page_or_broken_json_is_waited_for,
    a_404_that_somebody_else_sends_is_waited_for,
    a_system_that_never_answers_is_waited_for,
    a_system_that_is_not_there_is_waited_for,
    a_record_that_is_not_there_is_missing_only_after_all_looks,
    one_system_in_trouble_does_not_hold_up_another,
}

/// While the kitchen is in this trouble its session waits with a reason that a person can read, and passes once it is over.
async fn waits_out(what: &str, reason: &str, fault: Fault) {
    let world = Plan::of(&[ordered("s-1")])
        .set("records", "timeout", "'300ms'")
        .start()
        .await;
    world.records.fail("", fault, u64::MAX);
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until(
        "the session waits for the kitchen, not for the first time",
        async || {
            let waits = waiting(&db).await;
            waits
                .iter()
                .any(|(_, why)| why.starts_with("records:kitchen is not available") && why.contains(reason))
                && count(&db, "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome = 'snoozed'").await >= 3
        },
    )
    .await;
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await,
        0,
        "{what}: an outage is no verdict"
    );
    let waits = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'verify_session' AND state IN ('scheduled', 'available', 'running')
        AND attempt <= 1 AND snoozes + outages >= 2";
    assert_eq!(count(&db, waits).await, 1, "{what}");
    world.records.fail("", Fault::Html, 0);
    idle(&pipeline).await;
    pipeline.shutdown().await;

    assert_eq!(verdict(&db, "s-1").await.0, "pass", "{what}");
    assert_eq!(
        count(&db, "SELECT MAX(attempt) AS n FROM jobs").await,
        1,
        "{what}: no attempt is burnt"
    );
    let others = "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome NOT IN ('snoozed', 'completed')";
    assert_eq!(count(&db, others).await, 0, "{what}");
    assert_eq!(broken_promises(&db).await, Vec::<String>::new(), "{what}");
}

async fn a_system_that_answers_errors_is_waited_for() {
    waits_out("500", "status 500", Fault::Status(500)).await;
    waits_out("503", "status 503", Fault::Status(503)).await;
    waits_out("401", "auth_invalid", Fault::Status(401)).await;
    waits_out("429", "rate_limited", Fault::RetryAfter(429, 0)).await;
}

async fn a_system_that_answers_a_page_or_broken_json_is_waited_for() {
    waits_out("html", "HTML page", Fault::Html).await;
    waits_out(
        "cut",
        "not complete JSON",
        Fault::Body(200, "application/json", "{\"id\": \"o-".to_owned()),
    )
    .await;
}

async fn a_404_that_somebody_else_sends_is_waited_for() {
    for (what, media_type, body) in [
        (
            "a page for people",
            "text/html",
            "<html><head><title>404 Not Found</title></head></html>",
        ),
        ("the words of a router", "text/plain", "404 page not found\n"),
    ] {
        waits_out(what, what, Fault::Body(404, media_type, body.to_owned())).await;
    }
}

async fn a_system_that_never_answers_is_waited_for() {
    waits_out("hang", "no complete answer within", Fault::Hang).await;
}

async fn a_system_that_is_not_there_is_waited_for() {
    let world = Plan::of(&[ordered("s-1")])
        .set("records", "base_url", "'http://127.0.0.1:9'")
        .start()
        .await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("the session waits for the kitchen", async || {
        let waits = waiting(&db).await;
        waits.len() == 1 && waits[0].1.starts_with("records:kitchen is not available (unreachable)")
    })
    .await;
    pipeline.shutdown().await;
    assert_eq!(
        count(&db, "SELECT MAX(attempt) AS n FROM jobs WHERE queue = 'verify_session'").await,
        0
    );
}

async fn a_record_that_is_not_there_is_missing_only_after_all_looks() {
    let world = Plan::of(&[vanished("s-1")]).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_eq!(
        verdict(&db, "s-1").await,
        ("fail".to_owned(), "said_done_not_there".to_owned())
    );
    let rounds = "SELECT COUNT(*) AS n FROM lookups WHERE status = 404 AND round BETWEEN 0 AND 3";
    assert_eq!(count(&db, rounds).await, 4, "four looks, each kept as evidence");
}

async fn one_system_in_trouble_does_not_hold_up_another() {
    let world = Plan::of(&[ordered("s-1"), crate::support::bakery::ordered_and_paid("s-2")])
        .start()
        .await;
    world.records.fail("s-2/invoices/i-s-2", Fault::Status(500), u64::MAX);
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("one is judged and the other waits for the till", async || {
        count(
            &db,
            "SELECT COUNT(*) AS n FROM verdicts WHERE session_id = 's-1' AND status = 'pass'",
        )
        .await
            == 1
            && waiting(&db)
                .await
                .iter()
                .any(|(_, why)| why.starts_with("records:till is not available"))
    })
    .await;
    world.records.fail("s-2/invoices/i-s-2", Fault::Html, 0);
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(verdict(&db, "s-2").await.0, "pass");
}
