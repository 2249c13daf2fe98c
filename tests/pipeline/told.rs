//! Ends that are told from outside, in a source that shows a window at a time: before the traces, after them, in between, twice.

use std::{sync::Arc, time::Duration};

use aftercall::{
    db::Db,
    domain::session::SessionKey,
    ending::{self, Became, Of},
    params,
    store::{
        ends::ToldEnd,
        inspect::remainders,
        sessions::{self, StoredSession},
    },
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    on_each_engine,
    support::{
        bakery::{Session, ordered, question},
        state::{broken_promises, count},
        until,
        window::{Fleet, Window, held},
        world::{Plan, SOURCE},
    },
};

on_each_engine! {
    a_session_that_was_told_to_be_over_is_judged_without_resting,
    an_end_that_comes_before_the_traces_waits_for_them_and_settles_at_once,
    traces_that_never_come_are_counted_and_named_and_are_no_error,
    what_is_still_on_its_way_when_the_end_is_told_is_read_before_it_is_judged,
    the_same_end_twice_is_one_end_and_a_verdict_is_not_asked_for_again,
    late_spans_after_the_verdict_are_not_judged_piece_by_piece,
    a_call_that_goes_on_is_not_over_and_its_next_end_is_one,
    a_source_that_is_switched_off_keeps_the_end_and_analyses_nothing,
    traces_that_turn_out_to_be_another_sessions_leave_the_one_that_was_told_waiting,
    one_that_no_scan_shows_is_judged_by_the_first_analysis_that_is_called_for_by_hand,
    content_that_changes_for_ever_is_read_by_the_deadline,
    an_end_of_before_the_verdict_does_not_end_the_call_that_goes_on_after_it,
    an_end_that_cannot_be_of_then_is_of_now,
}

const VERDICTS: &str = "SELECT COUNT(*) AS n FROM verdicts";
const LIVE: &str = "SELECT COUNT(*) AS n FROM jobs WHERE state IN ('available', 'scheduled', 'running', 'retryable')";
/// More than `trace_lag`, and less than any rest.
const LAG: Duration = Duration::from_secs(31);

async fn fleet(sessions: &[Session]) -> (Fleet, Arc<Window>) {
    let window = Window::new(SOURCE);
    let world = Plan::of(sessions).start().await;
    let fleet = Fleet::start(world, &[Arc::clone(&window)]).await;
    (fleet, window)
}

async fn ago(db: &Db, seconds: i64) -> DateTime<Utc> {
    db.now().await.unwrap() - TimeDelta::seconds(seconds)
}

/// A webhook tells that a session is over: this delivery.
async fn tell(fleet: &Fleet, id: &str, delivery: &str) -> Became {
    tell_of(fleet, id, delivery, true).await
}

async fn tell_of(fleet: &Fleet, id: &str, delivery: &str, enabled: bool) -> Became {
    tell_all(fleet, id, delivery, enabled, None).await
}

/// The same, and when that was.
async fn tell_at(fleet: &Fleet, id: &str, delivery: &str, ended_at: Option<DateTime<Utc>>) -> Became {
    tell_all(fleet, id, delivery, true, ended_at).await
}

async fn tell_all(fleet: &Fleet, id: &str, delivery: &str, enabled: bool, ended_at: Option<DateTime<Utc>>) -> Became {
    let of = Of {
        rules: fleet.rules(),
        enabled,
    };
    let end = ToldEnd {
        key: SessionKey::new(SOURCE, id),
        delivery: delivery.to_owned(),
        shape: "generic",
        ended_at,
        reason: None,
    };
    let mut tx = fleet.db.begin().await.unwrap();
    let became = ending::end(&mut tx, of, &end).await.unwrap();
    tx.commit().await.unwrap();
    became
}

async fn state(fleet: &Fleet, id: &str) -> StoredSession {
    let key = SessionKey::new(SOURCE, id);
    sessions::load(&fleet.db, &key).await.unwrap().unwrap()
}

