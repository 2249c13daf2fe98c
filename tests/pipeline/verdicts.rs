//! One verdict per session and generation, whatever calls for another.

use aftercall::{domain::session::SessionKey, reprocess};
use serde_json::Value;

use crate::support::{
    bakery::{self, one_order, ordered, vanished},
    state::{broken_promises, count, document, final_state, verdict, verdicts},
    until,
    world::{Plan, SOURCE, idle},
};

const EXPECTED: [(&str, &str, &str); 8] = [
    ("s-half", "partial", "said_done_not_there"),
    ("s-hidden", "fail", "said_done_not_there"),
    ("s-ordered", "pass", "all_confirmed"),
    ("s-other", "fail", "fields_wrong"),
    ("s-paid", "pass", "all_confirmed"),
    ("s-question", "skipped", "nothing_to_verify"),
    ("s-unclear", "skipped", "unknown_intent"),
    ("s-vanished", "fail", "said_done_not_there"),
];

fn expected() -> Vec<(String, String, String)> {
    EXPECTED.map(|(session, status, reason)| (session.to_owned(), status.to_owned(), reason.to_owned())).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_that_a_call_can_go_ends_in_its_verdict() {
    let sessions = bakery::every_way();
    let world = Plan::of(&sessions).model(bakery::model(&sessions)).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_eq!(verdicts(&db).await, expected());
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    let undiagnosed = "SELECT COUNT(*) AS n FROM monitoring_results
        WHERE (verification_status IN ('fail', 'partial')) <> (diagnostic_status IS 'complete')";
    assert_eq!(count(&db, undiagnosed).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_of_the_same_world_end_alike() {
    let mut ends = Vec::new();
    for _ in 0..2 {
        let sessions = bakery::every_way();
        let world = Plan::of(&sessions).model(bakery::model(&sessions)).start().await;
        let db = world.db().await;
        world.run_until_idle(&db).await;
        ends.push(final_state(&db).await);
    }
    assert_eq!(ends[0], ends[1]);
}
