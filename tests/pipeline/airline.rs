//! The real airline sessions through the whole flow in a process of its own, as the README's commands run them.
//!
//! The data is not part of the repository: the test says that it was skipped where `AFTERCALL_AIRLINE_DIR` is not set.

use std::{collections::BTreeSet, path::PathBuf};

use aftercall::sandbox::records::Records;

use crate::support::{
    state::{broken_promises, count, verdicts},
    world::Plan,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_airline_session_ends_in_a_verdict() {
    let Some(folder) = std::env::var_os("AFTERCALL_AIRLINE_DIR").map(PathBuf::from) else {
        eprintln!("skipped: AFTERCALL_AIRLINE_DIR is not set");
        return;
    };
    let bundle = std::fs::read_to_string(folder.join("observations.jsonl")).unwrap();
    let mut expected = BTreeSet::new();
    for line in bundle.lines() {
        let observation: serde_json::Value = serde_json::from_str(line).unwrap();
        expected.insert(observation["sessionId"].as_str().unwrap().to_owned());
    }
    let world = Plan::of(&[])
        .bundle(bundle)
        .records(Records::load(&folder).unwrap())
        .set("source", "playbook", "'airline'")
        .set("verification", "look_again", "['50ms']")
        .start()
        .await;
    world.run_child_until_idle().await;
    let db = world.db().await;
    let found = verdicts(&db).await;
    let sessions: BTreeSet<String> = found.iter().map(|(session, _, _)| session.clone()).collect();
    assert_eq!(sessions, expected);
    assert_eq!(found.len(), expected.len(), "one verdict each");
    let errors: Vec<_> = found.iter().filter(|(_, status, _)| status == "error").collect();
    assert!(errors.is_empty(), "{errors:?}");
    for status in ["pass", "fail", "skipped"] {
        assert!(found.iter().any(|(_, found, _)| found == status), "none is {status}");
    }
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM source_faults").await, 0);
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}
