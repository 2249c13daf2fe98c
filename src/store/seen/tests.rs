//! What pages of observations add up to.

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::*;
use crate::{
    domain::session::SessionState,
    store::sessions::StoredSession,
    test_support::{Planned, TestDb, fill, on_each_database, sorting_like_a_dictionary},
};

/// Names in an order of their own: that of bytes is not that of a dictionary.
const NAMES: [&str; 3] = ["b", "A", "_a"];

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + second, 0).unwrap()
}

fn seen(trace: &str, id: &str, session: Option<&str>, second: i64) -> SeenObservation {
    SeenObservation {
        id: id.to_owned(),
        trace_id: trace.to_owned(),
        session_id: session.map(str::to_owned),
        user_id: None,
        environment: Some("production".to_owned()),
        started_at: at(second),
        last_activity: at(second + 1),
        mark: "1".to_owned(),
        ends_session: false,
    }
}

on_each_database! {
    an_observation_without_a_session_belongs_to_the_session_of_its_trace_whichever_comes_first,
    the_same_observation_again_changes_nothing_and_a_changed_one_does,
    an_end_signal_counts_until_the_call_goes_on,
    traces_without_a_session_are_grouped_once_they_rest_and_keep_their_id,
    a_trace_that_names_its_session_after_all_leaves_its_group,
    what_is_read_is_found_by_index,
    pages_in_any_order_and_twice_end_in_the_same_sessions,
}

async fn merge_into(db: &Db, source: &str, page: &[SeenObservation]) -> Merged {
    let mut tx = db.begin().await.unwrap();
    let merged = merge(&mut tx, source, page).await.unwrap();
    tx.commit().await.unwrap();
    merged
}

async fn merge_page(db: &Db, page: &[SeenObservation]) -> Merged {
    merge_into(db, "calls", page).await
}

async fn group(db: &Db, rested_at: DateTime<Utc>) -> usize {
    let mut tx = db.begin().await.unwrap();
    let (traces, _) = group_loose(&mut tx, "calls", rested_at, 100).await.unwrap();
    tx.commit().await.unwrap();
    traces
}

async fn session(db: &Db, id: &str) -> Option<StoredSession> {
    sessions::load(db, &SessionKey::new("calls", id)).await.unwrap()
}

async fn all_sessions(db: &Db) -> Vec<(String, String, i64, i64)> {
    all_sessions_of(db, "calls").await
}

async fn all_sessions_of(db: &Db, source: &str) -> Vec<(String, String, i64, i64)> {
    let rows = db
        .fetch_all(
            "SELECT session_id, digest, observation_count, trace_count FROM sessions WHERE source = $1 ORDER BY session_id",
            &params![source],
        )
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            (
                row.get("session_id").unwrap(),
                row.get("digest").unwrap(),
                row.get("observation_count").unwrap(),
                row.get("trace_count").unwrap(),
            )
        })
        .collect()
}

async fn an_observation_without_a_session_belongs_to_the_session_of_its_trace_whichever_comes_first(database: TestDb) {
    let db = &database.db;
    let child = seen("t1", "child", None, 5);
    assert_eq!(merge_page(db, std::slice::from_ref(&child)).await, Merged::default());
    assert!(session(db, "call").await.is_none());

    let root = seen("t1", "root", Some("call"), 0);
    let merged = merge_page(db, std::slice::from_ref(&root)).await;
    assert_eq!(merged, Merged { changed: 1, new: 1 });
    let stored = session(db, "call").await.unwrap();
    assert_eq!(stored.state, SessionState::Open);
    assert_eq!((stored.first_activity_at, stored.last_activity_at), (at(0), at(6)));
    assert_eq!(stored.digest, digest_of([("child", "1"), ("root", "1")]));
    assert_eq!(traces_of(db, &stored.key).await.unwrap(), ["t1"]);
}

async fn the_same_observation_again_changes_nothing_and_a_changed_one_does(database: TestDb) {
    let db = &database.db;
    let page = [seen("t1", "a", Some("call"), 0), seen("t1", "b", Some("call"), 1)];
    merge_page(db, &page).await;
    let before = session(db, "call").await.unwrap();
    assert_eq!(merge_page(db, &page).await, Merged::default());
    assert_eq!(session(db, "call").await.unwrap(), before);

    let mut changed = page[1].clone();
    changed.mark = "2".to_owned();
    assert_eq!(merge_page(db, &[changed]).await, Merged { changed: 1, new: 0 });
    assert_ne!(session(db, "call").await.unwrap().digest, before.digest);
}

async fn pages_in_any_order_and_twice_end_in_the_same_sessions(database: TestDb) {
    pages_in_any_order(&database.db).await;
}

#[tokio::test]
async fn pages_in_any_order_end_in_the_same_sessions_where_the_database_sorts_like_a_dictionary() {
    let test = "pages_in_any_order_end_in_the_same_sessions_where_the_database_sorts_like_a_dictionary";
    let Some(db) = sorting_like_a_dictionary().await else {
        println!("SKIPPED {test}: this server knows no dictionary (PostgreSQL 15 with ICU does)");
        return;
    };
    pages_in_any_order(&db).await;
    db.close().await;
}

