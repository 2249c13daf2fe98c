//! What pages of observations add up to.

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::{db::Location, domain::session::SessionState, store::sessions::StoredSession};

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

async fn database() -> (tempfile::TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&Location::sqlite(folder.path().join("seen.db")))
        .await
        .unwrap();
    (folder, db)
}

async fn merge_page(db: &Db, page: &[SeenObservation]) -> Merged {
    let mut tx = db.begin().await.unwrap();
    let merged = merge(&mut tx, "calls", page).await.unwrap();
    tx.commit().await.unwrap();
    merged
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
    let rows = db
        .fetch_all(
            "SELECT session_id, digest, observation_count, trace_count FROM sessions ORDER BY session_id",
            &[],
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

#[tokio::test]
async fn an_observation_without_a_session_belongs_to_the_session_of_its_trace_whichever_comes_first() {
    let (_folder, db) = database().await;
    let child = seen("t1", "child", None, 5);
    assert_eq!(merge_page(&db, std::slice::from_ref(&child)).await, Merged::default());
    assert!(session(&db, "call").await.is_none());

    let root = seen("t1", "root", Some("call"), 0);
    let merged = merge_page(&db, std::slice::from_ref(&root)).await;
    assert_eq!(merged, Merged { changed: 1, new: 1 });
    let stored = session(&db, "call").await.unwrap();
    assert_eq!(stored.state, SessionState::Open);
    assert_eq!((stored.first_activity_at, stored.last_activity_at), (at(0), at(6)));
    assert_eq!(stored.digest, digest_of([("child", "1"), ("root", "1")]));
    assert_eq!(traces_of(&db, &stored.key).await.unwrap(), ["t1"]);
}

#[tokio::test]
async fn the_same_observation_again_changes_nothing_and_a_changed_one_does() {
    let (_folder, db) = database().await;
    let page = [seen("t1", "a", Some("call"), 0), seen("t1", "b", Some("call"), 1)];
    merge_page(&db, &page).await;
    let before = session(&db, "call").await.unwrap();
    assert_eq!(merge_page(&db, &page).await, Merged::default());
    assert_eq!(session(&db, "call").await.unwrap(), before);

    let mut changed = page[1].clone();
    changed.mark = "2".to_owned();
    assert_eq!(merge_page(&db, &[changed]).await, Merged { changed: 1, new: 0 });
    assert_ne!(session(&db, "call").await.unwrap().digest, before.digest);
}

#[test]
fn pages_in_any_order_and_twice_end_in_the_same_sessions() {
    let observation = (0..5_u8, 0..6_u8, proptest::option::of(0..3_u8), 0..200_i64);
    let pages = proptest::collection::vec(observation, 1..30).prop_flat_map(|list| {
        let list: BTreeMap<(u8, u8), (Option<u8>, i64)> = list
            .into_iter()
            .map(|(trace, id, session, second)| ((trace, id), (session, second)))
            .collect();
        let list: Vec<SeenObservation> = list
            .into_iter()
            .map(|((trace, id), (session, second))| {
                let session = session.map(|session| format!("s{session}"));
                seen(
                    &format!("t{trace}"),
                    &format!("o{trace}-{id}"),
                    session.as_deref(),
                    second,
                )
            })
            .collect();
        (Just(list.clone()), Just(list).prop_shuffle())
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&pages, |(ordered, shuffled)| {
            runtime.block_on(async {
                let (_one, db_one) = database().await;
                merge_page(&db_one, &ordered).await;
                let (_other, db_other) = database().await;
                for page in shuffled.chunks(3).chain(ordered.chunks(4)) {
                    merge_page(&db_other, page).await;
                }
                prop_assert_eq!(all_sessions(&db_one).await, all_sessions(&db_other).await);
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn an_end_signal_counts_until_the_call_goes_on() {
    let (_folder, db) = database().await;
    let mut bye = seen("t2", "hangup", Some("call"), 10);
    bye.ends_session = true;
    let page = [
        seen("t1", "a", Some("call"), 0),
        bye,
        seen("t2", "wrapper", Some("call"), 12),
    ];
    merge_page(&db, &page).await;
    assert!(session(&db, "call").await.unwrap().ended);
    merge_page(&db, &[seen("t1", "late", Some("call"), 2)]).await;
    assert!(
        session(&db, "call").await.unwrap().ended,
        "a late span of an earlier turn"
    );
    merge_page(&db, &[seen("t3", "more", Some("call"), 60)]).await;
    assert!(!session(&db, "call").await.unwrap().ended);
}

#[tokio::test]
async fn traces_without_a_session_are_grouped_once_they_rest_and_keep_their_id() {
    let (_folder, db) = database().await;
    let of_ada = |trace: &str, second| SeenObservation {
        user_id: Some("ada".to_owned()),
        ..seen(trace, trace, None, second)
    };
    merge_page(&db, &[of_ada("t2", 100), of_ada("t3", 150), of_ada("t9", 1_000)]).await;
    assert_eq!(loose_traces(&db).await.unwrap()["calls"], 3);
    assert_eq!(group(&db, at(200)).await, 2, "the third has not come to rest");
    let id = grouping::group_id("calls", &grouping::user_hash("calls", Some("ada")), at(100));
    assert_eq!(session(&db, &id).await.unwrap().first_activity_at, at(100));

    merge_page(&db, &[of_ada("t1", 50)]).await;
    assert_eq!(group(&db, at(2_000)).await, 2);
    let grown = session(&db, &id).await.unwrap();
    assert_eq!(
        grown.first_activity_at,
        at(50),
        "an earlier trace that came late joins, and the id stays"
    );
    assert_eq!(all_sessions(&db).await.len(), 2);
    assert!(loose_traces(&db).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_trace_that_names_its_session_after_all_leaves_its_group() {
    let (_folder, db) = database().await;
    merge_page(&db, &[seen("t1", "a", None, 0)]).await;
    assert_eq!(group(&db, at(100)).await, 1);
    assert_eq!(all_sessions(&db).await.len(), 1);
    merge_page(&db, &[seen("t1", "root", Some("call"), 0)]).await;
    let sessions = all_sessions(&db).await;
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].0.as_str(), sessions[0].2), ("call", 2));
}

#[tokio::test]
async fn what_is_read_is_found_by_index() {
    let (_folder, db) = database().await;
    for (plan, index) in [
        (
            db.plan_of(OF_SESSIONS, &params!["calls", json!(["s"])]).await,
            "seen_traces_session",
        ),
        (
            db.plan_of(SESSIONS_OF, &params!["calls", json!(["t"])]).await,
            "sqlite_autoindex_seen_traces_1",
        ),
        (
            db.plan_of(LOOSE, &params!["calls", at(0), 10_u32]).await,
            "seen_traces_loose",
        ),
        (
            db.plan_of(NEAR, &params!["calls", "", at(0), at(1)]).await,
            "seen_traces_grouped",
        ),
    ] {
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
        assert!(
            !plan.iter().any(|step| step.starts_with("SCAN seen_")),
            "{index}: {plan:#?}"
        );
    }
}
