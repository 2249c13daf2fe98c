//! When a session is over, in a source that shows a window at a time: what is late, lost, doubled, reordered or never the
//! same twice ends in one verdict, and what did not change costs nothing.

use std::{sync::Arc, time::Duration};

use aftercall::{domain::session::SessionKey, store::sessions};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session, ordered, question},
        state::{broken_promises, count, difference, final_state, verdicts},
        until,
        window::{Fleet, Held, Window, held},
        world::{Plan, SOURCE},
    },
};

on_each_engine! {
    a_content_that_is_another_at_every_read_is_judged_by_the_deadline_and_flagged,
    pruning_must_not_resurrect,
    after_its_verdict_a_session_rests_again_whatever_ended_it_before,
    a_scan_that_goes_on_after_an_outage_is_not_the_second_equal_one,
    i2_however_pages_come_each_session_is_judged_once_and_alike,
    a_session_of_51_traces_over_many_pages_is_one_session,
    scans_and_reads_of_the_same_sessions_stand_in_nobodys_way,
    i3_killed_between_two_slices_it_ends_like_an_undisturbed_scan,
    i6_the_outage_of_one_source_does_not_delay_another,
    a_resumed_call_gets_its_next_generation_with_a_diff_and_keeps_its_old_verdict,
}

const VERDICTS: &str = "SELECT COUNT(*) AS n FROM verdicts";
/// As long as the default schedule takes for the next scan.
const TICK: Duration = Duration::from_mins(5);

/// One window in place of the bundle, without a language model.
async fn fleet(sessions: &[Session]) -> (Fleet, Arc<Window>) {
    let window = Window::new(SOURCE);
    let world = Plan::of(sessions).start().await;
    let fleet = Fleet::start(world, &[Arc::clone(&window)]).await;
    (fleet, window)
}

/// An instant before the clock of the database.
async fn ago(fleet: &Fleet, minutes: i64) -> DateTime<Utc> {
    fleet.db.now().await.unwrap() - TimeDelta::minutes(minutes)
}

async fn state(fleet: &Fleet, id: &str) -> sessions::StoredSession {
    let key = SessionKey::new(SOURCE, id);
    sessions::load(&fleet.db, &key).await.unwrap().unwrap()
}

fn named(id: &str, held: &[Held], mark: &str) -> Held {
    let mut late = held[0].clone().changed(mark);
    id.clone_into(&mut late.seen.id);
    late
}

async fn a_content_that_is_another_at_every_read_is_judged_by_the_deadline_and_flagged() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    window.page(&held(&ordered("s-1"), ago(&fleet, 10).await));
    window.restless();
    fleet.cycle().await;
    fleet.cycles(4).await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 0);
    assert!(window.reads() > 0, "it was settled and read");
    fleet.cycles(5).await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 1);
    assert!(state(&fleet, "s-1").await.incomplete);
    let reads = window.reads();
    fleet.cycles(3).await;
    assert_eq!((count(&fleet.db, VERDICTS).await, window.reads()), (1, reads));
}

async fn pruning_must_not_resurrect() {
    const OLD: &str = "SELECT COUNT(*) AS n FROM seen_observations";
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    let all = held(&ordered("s-1"), ago(&fleet, 10).await);
    let began = all[0].seen.started_at;
    window.page(&all);
    fleet.cycles(2).await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 1);

    fleet.after(Duration::from_hours(20 * 24)).await;
    let ages = aftercall::store::retention::Ages {
        finished_jobs: Duration::MAX,
        snapshots: Duration::MAX,
    };
    while aftercall::store::retention::prune_batch(&fleet.db, &ages)
        .await
        .unwrap()
        > 0
    {}
    assert_eq!(count(&fleet.db, OLD).await, 0);
    let (before, reads) = (final_state(&fleet.db).await, window.reads());
    window.look_back();
    fleet.cycles(2).await;
    assert_eq!(difference(&before, &final_state(&fleet.db).await), "");
    assert_eq!((count(&fleet.db, OLD).await, window.reads()), (0, reads));

    // The call goes on after all: one more verdict, of everything, and then rest.
    let later = named("late", &held(&ordered("s-1"), ago(&fleet, 0).await), "1");
    window.page(&[later]);
    fleet.cycles(6).await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 2);
    let whole = "SELECT COUNT(*) AS n FROM snapshots WHERE generation = 2 AND observations = 4";
    assert_eq!(count(&fleet.db, whole).await, 1);
    assert_eq!(state(&fleet, "s-1").await.first_activity_at, began);
    window.look_back();
    fleet.cycles(3).await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 2);
    assert_eq!(broken_promises(&fleet.db).await, Vec::<String>::new());
}

