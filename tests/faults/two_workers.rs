//! Two processes on one database: the work is done once, also when one of them dies.

use crate::{
    on_each_engine,
    support::{
        bakery,
        state::{broken_promises, count, difference, final_state},
        world::{Plan, World},
    },
};

on_each_engine! {
    two_processes_share_the_work_and_do_it_once,
    i7_what_a_killed_process_held_is_done_by_the_other,
}

async fn world() -> World {
    let sessions = bakery::every_way();
    Plan::of(&sessions)
        .model(bakery::model(&sessions))
        .set("records", "pace", "'20ms'")
        .start()
        .await
}

async fn undisturbed() -> String {
    let world = world().await;
    world.run_child_until_idle().await;
    let db = world.db().await;
    final_state(&db).await
}

async fn two_processes_share_the_work_and_do_it_once() {
    let expected = undisturbed().await;
    let world = world().await;
    let (one, other) = (world.child(&[]), world.child(&[]));
    for ended in [one.ended().await, other.ended().await] {
        assert!(ended.status.success(), "{ended}");
    }
    let db = world.db().await;
    assert_eq!(difference(&expected, &final_state(&db).await), "");
    let bought = count(&db, "SELECT COUNT(*) AS n FROM llm_answers").await;
    assert_eq!(world.model().requests(), bought, "each answer is bought once");
    let again = "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome NOT IN ('completed', 'snoozed')";
    assert_eq!(count(&db, again).await, 0, "nothing was taken from a living worker");
}

async fn i7_what_a_killed_process_held_is_done_by_the_other() {
    let expected = undisturbed().await;
    let world = world().await;
    let survivor = world.child(&[]);
    let victim = world.child(&[("AFTERCALL_FAULT", "after_claim:1")]);
    let died = victim.ended().await;
    let survived = survivor.ended().await;
    assert!(survived.status.success(), "{survived}");
    // When the survivor was quick enough, the victim found nothing to claim.
    assert!(died.was_killed() || died.status.success(), "{died}");
    let db = world.db().await;
    assert_eq!(difference(&expected, &final_state(&db).await), "");
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}
