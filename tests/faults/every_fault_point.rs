//! `kill -9` at every fault point, then a restart: the same end as an undisturbed run.

use std::fmt::Write as _;

use aftercall::fault::FaultPoint;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use serde_json::Value;

use crate::{
    on_each_engine,
    support::{
        bakery,
        state::{broken_promises, count, difference, final_state},
        world::{Plan, World},
    },
};

on_each_engine! {
    i3_i10_killed_at_every_fault_point_and_restarted_it_ends_like_an_undisturbed_run,
    i2_killed_at_every_fault_point_and_robbed_of_all_jobs_it_ends_like_an_undisturbed_run,
}

/// Worlds at once: the machine that tests run on may have two cores.
const AT_ONCE: usize = 4;
/// At which of its visits a point kills.
const VISITS: [u64; 2] = [1, 3];

/// Points that one run passes fewer than three times, with the reason.
fn visits_are_few(point: FaultPoint) -> bool {
    // One scan of a small file is one or two slices, and all jobs of a dead worker are rescued in one transaction.
    matches!(point, FaultPoint::AfterSlice | FaultPoint::AfterRescue)
}

/// With leases of so long: where nobody dies, none is to run out, however slow the machine is.
async fn world(lease: &str) -> World {
    let sessions = bakery::every_way();
    Plan::of(&sessions)
        .model(bakery::model(&sessions))
        .set("queue", "lease", lease)
        .start()
        .await
}

/// One way to die.
#[derive(Debug, Clone, Copy)]
struct Case {
    point: FaultPoint,
    visit: u64,
    /// Whether the `jobs` table is lost as well.
    robbed: bool,
}

/// How the world ends when nothing happens to it, and how many questions that takes.
struct Undisturbed {
    state: String,
    questions: u64,
}

async fn undisturbed() -> Undisturbed {
    let world = world("'30s'").await;
    world.run_child_until_idle().await;
    let db = world.db().await;
    let questions = count(&db, "SELECT COUNT(*) AS n FROM llm_answers").await;
    assert_eq!(
        world.model().requests(),
        questions,
        "an undisturbed run buys each answer once"
    );
    Undisturbed {
        state: final_state(&db).await,
        questions,
    }
}

/// Rows that must never change again.
async fn verdict_rows(world: &World) -> String {
    let db = world.db().await;
    let rows = db
        .fetch_all(
            "SELECT session_id, generation, document, created_at FROM verdicts ORDER BY session_id, generation",
            &[],
        )
        .await
        .unwrap();
    db.close().await;
    let mut lines = String::new();
    for row in &rows {
        let (session, generation): (String, u32) = (row.get("session_id").unwrap(), row.get("generation").unwrap());
        let (at, document): (DateTime<Utc>, Value) = (row.get("created_at").unwrap(), row.get("document").unwrap());
        writeln!(lines, "{session}#{generation} at {at}: {document}").unwrap();
    }
    lines
}

/// Kills at the point's visit, restarts, compares. `Ok(false)`: there was no such visit.
async fn killed_at(case: Case, undisturbed: &Undisturbed) -> Result<bool, String> {
    let Case { point, visit, robbed } = case;
    let world = world("'2400ms'").await;
    let fault = format!("{}:{visit}", point.name());
    if point == FaultPoint::AfterRescue {
        // There is nothing to rescue before somebody died.
        let died = world.child(&[("AFTERCALL_FAULT", "after_claim:2")]).ended().await;
        if !died.was_killed() {
            return Err(format!("{fault}: nobody died before the rescue: {died}"));
        }
    }
    let killed = world.child(&[("AFTERCALL_FAULT", &fault)]).ended().await;
    if !killed.was_killed() {
        return if killed.status.success() {
            Ok(false)
        } else {
            Err(format!("{fault}: it failed by itself: {killed}"))
        };
    }

    let db = world.db().await;
    let broken = broken_promises(&db).await;
    let bought = count(&db, "SELECT COUNT(*) AS n FROM llm_answers").await;
    if robbed {
        let mut tx = db.begin().await.unwrap();
        tx.execute("DELETE FROM jobs", &[]).await.unwrap();
        tx.commit().await.unwrap();
    }
    db.close().await;
    let verdicts = verdict_rows(&world).await;
    let asked = world.model().requests();
    if !broken.is_empty() {
        return Err(format!("{fault}: after the kill: {broken:?}"));
    }

    let restarted = world.child(&[]).ended().await;
    if !restarted.status.success() {
        return Err(format!("{fault}: the restart: {restarted}"));
    }
    let db = world.db().await;
    let difference = difference(&undisturbed.state, &final_state(&db).await);
    // Jobs that had ended before the robbery are gone for good; everything else is the same.
    let is_gone = |line: &&str| robbed && line.starts_with("- jobs:");
    let told: Vec<&str> = difference.lines().filter(|line| !is_gone(line)).collect();
    if !told.is_empty() {
        return Err(format!("{fault}: another end:\n{}", told.join("\n")));
    }
    let again = world.model().requests() - asked;
    if again != undisturbed.questions - bought {
        return Err(format!(
            "{fault}: {bought} of {} answers were stored, and {again} were bought after the restart",
            undisturbed.questions
        ));
    }
    let after = verdict_rows(&world).await;
    for row in verdicts.lines() {
        if !after.contains(row) {
            return Err(format!("{fault}: a verdict was written again: {row}"));
        }
    }
    Ok(true)
}

/// Runs all cases, a few at a time.
async fn all(cases: impl Iterator<Item = Case>) {
    let undisturbed = &undisturbed().await;
    let mut cases = stream::iter(cases)
        .map(|case| async move { (case, killed_at(case, undisturbed).await) })
        .buffer_unordered(AT_ONCE);
    let mut failures = Vec::new();
    while let Some((Case { point, visit, .. }, ended)) = cases.next().await {
        match ended {
            Ok(true) => {}
            Ok(false) if visit > 1 && visits_are_few(point) => {}
            Ok(false) => failures.push(format!("{} is not visited {visit} times", point.name())),
            Err(failure) => failures.push(failure),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

async fn i3_i10_killed_at_every_fault_point_and_restarted_it_ends_like_an_undisturbed_run() {
    let points = FaultPoint::all().iter().copied();
    all(points.flat_map(|point| {
        VISITS.map(|visit| Case {
            point,
            visit,
            robbed: false,
        })
    }))
    .await;
}

async fn i2_killed_at_every_fault_point_and_robbed_of_all_jobs_it_ends_like_an_undisturbed_run() {
    let points = FaultPoint::all().iter().copied();
    all(points.map(|point| Case {
        point,
        visit: 1,
        robbed: true,
    }))
    .await;
}
