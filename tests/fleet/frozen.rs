//! A process that is frozen past its lease, and wakes.

use aftercall::sandbox::records::Fault;
use rustix::process::Signal;

use super::{Scale, Server, world};
use crate::support::{
    bakery,
    child::Child,
    history::History,
    state::{broken_promises, count},
    until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_a_frozen_workers_late_result_is_refused_and_its_calls_are_cancelled() {
    let scale = Scale::now();
    let server = Server::start();
    let sessions = [bakery::ordered("s-1")];
    let world = world(&sessions, &server.url(), &scale, |plan| {
        plan.set("records", "timeout", "'10m'")
    })
    .await;
    let db = server.db().await;
    // The first question hangs, and whoever asked it holds the job.
    world.records.fail("", Fault::Hang, 1);
    let scheduler = Child::start(&world, &["scheduler"], &[]);
    let frozen = Child::start(&world, &["worker"], &[]);
    until("the worker asks the kitchen", async || world.records.requests() == 1).await;
    frozen.signal(Signal::STOP);
    let successor = Child::start(&world, &["worker"], &[]);
    until("another worker has given the verdict", async || {
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await == 1
    })
    .await;
    frozen.signal(Signal::CONT);
    until("it knows that the job is another's", async || {
        frozen.err().contains("the lease was lost")
    })
    .await;
    for child in [&frozen, &successor, &scheduler] {
        child.signal(Signal::TERM);
    }
    // Its call is cancelled: nothing keeps it from ending, though the kitchen never answers.
    for child in [frozen, successor, scheduler] {
        let ended = child.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{ended}");
    }
    let outcomes = "SELECT COUNT(*) AS n FROM job_attempts WHERE queue = 'verify_session' AND outcome = ";
    for (outcome, times) in [("'rescued'", 1), ("'completed'", 1)] {
        let sql: &'static str = Box::leak(format!("{outcomes}{outcome}").into_boxed_str());
        assert_eq!(count(&db, sql).await, times, "{outcome}");
    }
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts WHERE status = 'pass'").await,
        1
    );
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    assert_eq!(
        History::read(&db).await.violations(std::time::Duration::ZERO),
        Vec::<String>::new()
    );
}