/// The scan of now, and what can run by now: jobs that wait for their time stay.
async fn scan(fleet: &Fleet) {
    fleet.call_for_scan(SOURCE).await;
    settle_down(fleet).await;
}

async fn settle_down(fleet: &Fleet) {
    const DUE: &str = "SELECT COUNT(*) AS n FROM jobs
        WHERE state IN ('available', 'running', 'retryable') OR (state = 'scheduled' AND run_at <= $1)";
    until("nothing is due", async || {
        let now = fleet.db.now().await.unwrap();
        let row = fleet.db.fetch_optional(DUE, &params![now]).await.unwrap().unwrap();
        row.get::<u64>("n").unwrap() == 0
    })
    .await;
}

async fn a_session_that_was_told_to_be_over_is_judged_without_resting() {
    let (fleet, window) = fleet(&[ordered("s-1"), question("s-2")]).await;
    window.page(&held(&ordered("s-1"), ago(&fleet.db, 20).await));
    window.page(&held(&question("s-2"), ago(&fleet.db, 20).await));
    scan(&fleet).await;
    assert_eq!(state(&fleet, "s-1").await.state.as_str(), "open");
    assert_eq!(tell(&fleet, "s-1", "d").await, Became::CalledFor);
    assert_eq!(count(&fleet.db, LIVE).await, 1, "its analysis waits for its last spans");
    fleet.after(LAG).await;
    fleet.rest().await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 1);
    assert_eq!(state(&fleet, "s-1").await.state.as_str(), "done");
    assert_eq!((state(&fleet, "s-1").await.told_at, window.reads()), (None, 1));
    assert_eq!(
        state(&fleet, "s-2").await.state.as_str(),
        "open",
        "nobody told of the other"
    );
    assert_eq!(broken_promises(&fleet.db).await, Vec::<String>::new());
}

async fn an_end_that_comes_before_the_traces_waits_for_them_and_settles_at_once() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    assert_eq!(tell(&fleet, "s-1", "d").await, Became::NotInTraces);
    scan(&fleet).await;
    let waiting = state(&fleet, "s-1").await;
    assert!(waiting.is_untraced() && waiting.state.as_str() == "open", "{waiting:?}");
    assert_eq!(count(&fleet.db, LIVE).await, 0);
    fleet.after(Duration::from_mins(3)).await;
    // It began before it was told to be over, and comes half an hour later.
    window.page(&held(&ordered("s-1"), ago(&fleet.db, 200).await));
    fleet.after(Duration::from_mins(31)).await;
    scan(&fleet).await;
    assert_eq!(
        count(&fleet.db, LIVE).await,
        1,
        "it is settled by the scan that sees it"
    );
    assert!(!state(&fleet, "s-1").await.incomplete);
    fleet.after(LAG).await;
    fleet.rest().await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 1);
    let first = state(&fleet, "s-1").await;
    assert!(first.observations > 0 && first.first_activity_at < first.last_activity_at);
    assert_eq!(broken_promises(&fleet.db).await, Vec::<String>::new());
}

async fn traces_that_never_come_are_counted_and_named_and_are_no_error() {
    let (fleet, _window) = fleet(&[ordered("s-1")]).await;
    for id in ["gone-1", "gone-2"] {
        assert_eq!(tell(&fleet, id, "d").await, Became::NotInTraces);
    }
    let left = async |reason: &str| {
        scan(&fleet).await;
        let all = remainders::by_source(&fleet.db).await.unwrap();
        let [source] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(
            (source.seen, source.waiting, source.error, source.unexplained),
            (2, 2, 0, 0)
        );
        let [left] = source.remainders.as_slice() else {
            panic!("{source:?}")
        };
        assert_eq!((left.sessions, left.example.as_str()), (2, "gone-1"));
        assert!(
            left.reason.starts_with("not in traces: ") && left.reason.contains(reason),
            "{left:?}"
        );
        assert!(left.act.contains("does the agent trace these calls"), "{left:?}");
    };
    left("no trace of it has arrived yet").await;
    fleet.after(Duration::from_hours(25)).await;
    left("it ended, but no trace of it has arrived within").await;
    fleet.after(Duration::from_hours(24 * 30)).await;
    left("it ended, but no trace of it has arrived within").await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 0);

    // Called for by hand, it finds nothing, and goes on waiting.
    let mut tx = fleet.db.begin().await.unwrap();
    aftercall::reprocess::reprocess(&mut tx, &SessionKey::new(SOURCE, "gone-1"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    fleet.rest().await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 0);
    left("it ended, but no trace of it has arrived within").await;
    assert_eq!(broken_promises(&fleet.db).await, Vec::<String>::new());
}

