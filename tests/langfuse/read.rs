//! A session is read whole, with the digest that the scans gave it.

use std::collections::BTreeSet;

use aftercall::{
    domain::{observation::Snapshot, playbook::Playbook, transcript::Transcript},
    ports::TraceSource,
    sandbox::langfuse::{Endpoint, Fault, Version, When},
};
use serde_json::json;

use super::world::{World, noon, turn};

#[tokio::test]
async fn the_same_conversation_has_the_same_transcript_from_every_release() {
    let playbook = Playbook::built_in("orthodontics").unwrap();
    let mut transcripts = Vec::new();
    for version in Version::ALL {
        let mut world = World::new(version).await;
        for number in 1..=3 {
            world.fake.ingest(turn("one", number, i64::from(number) * 30 - 600));
        }
        world.scan(1).await.unwrap();
        let snapshot = world.read("one").await;
        let transcript = Transcript::of(&snapshot, &playbook);
        let turns: Vec<String> = transcript.turns.iter().map(|turn| turn.text.clone()).collect();
        let calls: Vec<String> = transcript.calls.iter().map(|call| call.input.to_string()).collect();
        assert_eq!(turns.len(), 6, "{version:?}: {turns:?}");
        assert_eq!(calls.len(), 3, "{version:?}: {calls:?}");
        transcripts.push((turns, calls));
    }
    assert!(transcripts.windows(2).all(|pair| pair[0] == pair[1]), "{transcripts:?}");
}

#[tokio::test]
async fn a_session_id_may_be_any_text() {
    for version in Version::ALL {
        for id in ["sess/ion ü", "a\"b]&c=d?e#f%20", "../..", "日本 ☃"] {
            let mut world = World::new(version).await;
            world.fake.ingest(turn(id, 1, -60));
            world.fake.ingest(turn("another", 1, -60));
            world.scan(1).await.unwrap();
            let snapshot = world.read(id).await;
            assert!(
                snapshot
                    .observations
                    .iter()
                    .all(|seen| seen.session_id.as_deref() == Some(id))
            );
            assert!(!snapshot.observations.is_empty(), "{version:?} {id}");
        }
    }
}

#[tokio::test]
async fn a_session_that_is_named_on_the_root_alone_is_read_with_all_its_steps() {
    for version in Version::ALL {
        let mut world = World::new(version).await;
        let mut said = turn("one", 1, -60);
        said[1].session_id = None;
        world.fake.ingest(said);
        world.scan(1).await.unwrap();
        let snapshot = world.read("one").await;
        assert!(
            snapshot.observations.iter().any(|seen| seen.kind == "TOOL"),
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn a_trace_that_names_two_sessions_belongs_to_one_of_them() {
    let mut world = World::new(Version::V4).await;
    let mut said = turn("b", 1, -60);
    said[1].session_id = Some("a".to_owned());
    world.fake.ingest(said);
    world.fake.ingest(turn("b", 2, -30));
    world.scan(1).await.unwrap();
    assert_eq!(world.read("a").await.observations.len(), 2);
    assert_eq!(world.read("b").await.observations.len(), 2);
}

#[tokio::test]
async fn a_session_that_the_server_does_not_know_is_none() {
    for version in Version::ALL {
        let mut world = World::new(version).await;
        world.fake.ingest(turn("one", 1, -60));
        world.scan(1).await.unwrap();
        let mut unknown = world.seen.session("one");
        unknown.session_id = "nobody".to_owned();
        unknown.trace_ids = vec!["no such trace".to_owned(), "..".to_owned()];
        assert_eq!(world.source.read(&unknown).await.unwrap(), None, "{version:?}");
    }
}

#[tokio::test]
async fn a_large_session_is_cut_visibly_and_keeps_its_digest() {
    for version in [Version::V3, Version::V4] {
        let mut world = World::with(version, |config| config.session_bytes = 100_000).await;
        for number in 0..120 {
            let mut said = turn("one", number, i64::from(number) - 600);
            said[1].output = json!("x".repeat(20_000));
            world.fake.ingest(said);
        }
        world.scan(1).await.unwrap();
        let snapshot = world.read("one").await;
        assert!(
            snapshot.cut.as_ref().is_some_and(|cut| cut.bytes > 2_000_000),
            "{version:?}"
        );
        assert!(serde_json::to_string(&snapshot).unwrap().len() < 400_000, "{version:?}");
        let starts: Vec<_> = snapshot
            .observations
            .iter()
            .map(|seen| (seen.start_time, &seen.id))
            .collect();
        assert!(starts.is_sorted(), "{version:?}");
        assert!(snapshot.observations.iter().all(|seen| seen.start_time < noon()));
    }
}

#[tokio::test]
async fn a_trace_that_the_server_refuses_whole_is_read_in_pages_as_it_would_have_been() {
    for version in [Version::V2, Version::V3] {
        let mut world = World::new(version).await;
        let mut said = turn("one", 1, -600);
        for number in 0..120 {
            let mut step = said[1].clone();
            step.id = format!("step-{number}");
            step.start_time += chrono::TimeDelta::milliseconds(number);
            said.push(step);
        }
        world.fake.ingest(said);
        world.scan(1).await.unwrap();
        let whole = world.read("one").await;
        world
            .fake
            .fault(Fault::Status(422), When::Always, Some(Endpoint::Trace));
        // A page of fifty is too much at first.
        world
            .fake
            .fault(Fault::Status(422), When::Next(1), Some(Endpoint::Observations));
        let in_pages = world.read("one").await;
        let ids = |snapshot: &Snapshot| {
            snapshot
                .observations
                .iter()
                .map(|seen| seen.id.clone())
                .collect::<BTreeSet<_>>()
        };
        assert!(whole.observations.len() >= 122, "{version:?}");
        assert_eq!(ids(&whole), ids(&in_pages), "{version:?}");
        assert_eq!(in_pages.observations.len(), whole.observations.len(), "{version:?}");
        assert_eq!(world.fake.count(Endpoint::Observations), 1 + 5, "{version:?}");

        world
            .fake
            .fault(Fault::Status(422), When::Always, Some(Endpoint::Observations));
        let error = world.source.read(&world.seen.session("one")).await.unwrap_err();
        assert!(error.detail.contains("422") && error.detail.contains("v4"), "{error}");
    }
}
