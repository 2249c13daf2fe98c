//! Two systems of record side by side: one serial lane each, at its own pace, whichever process makes the calls.

use std::time::Duration;

use aftercall::db::Db;
use chrono::{DateTime, Utc};

use super::{Scale, Server, world};
use crate::support::{
    bakery::{self, Session},
    child::Child,
    state::{broken_promises, count},
    until,
};

const KITCHEN: Duration = Duration::from_millis(60);
const TILL: Duration = Duration::from_millis(100);
const DONE: &str = "SELECT COUNT(*) AS n FROM sessions WHERE state = 'done'";

/// When the lane's next call may be made, at the earliest.
async fn next_call_at(db: &Db, system: &str) -> Option<DateTime<Utc>> {
    let sql = "SELECT next_call_at FROM lanes WHERE system = $1";
    let row = db.fetch_optional(sql, &aftercall::params![system]).await.unwrap()?;
    Some(row.get("next_call_at").unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_two_systems_are_asked_side_by_side_each_at_its_own_pace_by_four_processes() {
    const SESSIONS: usize = 30;
    let server = Server::start();
    let sessions: Vec<Session> = (0..SESSIONS)
        .map(|number| bakery::ordered_and_paid(&format!("s-{number:02}")))
        .collect();
    let millis = |pace: Duration| format!("'{}ms'", pace.as_millis());
    let world = world(&sessions, &server.url(), &Scale::now(), |plan| {
        plan.set("[[records]] # kitchen", "pace", &millis(KITCHEN))
            .set("[[records]] # till", "pace", &millis(TILL))
    })
    .await;
    let db = server.db().await;
    let began = db.now().await.unwrap();
    let _scheduler = Child::start(&world, &["scheduler"], &[]);
    let workers: Vec<Child> = (0..4).map(|_| Child::start(&world, &["worker"], &[])).collect();
    until("every session has its verdict", async || {
        count(&db, DONE).await == SESSIONS as u64
    })
    .await;
    drop(workers);
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    let passed = "SELECT COUNT(*) AS n FROM verdicts WHERE status = 'pass'";
    assert_eq!(count(&db, passed).await, SESSIONS as u64);

    // Each lane moved on by a pace with every call of its own, and its calls came one after the other.
    for (system, kind, pace) in [("kitchen", "orders", KITCHEN), ("till", "invoices", TILL)] {
        let arrivals = world.records.arrivals_of(kind);
        assert_eq!(arrivals.len(), SESSIONS, "{system}");
        let next = next_call_at(&db, system).await.unwrap();
        let least = pace * u32::try_from(SESSIONS).unwrap();
        assert!(
            next - began >= chrono::Duration::from_std(least).unwrap(),
            "{system}: {next}"
        );
        let taken = *arrivals.last().unwrap() - arrivals[0];
        println!("{system}: {SESSIONS} calls in {taken:?} at a pace of {pace:?}");
        assert!(
            taken >= pace * u32::try_from(SESSIONS - 2).unwrap(),
            "{system}: {taken:?}"
        );
    }
    // More than one process asked, and neither system waited for the other to be done.
    let verifying = "SELECT COUNT(DISTINCT worker) AS n FROM job_attempts WHERE queue = 'verify_session'";
    let processes = count(&db, verifying).await;
    assert!(processes > 1, "{processes} processes verified");
    let last_order = *world.records.arrivals_of("orders").last().unwrap();
    let invoices = world.records.arrivals_of("invoices");
    let meanwhile = invoices.iter().filter(|at| **at < last_order).count();
    println!(
        "{processes} processes; {meanwhile} of {SESSIONS} calls to the till were made while the kitchen was asked"
    );
    assert!(meanwhile * 3 >= SESSIONS, "{meanwhile} of {SESSIONS}");
}