async fn after_its_verdict_a_session_rests_again_whatever_ended_it_before() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    let mut all = held(&ordered("s-1"), ago(&fleet, 1).await);
    let last = all.pop().unwrap().ending();
    all.push(last);
    window.page(&all);
    fleet.cycle().await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 1, "the end signal settles at once");

    // Something late with every scan, in the trace that ended: some of it repeats the signal, as a tag of the trace does.
    for number in 0..3 {
        fleet.after(TICK).await;
        let late = named(&format!("late-{number}"), &all, "1");
        window.page(&[if number == 1 { late.ending() } else { late }]);
        fleet.cycle().await;
        assert_eq!(count(&fleet.db, VERDICTS).await, 1, "late span {number}");
        assert_eq!(state(&fleet, "s-1").await.state.as_str(), "reopened");
    }
    fleet.cycles(2).await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 2, "all that was late is judged once");

    // The caller comes back: another trace, another end.
    let resumed = held(&ordered("s-1").turn("Thank you.", "Goodbye."), ago(&fleet, 0).await);
    window.page(&[resumed.last().unwrap().clone().ending()]);
    fleet.cycle().await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 3, "a new end signal settles at once");
}

async fn a_scan_that_goes_on_after_an_outage_is_not_the_second_equal_one() {
    let (fleet, window) = fleet(&[ordered("s-1"), question("s-2")]).await;
    window.page(&held(&ordered("s-1"), ago(&fleet, 30).await));
    window.page(&held(&question("s-2"), ago(&fleet, 30).await));
    window.down_from(Some(1));
    fleet.call_for_scan(SOURCE).await;
    until("it waits for its source", async || {
        count(&fleet.db, "SELECT COUNT(*) AS n FROM jobs WHERE held_by IS NOT NULL").await == 1
    })
    .await;
    fleet.after(Duration::from_mins(10)).await;
    window.down_from(None);
    fleet.rest().await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 0, "each was seen once");
    let seen = "SELECT COUNT(*) AS n FROM sessions WHERE state = 'open'";
    assert_eq!(count(&fleet.db, seen).await, 2);
    let row = fleet
        .db
        .fetch_optional("SELECT started_at, finished_at FROM discovery_cycles", &[])
        .await
        .unwrap()
        .unwrap();
    let (began, ended): (DateTime<Utc>, DateTime<Utc>) =
        (row.get("started_at").unwrap(), row.get("finished_at").unwrap());
    assert!(
        ended - began >= TimeDelta::minutes(10),
        "the cycle lasted through the outage"
    );
    fleet.cycles(1).await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 2);
}

async fn i2_however_pages_come_each_session_is_judged_once_and_alike() {
    let sessions: Vec<Session> = (0..11).map(|number| ordered(&format!("s-{number}"))).collect();
    let (expected, tidy) = fleet(&sessions).await;
    let from = ago(&expected, 300).await;
    let all: Vec<Vec<Held>> = sessions.iter().map(|session| held(session, from)).collect();
    for session in &all {
        tidy.page(session);
    }
    expected.cycles(2).await;

    let (fleet, window) = fleet(&sessions).await;
    // Hours of missed cycles; then the root of each trace last, everything twice, in another order.
    fleet.after(Duration::from_hours(5)).await;
    let mut late = Vec::new();
    for session in all.iter().rev() {
        window.hold(session);
        let (root, rest) = session.split_first().unwrap();
        // A child does not name its session: nobody knows of it before the root comes.
        let rest: Vec<Held> = rest.iter().rev().cloned().map(Held::nameless).collect();
        window.page(&rest);
        late.push(root.clone());
    }
    fleet.cycle().await;
    assert_eq!(count(&fleet.db, "SELECT COUNT(*) AS n FROM sessions").await, 0);
    for page in late.chunks(3) {
        window.page(page);
        window.page(page);
    }
    for session in &all {
        window.page(session);
    }
    fleet.cycles(2).await;
    assert_eq!(
        difference(&final_state(&expected.db).await, &final_state(&fleet.db).await),
        ""
    );
    let (before, reads) = (final_state(&fleet.db).await, window.reads());
    window.look_back();
    fleet.cycles(12).await;
    assert_eq!(difference(&before, &final_state(&fleet.db).await), "");
    assert_eq!((window.reads(), verdicts(&fleet.db).await.len()), (reads, 11));
}

async fn scans_and_reads_of_the_same_sessions_stand_in_nobodys_way() {
    let mut sessions: Vec<Session> = (0..8).map(|number| ordered(&format!("s-{number}"))).collect();
    let (fleet, window) = fleet(&sessions).await;
    let from = ago(&fleet, 60).await;
    for round in 0..10 {
        for session in &mut sessions {
            *session = session.clone().turn("And now?", "One moment.");
            let mut all = held(session, from + TimeDelta::minutes(round));
            let last = all.pop().unwrap();
            all.push(last.ending());
            window.hold(&all);
        }
        // Everything in one page, while what the scan before it settled is read.
        window.look_back();
        fleet.call_for_scan(SOURCE).await;
        until("the scan is done", async || {
            let scans = "SELECT COUNT(*) AS n FROM discovery_cycles WHERE finished_at IS NOT NULL";
            count(&fleet.db, scans).await > round.unsigned_abs()
        })
        .await;
    }
    fleet.rest().await;
    let failed = "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome NOT IN ('completed', 'snoozed', 'cancelled')";
    assert_eq!(count(&fleet.db, failed).await, 0);
    assert_eq!(broken_promises(&fleet.db).await, Vec::<String>::new());
}

