//! Every observation is seen in the end, whatever the server's release and the order in which data comes.

use aftercall::{
    adapters::langfuse::Api,
    ports::TraceSource,
    sandbox::langfuse::{Endpoint, Fault, Version, When},
};
use chrono::TimeDelta;

use super::world::{World, noon, turn};

#[tokio::test]
async fn late_reordered_and_repeated_data_is_seen_in_the_end_on_every_release() {
    for version in Version::ALL {
        let mut world = World::new(version).await;
        world.fake.ingest(turn("one", 2, -120));
        world.fake.ingest(turn("one", 1, -600));
        // Comes three minutes later, and a repetition of what was there with it.
        world
            .fake
            .ingest_at(noon() + TimeDelta::minutes(3), turn("one", 3, -60));
        world
            .fake
            .ingest_at(noon() + TimeDelta::minutes(3), turn("one", 1, -600));
        // Comes hours late.
        world
            .fake
            .ingest_at(noon() + TimeDelta::hours(5), turn("two", 1, -3 * 3600));
        world.scan(1).await.unwrap();
        assert_eq!(world.seen.ids().len(), 4, "{version:?}");
        world.scan(6).await.unwrap();
        assert_eq!(world.seen.ids().len(), 6, "{version:?}");
        for minutes in [65, 130, 290, 360] {
            world.scan(minutes).await.unwrap();
        }
        assert_eq!(world.seen.ids().len(), 8, "{version:?}");
        assert!(world.seen.faults.is_empty());
        world.read("one").await;
        world.read("two").await;
    }
}

#[tokio::test]
async fn a_scan_in_pages_sees_everything_though_data_comes_in_between() {
    for version in Version::ALL {
        let mut world = World::new(version).await;
        for number in 0..900 {
            world
                .fake
                .ingest(turn(&format!("session-{}", number % 7), number, -i64::from(number)));
        }
        let now = world.set(1);
        let mut pages = 0;
        while world.seen.scan_once(&world.source, now).await.unwrap() {
            world.fake.ingest(turn("busy", pages, -i64::from(pages) * 40));
            pages += 1;
        }
        assert!(pages > 20, "{version:?}");
        world.scan(6).await.unwrap();
        let expected = 2 * (900 + pages as usize);
        assert_eq!(world.seen.ids().len(), expected, "{version:?}");
        world.read("session-3").await;
    }
}

#[tokio::test]
async fn what_the_database_has_not_merged_yet_counts_by_its_newest_version() {
    let mut world = World::new(Version::V4).await;
    world.fake.ingest(turn("one", 1, -60));
    let mut changed = turn("one", 1, -60);
    for observation in &mut changed {
        observation.updated_at = Some(noon());
        observation.output = serde_json::json!({"text": "answered anew"});
    }
    world.fake.ingest_unmerged(changed);
    world.scan(1).await.unwrap();
    let snapshot = world.read("one").await;
    assert_eq!(snapshot.observations.len(), 2);
    assert!(
        snapshot
            .observations
            .iter()
            .all(|seen| seen.output["text"] == "answered anew")
    );
}

#[tokio::test]
async fn a_server_that_is_upgraded_from_v3_to_v4_is_read_on() {
    for upgraded in [Version::V4, Version::V4Dual] {
        let mut world = World::new(Version::V3).await;
        world.fake.ingest(turn("one", 1, -600));
        world.scan(1).await.unwrap();
        assert!(world.fake.count(Endpoint::Traces) > 0);
        world.fake.switch_to(upgraded);
        world.fake.ingest(turn("one", 2, 120));
        world.scan(6).await.unwrap();
        assert_eq!(world.seen.ids().len(), 4, "{upgraded:?}");
        if upgraded == Version::V4 {
            // What stood for a trace is gone with the traces.
            world.seen.observations.retain(|(_, id), _| !id.starts_with("t-"));
        }
        world.read("one").await;
    }
}

#[tokio::test]
async fn a_slice_that_is_too_large_is_halved_until_it_fits() {
    let mut world = World::new(Version::V4).await;
    for number in 0..60 {
        world.fake.ingest(turn("one", number, -i64::from(number) * 50));
    }
    world.fake.refuse_above(Some(30));
    world.scan(1).await.unwrap();
    assert_eq!(world.seen.ids().len(), 120);
    assert!(world.seen.faults.is_empty());
}