async fn what_is_still_on_its_way_when_the_end_is_told_is_read_before_it_is_judged() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    let all = held(&ordered("s-1"), ago(&fleet.db, 20).await);
    let (first, rest) = all.split_at(1);
    window.page(first);
    scan(&fleet).await;
    assert_eq!(tell(&fleet, "s-1", "d").await, Became::CalledFor);
    // More arrives at the source, which no scan shows, and more again just as it is read.
    let (second, last) = rest.split_at(1);
    window.hold(second);
    fleet.after(LAG).await;
    until("it was read once", async || window.reads() == 1).await;
    settle_down(&fleet).await;
    assert_eq!(
        count(&fleet.db, VERDICTS).await,
        0,
        "it holds more than was seen: is that all?"
    );
    window.hold(last);
    fleet.after(LAG).await;
    until("it was read twice", async || window.reads() == 2).await;
    settle_down(&fleet).await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 0);
    fleet.after(LAG).await;
    fleet.rest().await;
    assert_eq!((count(&fleet.db, VERDICTS).await, window.reads()), (1, 3));
    let whole = format!("SELECT COUNT(*) AS n FROM snapshots WHERE observations = {}", all.len());
    assert_eq!(count(&fleet.db, Box::leak(whole.into_boxed_str())).await, 1);
    // The scan that shows it all at last brings no news.
    window.page(&all);
    fleet.cycles(2).await;
    assert_eq!((count(&fleet.db, VERDICTS).await, window.reads()), (1, 3));
    assert_eq!(broken_promises(&fleet.db).await, Vec::<String>::new());
}

async fn the_same_end_twice_is_one_end_and_a_verdict_is_not_asked_for_again() {
    const JOBS: &str = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session'";
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    window.page(&held(&ordered("s-1"), ago(&fleet.db, 20).await));
    scan(&fleet).await;
    assert_eq!(tell(&fleet, "s-1", "d").await, Became::CalledFor);
    assert_eq!(tell(&fleet, "s-1", "d").await, Became::Repeated);
    assert_eq!(tell(&fleet, "s-1", "another").await, Became::UnderWay);
    assert_eq!(count(&fleet.db, JOBS).await, 1);
    fleet.after(LAG).await;
    fleet.rest().await;
    for (delivery, became) in [
        ("d", Became::Repeated),
        ("third", Became::Judged),
        ("third", Became::Repeated),
    ] {
        assert_eq!(tell(&fleet, "s-1", delivery).await, became);
    }
    fleet.cycles(3).await;
    assert_eq!((count(&fleet.db, VERDICTS).await, count(&fleet.db, JOBS).await), (1, 1));
}

async fn late_spans_after_the_verdict_are_not_judged_piece_by_piece() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    let mut all = held(&ordered("s-1"), ago(&fleet.db, 20).await);
    let late = all.pop().unwrap();
    window.page(&all);
    scan(&fleet).await;
    tell(&fleet, "s-1", "d").await;
    fleet.after(LAG).await;
    fleet.rest().await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 1);
    // The vendor's second event comes with the verdict, and the last span after both.
    assert_eq!(tell(&fleet, "s-1", "analyzed").await, Became::Judged);
    fleet.after(Duration::from_mins(1)).await;
    window.page(&[late]);
    fleet.cycle().await;
    assert_eq!(state(&fleet, "s-1").await.state.as_str(), "reopened", "it rests first");
    fleet.cycles(3).await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 2);
}