async fn a_session_of_51_traces_over_many_pages_is_one_session() {
    let mut session = ordered("s-1");
    for _ in 1..51 {
        session = session.turn("Are you still there?", "I am.");
    }
    let (fleet, window) = fleet(std::slice::from_ref(&session)).await;
    for page in held(&session, ago(&fleet, 60).await).chunks(7) {
        window.page(page);
    }
    fleet.cycles(2).await;
    assert_eq!(count(&fleet.db, "SELECT trace_count AS n FROM sessions").await, 51);
    assert_eq!(count(&fleet.db, "SELECT observations AS n FROM snapshots").await, 53);
    assert_eq!(count(&fleet.db, VERDICTS).await, 1);
}

async fn i3_killed_between_two_slices_it_ends_like_an_undisturbed_scan() {
    let sessions = bakery::every_way();
    let (expected, tidy) = fleet(&sessions).await;
    let (mut fleet, window) = fleet(&sessions).await;
    let from = ago(&expected, 60).await;
    for session in &sessions {
        tidy.page(&held(session, from));
        window.page(&held(session, from));
    }
    expected.cycles(2).await;

    window.stuck_at(Some(4));
    fleet.call_for_scan(SOURCE).await;
    until("four slices are stored", async || {
        count(&fleet.db, "SELECT COALESCE(MAX(slices), 0) AS n FROM discovery_cycles").await == 4
    })
    .await;
    fleet.kill().await;
    assert_eq!(broken_promises(&fleet.db).await, Vec::<String>::new());
    window.stuck_at(None);
    fleet.go_on().await;
    fleet.after(Duration::from_mins(1)).await;
    fleet.rest().await;
    fleet.cycles(2).await;
    assert_eq!(
        difference(&final_state(&expected.db).await, &final_state(&fleet.db).await),
        ""
    );
    let seen = "SELECT MAX(seen) AS n FROM discovery_cycles";
    assert_eq!(count(&fleet.db, seen).await, window.pages() as u64, "counted once");
}

async fn i6_the_outage_of_one_source_does_not_delay_another() {
    let other = "[[source]]\nname = 'others'\nkind = 'bundle'\npath = 'bundle.jsonl'\nplaybook = './bakery.toml'\n";
    let (here, there) = (Window::new(SOURCE), Window::new("others"));
    let world = Plan::of(&[ordered("s-1")]).append(other).start().await;
    let fleet = Fleet::start(world, &[Arc::clone(&here), Arc::clone(&there)]).await;
    let from = ago(&fleet, 60).await;
    here.down_from(Some(0));
    there.page(&held(&ordered("s-1"), from));
    fleet.call_for_scan(SOURCE).await;
    for verdicts in [0, 1] {
        fleet.after(TICK).await;
        fleet.call_for_scan("others").await;
        until("the other source's session is on its way to its end", async || {
            count(
                &fleet.db,
                "SELECT COUNT(*) AS n FROM discovery_cycles WHERE source = 'others' AND finished_at IS NOT NULL",
            )
            .await
                == verdicts + 1
                && count(&fleet.db, VERDICTS).await == verdicts
        })
        .await;
    }
    let held_back = "SELECT COUNT(*) AS n FROM jobs WHERE unique_key = 'calls' AND state <> 'completed'";
    assert_eq!(
        count(&fleet.db, held_back).await,
        1,
        "it still waits for its own source"
    );
}

async fn a_resumed_call_gets_its_next_generation_with_a_diff_and_keeps_its_old_verdict() {
    let (fleet, window) = fleet(&[question("s-1")]).await;
    window.page(&held(&question("s-1"), ago(&fleet, 60).await));
    fleet.cycles(2).await;
    let first = "SELECT COUNT(*) AS n FROM verdicts WHERE generation = 1 AND status = 'skipped'";
    assert_eq!(count(&fleet.db, first).await, 1);

    // The same caller calls again, and orders a cake that the kitchen has never heard of.
    let resumed = question("s-1")
        .turn("I would like to order a plum cake.", "Your plum cake is ordered.")
        .call(
            "order_cake",
            serde_json::json!({"action": "place", "cake": "plum"}),
            serde_json::json!({"orderId": "o-9"}),
        );
    window.page(&held(&resumed, ago(&fleet, 0).await)[1..]);
    fleet.cycles(1).await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 1, "it rests first");
    fleet.cycles(2).await;
    assert_eq!(count(&fleet.db, first).await, 1);
    let second = "SELECT COUNT(*) AS n FROM verdicts WHERE generation = 2 AND status = 'fail' AND CAST(diff AS text) LIKE '%status%'";
    assert_eq!(count(&fleet.db, second).await, 1);
}
