//! What the server refuses, as what it is, and without a secret.

use std::time::Duration;

use aftercall::{
    adapters::{langfuse::Langfuse, secret::Secret},
    ports::{TraceSource, UpstreamReason},
    sandbox::langfuse::{Endpoint, Fault, Version, When},
};

use super::world::{World, config, noon, turn};

#[tokio::test]
async fn a_wrong_key_is_auth_on_every_release_and_is_not_printed() {
    for version in Version::ALL {
        let world = World::new(version).await;
        let mut wrong = config(&world.server.url());
        wrong.secret_key = Secret::new("sk-lf-canary");
        let source = Langfuse::new(wrong).unwrap();
        for error in [
            source.scan(None, noon()).await.unwrap_err(),
            source.probe().await.unwrap_err(),
        ] {
            assert_eq!(error.reason, UpstreamReason::AuthInvalid, "{version:?}: {error}");
            assert!(error.detail.contains("secret_key"), "{error}");
            assert!(!format!("{error:?} {source:?}").contains("canary"));
        }
    }
}

#[tokio::test]
async fn a_rate_limit_names_its_pause_and_nothing_is_sent_before_it_is_over() {
    for (fault, version) in [
        (Fault::RateLimited(41), Version::V4),
        (Fault::RateLimitedPlain(41), Version::V3),
    ] {
        let mut world = World::new(version).await;
        world.scan(1).await.unwrap();
        world.fake.fault(fault, When::Always, None);
        let error = world.scan(2).await.unwrap_err();
        assert_eq!(error.reason, UpstreamReason::RateLimited);
        assert_eq!(error.retry_after, Some(Duration::from_secs(41)));
        let sent = world.fake.requests().len();
        let error = world.scan(2).await.unwrap_err();
        assert!(error.retry_after.is_some_and(|pause| pause <= Duration::from_secs(41)));
        assert_eq!(world.fake.requests().len(), sent);
    }
}

#[tokio::test]
async fn trouble_of_the_server_is_unreachable_and_a_page_for_people_is_a_bad_answer() {
    for (fault, reason) in [
        (Fault::Status(500), UpstreamReason::Unreachable),
        (Fault::Status(503), UpstreamReason::Unreachable),
        (Fault::Html(502), UpstreamReason::Unreachable),
        (Fault::CutBody, UpstreamReason::Unreachable),
        (Fault::Html(200), UpstreamReason::BadAnswer),
        (Fault::CutJson, UpstreamReason::BadAnswer),
        (Fault::Status(400), UpstreamReason::BadAnswer),
    ] {
        for version in [Version::V3, Version::V4] {
            let mut world = World::new(version).await;
            world.fake.ingest(turn("one", 1, -60));
            world.scan(1).await.unwrap();
            world.fake.fault(fault, When::Always, None);
            let error = world.scan(2).await.unwrap_err();
            assert_eq!(error.reason, reason, "{fault:?} {version:?}: {error}");
            let error = world.source.read(&world.seen.session("one")).await.unwrap_err();
            assert_eq!(error.reason, reason, "{fault:?} {version:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_left_after_the_timeout() {
    let world = World::with(Version::V4, |config| config.timeout = Duration::from_millis(200)).await;
    world.fake.fault(Fault::Hang, When::Always, None);
    let error = world.source.scan(None, noon()).await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::Unreachable);
}

#[tokio::test]
async fn an_address_that_is_not_a_langfuse_servers_is_said() {
    let world = World::new(Version::V4).await;
    let source = Langfuse::new(config(&format!("{}/elsewhere", world.server.url()))).unwrap();
    let error = source.scan(None, noon()).await.unwrap_err();
    assert!(error.detail.contains("base_url"), "{error}");
}

#[tokio::test]
async fn a_probe_names_project_release_and_generation() {
    for version in Version::ALL {
        let world = World::new(version).await;
        let probe = world.source.probe().await.unwrap();
        let texts: Vec<&str> = probe.notes.iter().map(|note| note.text.as_str()).collect();
        let shown = texts.join("\n");
        assert!(shown.contains("keys accepted: project"), "{shown}");
        assert!(shown.contains(version.release()), "{shown}");
        let newer = matches!(version, Version::V4 | Version::V4Dual);
        assert_eq!(shown.contains("v2/observations"), newer, "{shown}");
        assert!(world.fake.count(Endpoint::Projects) == 1);
    }
}