#[tokio::test]
async fn a_moment_that_the_server_can_never_list_is_left_with_a_note_and_holds_nothing_up() {
    let mut world = World::new(Version::V4).await;
    for number in 0..20 {
        world.fake.ingest(turn("busy", number, -3000));
    }
    world.fake.ingest(turn("after", 1, -60));
    world.fake.refuse_above(Some(30));
    let mut refused = 0;
    while let Err(outage) = world.scan(1).await {
        assert!(outage.detail.contains("status 422"), "{outage}");
        refused += 1;
        assert!(refused < 20, "it is left after some tries");
    }
    assert!(refused > 1, "it may only be busy");
    assert_eq!(world.seen.ids().len(), 2);
    assert!(world.seen.faults.iter().any(|fault| fault.reason.contains("422")));
}

#[tokio::test]
async fn our_own_traces_and_other_environments_are_left_out_and_end_signals_are_seen() {
    for version in [Version::V3, Version::V4] {
        let mut world = World::with(version, |config| {
            config.environments = vec!["production".to_owned(), "aftercall".to_owned()];
            config.end_tags = vec!["call-ended".to_owned()];
        })
        .await;
        for (session, environment) in [("ours", "aftercall"), ("tried", "staging"), ("real", "production")] {
            let mut said = turn(session, 1, -60);
            for observation in &mut said {
                observation.environment = Some(environment.to_owned());
                observation.tags = vec!["call-ended".to_owned()];
            }
            world.fake.ingest(said);
        }
        world
            .fake
            .ingest(turn("still-open", 1, -30).into_iter().map(|mut seen| {
                seen.tags.clear();
                seen
            }));
        world.scan(1).await.unwrap();
        let mut sessions: Vec<(&str, bool)> = Vec::new();
        for seen in world.seen.observations.values() {
            let ended = world.seen.observations.values();
            let ended = ended.filter(|other| other.session_id == seen.session_id);
            sessions.push((
                seen.session_id.as_deref().unwrap(),
                ended.into_iter().any(|other| other.ends_session),
            ));
        }
        sessions.sort_unstable();
        sessions.dedup();
        assert_eq!(sessions, [("real", true), ("still-open", false)], "{version:?}");
    }
}

#[tokio::test]
async fn an_outage_in_the_middle_of_a_scan_loses_nothing() {
    for version in [Version::V3, Version::V4] {
        let mut world = World::new(version).await;
        for number in 0..300 {
            world.fake.ingest(turn("one", number, -i64::from(number) * 20));
        }
        let mut outages = 0;
        for fault in [Fault::Status(503), Fault::Html(502), Fault::CutBody, Fault::CutJson] {
            let now = world.set(1);
            for _ in 0..3 {
                world.seen.scan_once(&world.source, now).await.unwrap();
            }
            world.fake.fault(fault, When::Next(1), None);
            outages += u32::from(world.scan(1).await.is_err());
        }
        assert_eq!(outages, 4, "{version:?}");
        world.scan(1).await.unwrap();
        assert_eq!(world.seen.ids().len(), 600, "{version:?}");
        world.read("one").await;
    }
}

#[tokio::test]
async fn a_named_generation_that_the_server_lacks_is_said() {
    for (version, api) in [(Version::V4, Api::Traces), (Version::V3, Api::Observations)] {
        let world = World::with(version, |config| config.api = api).await;
        let error = world.source.scan(None, noon()).await.unwrap_err();
        assert!(error.detail.contains("api = \"auto\""), "{error}");
    }
}

#[tokio::test]
async fn an_id_that_no_index_takes_is_reported_and_what_is_left_is_read_as_it_was_seen() {
    for version in Version::ALL {
        let mut world = World::new(version).await;
        world.fake.ingest(turn("one", 1, -60));
        let mut hostile = turn("one", 2, -50);
        hostile[1].id = "i".repeat(5_000);
        world.fake.ingest(hostile);
        world.fake.ingest(turn(&"s".repeat(5_000), 3, -40));
        world.scan(1).await.unwrap();
        assert_eq!(world.seen.ids().len(), 3, "{version:?}");
        let told = &world.seen.faults[0].reason;
        assert!(told.contains("an id longer than 1000 bytes"), "{version:?}: {told}");
        world.read("one").await;
    }
}
