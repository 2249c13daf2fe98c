//! Every session is accounted for, at every moment and after the loss of every job.

use std::time::Duration;

use aftercall::{db::Db, pipeline::Pipeline, store::inspect::coverage};

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session},
        state::{broken_promises, count, difference, final_state},
        until,
        world::{Plan, idle},
    },
};

on_each_engine! {
    i2_i3_at_every_moment_each_session_is_accounted_for_and_has_the_job_that_its_state_calls_for,
    i2_losing_all_jobs_in_the_middle_loses_nothing,
}

/// After this long, the default schedule looks at everything.
const FIVE_MINUTES: Duration = Duration::from_mins(5);

/// Every way that a call can go, so many times over.
fn many(times: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for number in 0..times {
        let id = |way: &str| format!("s-{way}-{number}");
        sessions.extend([
            bakery::ordered(&id("ordered")),
            bakery::ordered_and_paid(&id("paid")),
            bakery::late(&id("late"), 1),
            bakery::vanished(&id("vanished")),
            bakery::hidden_error(&id("hidden")),
            bakery::half(&id("half")),
            bakery::question(&id("question")),
            bakery::unclear(&id("unclear")),
        ]);
    }
    sessions
}

/// One look at the numbers, by one statement: seen = verdicts + waiting + skipped + errors, and nothing unexplained.
async fn add_up(db: &Db) -> u64 {
    let mut done = 0;
    for source in coverage::by_source(db).await.unwrap() {
        let ended = source.pass + source.partial + source.fail + source.skipped + source.error;
        assert_eq!(source.seen, ended + source.waiting + source.unexplained, "{source:?}");
        assert_eq!(source.unexplained, 0, "{source:?}");
        done += ended;
    }
    done
}

/// Runs to the end, and meanwhile asks again and again what must hold at every moment.
async fn watched(pipeline: &Pipeline, db: &Db) -> u64 {
    let mut looks = 0;
    let end = idle(pipeline);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return looks,
            broken = broken_promises(db) => assert_eq!(broken, Vec::<String>::new()),
        }
        add_up(db).await;
        looks += 1;
    }
}

async fn i2_i3_at_every_moment_each_session_is_accounted_for_and_has_the_job_that_its_state_calls_for() {
    let sessions = many(6);
    let world = Plan::of(&sessions).model(bakery::model(&sessions)).start().await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    let looks = watched(&pipeline, &db.reopen(Duration::from_secs(30)).await.unwrap()).await;
    pipeline.shutdown().await;
    assert!(looks > 10, "it was looked at only {looks} times");
    assert_eq!(add_up(&db).await, sessions.len() as u64);
    let discovered =
        "SELECT COUNT(*) AS n FROM discovery_cycles WHERE seen > 0 AND new = seen AND settled = seen AND waiting = 0";
    assert_eq!(count(&db, discovered).await, 1, "the cycle that found them says so");
}

async fn i2_losing_all_jobs_in_the_middle_loses_nothing() {
    let sessions = many(5);
    let plan = || {
        Plan::of(&sessions)
            .model(bakery::model(&sessions))
            .set("records", "pace", "'30ms'")
    };
    let undisturbed = plan().start().await;
    let expected = undisturbed.db().await;
    undisturbed.run_until_idle(&expected).await;

    let world = plan().start().await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    for part in [1, 2] {
        let so_many = sessions.len() as u64 * part / 3;
        until("a part of the sessions is done", async || {
            count(&db, "SELECT COUNT(*) AS n FROM verdicts").await >= so_many
        })
        .await;
        let mut tx = db.begin().await.unwrap();
        tx.execute("DELETE FROM jobs", &[]).await.unwrap();
        tx.commit().await.unwrap();
        assert!(
            count(&db, "SELECT COUNT(*) AS n FROM verdicts").await < sessions.len() as u64,
            "it was all over before"
        );
        // Nobody has to notice: the schedule's next reconcile does.
        db.advance_clock(FIVE_MINUTES).await.unwrap();
    }
    idle(&pipeline).await;
    pipeline.shutdown().await;

    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    assert_eq!(add_up(&db).await, sessions.len() as u64);
    // What jobs there were is lost, and evidence of a look that was not stored yet is asked for again: the rest is the same.
    let kept = [
        "session:",
        "verdict:",
        "result:",
        "reading:",
        "snapshot:",
        "unreadable:",
        "answers:",
        "left:",
    ];
    // How often a late record was looked for depends on which look was lost.
    let is_same = |line: &str| !kept.iter().any(|kind| line[2..].starts_with(kind)) || line.contains("s-late-");
    let difference = difference(&final_state(&expected).await, &final_state(&db).await);
    let differing: Vec<&str> = difference.lines().filter(|line| !is_same(line)).collect();
    assert_eq!(differing, Vec::<&str>::new());
    let late = "SELECT COUNT(*) AS n FROM verdicts WHERE session_id LIKE 's-late-%' AND status = 'pass'";
    assert_eq!(count(&db, late).await, 5);
    let asked = count(&db, "SELECT COUNT(*) AS n FROM llm_answers").await;
    assert!(
        world.model().requests() <= asked + 2 * 11,
        "only calls in flight at a loss may be made twice"
    );
}