async fn a_call_that_goes_on_is_not_over_and_its_next_end_is_one() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    assert_eq!(tell(&fleet, "s-1", "first").await, Became::NotInTraces);
    fleet.after(Duration::from_mins(10)).await;
    window.page(&held(&ordered("s-1"), ago(&fleet.db, 5).await));
    scan(&fleet).await;
    assert_eq!(
        state(&fleet, "s-1").await.state.as_str(),
        "open",
        "it was active long after"
    );
    assert_eq!(tell(&fleet, "s-1", "second").await, Became::CalledFor);
    fleet.after(LAG).await;
    fleet.rest().await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 1);

    // The caller comes back after the verdict, and hangs up before a scan has seen that.
    fleet.after(Duration::from_mins(10)).await;
    let resumed = ordered("s-1").turn("Thank you.", "Goodbye.");
    let more = held(&resumed, ago(&fleet.db, 5).await).pop().unwrap();
    assert_eq!(tell(&fleet, "s-1", "third").await, Became::Judged);
    window.page(&[more]);
    scan(&fleet).await;
    fleet.after(LAG).await;
    fleet.rest().await;
    assert_eq!(
        count(&fleet.db, VERDICTS).await,
        2,
        "what began after the verdict ended by that"
    );
}

async fn a_source_that_is_switched_off_keeps_the_end_and_analyses_nothing() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    window.page(&held(&ordered("s-1"), ago(&fleet.db, 20).await));
    scan(&fleet).await;
    for id in ["s-1", "unknown"] {
        assert_eq!(tell_of(&fleet, id, "d", false).await, Became::SwitchedOff);
    }
    assert_eq!(count(&fleet.db, LIVE).await, 0);
    let why =
        "SELECT COUNT(*) AS n FROM sessions WHERE session_id = 'unknown' AND waiting_reason LIKE '%switched off%'";
    assert_eq!(count(&fleet.db, why).await, 1);
    // Switched on, the next scan settles what it knows.
    scan(&fleet).await;
    fleet.after(LAG).await;
    fleet.rest().await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 1);
}

async fn traces_that_turn_out_to_be_another_sessions_leave_the_one_that_was_told_waiting() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    let mut strays = held(&ordered("b-wrong"), ago(&fleet.db, 20).await);
    window.page(&strays);
    scan(&fleet).await;
    assert_eq!(tell_of(&fleet, "b-wrong", "d", false).await, Became::SwitchedOff);
    // A span of the same traces names another session: the first by alphabet is theirs.
    for stray in &mut strays {
        stray.seen.session_id = Some("a-right".to_owned());
        "2".clone_into(&mut stray.seen.mark);
    }
    window.page(&strays);
    scan(&fleet).await;
    let told = state(&fleet, "b-wrong").await;
    assert!(told.told_at.is_some() && told.is_untraced(), "{told:?}");
    assert_eq!(told.state.as_str(), "open", "{told:?}");
    assert_eq!(count(&fleet.db, LIVE).await, 0);
    assert_eq!(broken_promises(&fleet.db).await, Vec::<String>::new());
}

