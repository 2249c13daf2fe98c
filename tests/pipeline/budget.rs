//! A source's daily budget: spent, its sessions wait for the next day; the other sources go on.

use std::time::Duration;

use aftercall::{
    db::Db,
    pipeline::Pipeline,
    queue::inspect::{
        self,
        gates::{self, GateLine},
    },
};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session, ordered},
        state::{broken_promises, count, verdicts, waiting},
        until,
        world::{Plan, World, idle},
    },
};

on_each_engine! {
    a_spent_budget_lets_its_source_wait_for_the_next_day_and_no_other,
    a_budget_that_is_raised_counts_from_the_restart_on,
}

const GATE: &str = "llm:default/calls";

/// Three sessions of a source that may spend less than one call costs, two of one without a bound.
async fn world() -> World {
    let own: Vec<Session> = (1..=3).map(|number| ordered(&format!("s-{number}"))).collect();
    let others: Vec<Session> = (1..=2).map(|number| ordered(&format!("other-{number}"))).collect();
    let all = [own.clone(), others.clone()].concat();
    let lines = |sessions: &[Session]| sessions.iter().map(Session::lines).collect::<String>();
    Plan::of(&all)
        .bundle(lines(&own))
        .files(&[("other.jsonl", &lines(&others))])
        .append("[[source]]\nname = 'other'\nkind = 'bundle'\npath = 'other.jsonl'\nplaybook = './bakery.toml'\n")
        .model(bakery::model(&all))
        .set("llm", "price_prompt", "1000")
        .set("source", "daily_budget", "0.001")
        .start()
        .await
}

fn midnight_after(at: DateTime<Utc>) -> DateTime<Utc> {
    at.date_naive().and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1)
}

/// To twelve hours into the next day: no midnight passes by itself in a test.
async fn to_noon_of_the_next_day(db: &Db) {
    until("nothing runs", async || {
        let pending = inspect::pending_work(db).await.unwrap();
        pending.running + pending.due_now == 0
    })
    .await;
    let now = db.now().await.unwrap();
    let noon = midnight_after(now) + TimeDelta::hours(12);
    db.advance_clock((noon - now).to_std().unwrap()).await.unwrap();
}

/// So many calls were answered, and so many sessions wait for the next day.
async fn spent(db: &Db, answered: u64, waits: usize) -> GateLine {
    until(
        &format!("{answered} calls are answered and {waits} sessions wait"),
        async || {
            let waiting = waiting(db).await;
            let of_budget = waiting.iter().filter(|(_, why)| {
                why.starts_with(&format!(
                    "{GATE} is not available (budget): the daily budget of source calls is spent"
                ))
            });
            of_budget.count() == waits
                && waiting.len() == waits
                && count(db, "SELECT COUNT(*) AS n FROM llm_calls WHERE state = 'answered'").await == answered
        },
    )
    .await;
    let gate = gates::all(db).await.unwrap().into_iter().find(|gate| gate.key == GATE);
    gate.unwrap()
}

async fn assert_all_passed(db: &Db) {
    let verdicts = verdicts(db).await;
    assert_eq!(verdicts.len(), 5);
    assert!(verdicts.iter().all(|(_, status, _)| status == "pass"), "{verdicts:?}");
    let attempts = "SELECT MAX(attempt) AS n FROM jobs WHERE queue = 'analyze_session'";
    assert_eq!(count(db, attempts).await, 1, "no attempt is burnt");
    let unpaid = "SELECT COUNT(*) AS n FROM llm_calls WHERE state <> 'answered' OR cost_micros = 0";
    assert_eq!(count(db, unpaid).await, 0, "each call is made once and paid");
    assert_eq!(count(db, "SELECT COUNT(*) AS n FROM llm_calls").await, 5);
    assert_eq!(broken_promises(db).await, Vec::<String>::new());
}

async fn a_spent_budget_lets_its_source_wait_for_the_next_day_and_no_other() {
    let world = world().await;
    let db = world.db().await;
    to_noon_of_the_next_day(&db).await;
    let pipeline = world.pipeline(&db).await;
    // All three are read at once, and only one of them may call: those under way count.
    let gate = spent(&db, 3, 2).await;
    let midnight = midnight_after(db.now().await.unwrap());
    let late = gate.probe_at.unwrap() - midnight;
    assert!((TimeDelta::zero()..TimeDelta::seconds(10)).contains(&late), "{late}");
    assert_eq!(world.model().requests(), 3);

    to_noon_of_the_next_day(&db).await;
    spent(&db, 4, 1).await;
    to_noon_of_the_next_day(&db).await;
    // What was found spent has a wait of its own, once the gate is open.
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(world.model().requests(), 5);
    assert_all_passed(&db).await;
}

async fn a_budget_that_is_raised_counts_from_the_restart_on() {
    let mut world = world().await;
    let db = world.db().await;
    to_noon_of_the_next_day(&db).await;
    let pipeline = world.pipeline(&db).await;
    spent(&db, 3, 2).await;
    pipeline.shutdown().await;

    world.config.sources[0].daily_budget = 1e6;
    let pipeline = Pipeline::start(&world.config, &db).await.unwrap();
    let state = pipeline.until_idle(Some(Duration::from_mins(1)), |_| {}).await.unwrap();
    assert!(state.is_idle(), "{state:?}");
    pipeline.shutdown().await;
    assert_all_passed(&db).await;
}
