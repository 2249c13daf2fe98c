//! How soon the jobs of a killed process run elsewhere.

use std::time::Duration;

use aftercall::sandbox::language_model::{Reply, ScriptedModel};
use rustix::process::Signal;
use tokio::time::Instant;

use super::{Scale, Server, world};
use crate::support::{
    bakery::{self, Session},
    child::Child,
    is_soak,
    state::count,
    until,
};

const RUNNING_ANALYSES: &str = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session' AND state = 'running'";

/// Processes killed one after another, and jobs that each holds when it is.
fn sizes() -> (usize, u64) {
    if is_soak() { (10, 10) } else { (3, 4) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i7_after_a_kill_the_jobs_run_elsewhere_within_a_lease_and_a_quarter() {
    let scale = Scale::now();
    let (processes, held) = sizes();
    let server = Server::start();
    let all = u64::try_from(processes).unwrap() * held;
    let sessions: Vec<Session> = (0..all)
        .map(|number| bakery::ordered(&format!("s-{number:03}")))
        .collect();
    // The model never answers: every job that starts is held until its worker dies.
    let silent = ScriptedModel::new(|_| Reply::Hang);
    let world = world(&sessions, &server.url(), &scale, |plan| {
        plan.model(silent)
            .set("llm", "timeout", "'10m'")
            .set("limits", "analyze_session", &held.to_string())
    })
    .await;
    let db = server.db().await;
    let scheduler = Child::start(&world, &["scheduler"], &[]);
    let mut waits = Vec::new();
    let mut holder = Child::start(&world, &["worker"], &[]);
    until("it holds as many as may run", async || {
        count(&db, RUNNING_ANALYSES).await == held
    })
    .await;
    for round in 1..=processes {
        let successor = Child::start(&world, &["worker"], &[]);
        until("the successor is there", async || {
            count(&db, "SELECT COUNT(*) AS n FROM workers WHERE queues <> '[]'").await == 1 + round as u64
        })
        .await;
        // It trusts what it sees once it has been in contact for a lease.
        let trusts = "SELECT COUNT(*) AS n FROM workers WHERE queues <> '[]' AND stopped_at IS NULL
            AND started_at < clock_timestamp() - interval '13 seconds'";
        if is_soak() {
            until("it trusts expiries", async || count(&db, trusts).await > round as u64).await;
        }
        let killed = Instant::now();
        holder.signal(Signal::KILL);
        holder.ended().await;
        until("all of them run elsewhere", async || {
            count(
                &db,
                "SELECT COUNT(*) AS n FROM job_attempts WHERE queue = 'analyze_session' AND outcome = 'rescued'",
            )
            .await
                >= round as u64 * held
                && count(&db, RUNNING_ANALYSES).await == held
        })
        .await;
        waits.push(killed.elapsed());
        holder = successor;
        // They would be taken for killers of workers otherwise.
        let mut tx = db.begin().await.unwrap();
        tx.execute("-- forgive\nUPDATE jobs SET rescues = 0", &[])
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    waits.sort();
    println!(
        "killed {processes} times, {held} jobs each: they ran elsewhere after {waits:?} of a lease of {:?}",
        scale.lease
    );
    // 15 s of 12 s; in short, a lease, the look for the dead and what a busy machine takes.
    let most = if is_soak() {
        Duration::from_secs(15)
    } else {
        scale.lease * 5
    };
    assert!(waits.iter().all(|wait| *wait < most), "{waits:?}");
    drop(scheduler);
}