async fn one_that_no_scan_shows_is_judged_by_the_first_analysis_that_is_called_for_by_hand() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    assert_eq!(tell(&fleet, "s-1", "d").await, Became::NotInTraces);
    scan(&fleet).await;
    // Its traces came later than any scan looks back.
    window.hold(&held(&ordered("s-1"), ago(&fleet.db, 20).await));
    let mut tx = fleet.db.begin().await.unwrap();
    let opened = aftercall::reprocess::reprocess(&mut tx, &SessionKey::new(SOURCE, "s-1")).await;
    tx.commit().await.unwrap();
    fleet.rest().await;
    let judged = state(&fleet, "s-1").await;
    assert_eq!(
        (judged.state.as_str(), Some(judged.generation)),
        ("done", opened.unwrap())
    );
    assert_eq!((count(&fleet.db, VERDICTS).await, window.reads()), (1, 1));
    fleet.cycles(3).await;
    assert_eq!((count(&fleet.db, VERDICTS).await, window.reads()), (1, 1));
    assert_eq!(broken_promises(&fleet.db).await, Vec::<String>::new());
}

async fn content_that_changes_for_ever_is_read_by_the_deadline() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    let all = held(&ordered("s-1"), ago(&fleet.db, 20).await);
    window.page(&all);
    scan(&fleet).await;
    assert_eq!(tell(&fleet, "s-1", "d").await, Became::CalledFor);
    // Every scan shows another content, so that its last spans never have had their time.
    let step = Duration::from_secs(20);
    let mut passed = Duration::ZERO;
    let deadline = fleet.rules().settle_deadline;
    loop {
        fleet.after(step).await;
        passed += step;
        settle_down(&fleet).await;
        if window.reads() > 0 {
            break;
        }
        assert!(passed < deadline + step, "it is not read by the deadline");
        let mark = passed.as_secs().to_string();
        let changed: Vec<_> = all.iter().map(|held| held.clone().changed(&mark)).collect();
        window.page(&changed);
        scan(&fleet).await;
    }
    // Time goes by on its own as well.
    assert!(passed + 6 * step > deadline, "until then it waits: {passed:?}");
    fleet.rest().await;
    assert_eq!((count(&fleet.db, VERDICTS).await, window.reads()), (1, 1));
}

async fn an_end_of_before_the_verdict_does_not_end_the_call_that_goes_on_after_it() {
    let (fleet, window) = fleet(&[ordered("s-1")]).await;
    window.page(&held(&ordered("s-1"), ago(&fleet.db, 20).await));
    scan(&fleet).await;
    assert_eq!(tell(&fleet, "s-1", "first").await, Became::CalledFor);
    fleet.after(LAG).await;
    fleet.rest().await;
    assert_eq!(count(&fleet.db, VERDICTS).await, 1);
    let done = fleet.db.now().await.unwrap();
    // The vendor's second event says of the same end that it was before.
    fleet.after(Duration::from_mins(1)).await;
    assert_eq!(
        tell_at(&fleet, "s-1", "second", Some(done - TimeDelta::seconds(20))).await,
        Became::Judged
    );
    let resumed = ordered("s-1").turn("Thank you.", "Goodbye.");
    window.page(&[held(&resumed, ago(&fleet.db, 5).await).pop().unwrap()]);
    scan(&fleet).await;
    let reopened = state(&fleet, "s-1").await;
    assert_eq!(
        (reopened.state.as_str(), reopened.told_at),
        ("reopened", None),
        "it rests first"
    );
}

async fn an_end_that_cannot_be_of_then_is_of_now() {
    let (fleet, _window) = fleet(&[ordered("s-1")]).await;
    for said in ["1970-01-01T00:00:00Z", "-9999-01-01T00:00:00Z", "+9999-01-01T00:00:00Z"] {
        let before = fleet.db.now().await.unwrap();
        let became = tell_at(&fleet, said, "d", Some(said.parse().unwrap())).await;
        assert_eq!(became, Became::NotInTraces, "{said}");
        let told = state(&fleet, said).await.told_at.unwrap();
        assert!(
            told >= before && told <= fleet.db.now().await.unwrap(),
            "{said}: {told}"
        );
    }
    assert_eq!(
        count(
            &fleet.db,
            "SELECT COUNT(*) AS n FROM session_ends WHERE ended_at IS NOT NULL"
        )
        .await,
        0
    );
}