async fn pages_in_any_order(db: &Db) {
    let observation = (0..5_u8, 0..6_u8, proptest::option::of(0..3_u8), 0..200_i64);
    let pages = proptest::collection::vec(observation, 1..30).prop_flat_map(|list| {
        let list: BTreeMap<(u8, u8), (Option<u8>, i64)> = list
            .into_iter()
            .map(|(trace, id, session, second)| ((trace, id), (session, second)))
            .collect();
        let list: Vec<SeenObservation> = list
            .into_iter()
            .map(|((trace, id), (session, second))| {
                let session = session.map(|session| NAMES[usize::from(session)]);
                seen(&format!("t{trace}"), &format!("o{trace}-{id}"), session, second)
            })
            .collect();
        (Just(list.clone()), Just(list).prop_shuffle())
    });
    let mut runner = TestRunner::deterministic();
    for case in 0..24 {
        let (ordered, shuffled) = pages.new_tree(&mut runner).unwrap().current();
        let (one, other) = (format!("{case}-one"), format!("{case}-other"));
        merge_into(db, &one, &ordered).await;
        for page in shuffled.chunks(3).chain(ordered.chunks(4)) {
            merge_into(db, &other, page).await;
        }
        assert_eq!(
            all_sessions_of(db, &one).await,
            all_sessions_of(db, &other).await,
            "{shuffled:?}"
        );
    }
}

async fn an_end_signal_counts_until_the_call_goes_on(database: TestDb) {
    let db = &database.db;
    let mut bye = seen("t2", "hangup", Some("call"), 10);
    bye.ends_session = true;
    let page = [
        seen("t1", "a", Some("call"), 0),
        bye,
        seen("t2", "wrapper", Some("call"), 12),
    ];
    merge_page(db, &page).await;
    assert!(session(db, "call").await.unwrap().ended);
    merge_page(db, &[seen("t1", "late", Some("call"), 2)]).await;
    assert!(
        session(db, "call").await.unwrap().ended,
        "a late span of an earlier turn"
    );
    merge_page(db, &[seen("t3", "more", Some("call"), 60)]).await;
    assert!(!session(db, "call").await.unwrap().ended);
}

async fn traces_without_a_session_are_grouped_once_they_rest_and_keep_their_id(database: TestDb) {
    let db = &database.db;
    let of_ada = |trace: &str, second| SeenObservation {
        user_id: Some("ada".to_owned()),
        ..seen(trace, trace, None, second)
    };
    merge_page(db, &[of_ada("t2", 100), of_ada("t3", 150), of_ada("t9", 1_000)]).await;
    assert_eq!(loose_traces(db).await.unwrap()["calls"], 3);
    assert_eq!(group(db, at(200)).await, 2, "the third has not come to rest");
    let id = grouping::group_id("calls", &grouping::user_hash("calls", Some("ada")), at(100));
    assert_eq!(session(db, &id).await.unwrap().first_activity_at, at(100));

    merge_page(db, &[of_ada("t1", 50)]).await;
    assert_eq!(group(db, at(2_000)).await, 2);
    let grown = session(db, &id).await.unwrap();
    assert_eq!(
        grown.first_activity_at,
        at(50),
        "an earlier trace that came late joins, and the id stays"
    );
    assert_eq!(all_sessions(db).await.len(), 2);
    assert!(loose_traces(db).await.unwrap().is_empty());
}

async fn a_trace_that_names_its_session_after_all_leaves_its_group(database: TestDb) {
    let db = &database.db;
    merge_page(db, &[seen("t1", "a", None, 0)]).await;
    assert_eq!(group(db, at(100)).await, 1);
    assert_eq!(all_sessions(db).await.len(), 1);
    merge_page(db, &[seen("t1", "root", Some("call"), 0)]).await;
    let sessions = all_sessions(db).await;
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].0.as_str(), sessions[0].2), ("call", 2));
}

async fn what_is_read_is_found_by_index(database: TestDb) {
    let db = &database.db;
    fill(
        db,
        &[
            "INSERT INTO seen_traces (source, trace_id, session_id, user_hash, started_at, last_activity_at, grouped)
             SELECT 'calls', 't-' || n, CASE WHEN n % 50 <> 0 THEN 's-' || n / 2 END, 'u-' || n % 100,
                    now() - n * interval '1 minute', now() - n * interval '1 minute', n % 50 = 1 FROM generate_series(1, 40000) n",
            "INSERT INTO seen_observations (source, trace_id, observation_id, mark, started_at, last_activity_at, ends_session)
             SELECT source, trace_id, 'o-' || o, 'm', started_at, last_activity_at, false FROM seen_traces, generate_series(1, 2) o",
        ],
    )
    .await;
    let now = db.now().await.unwrap();
    for (steps, index) in [
        (
            db.plan_of(OF_SESSIONS, &params!["calls", json!(["s-7"])]).await,
            ["seen_traces_session"; 2],
        ),
        (
            db.plan_of(SESSIONS_OF, &params!["calls", json!(["t-7"])]).await,
            ["sqlite_autoindex_seen_traces_1", "seen_traces_pkey"],
        ),
        (
            db.plan_of(LOOSE, &params!["calls", now, 10_u32]).await,
            ["seen_traces_loose"; 2],
        ),
        (
            db.plan_of(NEAR, &params!["calls", "u-7", now, now]).await,
            ["seen_traces_grouped", "seen_traces"],
        ),
        (
            db.plan_of(USE_END_SIGNALS, &params!["calls", "s-7", true]).await,
            ["seen_traces_session"; 2],
        ),
    ] {
        Planned { steps, index }.reads_by_index(db, &["seen_traces", "seen_observations", "t", "o"]);
    }
}
