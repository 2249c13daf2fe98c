//! A server that is upgraded under the pipeline: what was judged stays judged, what was open comes to its verdict.

use std::{sync::Arc, time::Duration};

use aftercall::{
    db::Db,
    domain::observation::Observation,
    pipeline::{Pipeline, State},
    sandbox::{
        Server,
        langfuse::{self, Endpoint, FakeLangfuse, PUBLIC_KEY, SECRET_KEY, Version},
    },
};
use chrono::{DateTime, TimeDelta};
use serde_json::json;

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session, ordered},
        state::{broken_promises, count, verdict},
        until,
        world::{Plan, World},
    },
};

on_each_engine! {
    a_session_that_was_judged_before_an_upgrade_is_judged_at_most_once_more,
    a_session_that_was_open_during_an_upgrade_comes_to_a_whole_verdict,
}

const VERDICTS: &str = "SELECT COUNT(*) AS n FROM verdicts WHERE session_id = 's-1'";
const INCOMPLETE: &str = "SELECT COUNT(*) AS n FROM sessions WHERE incomplete";
const UPGRADES: [Version; 2] = [Version::V4, Version::V4Dual];

/// A v3 server that the pipeline reads, and the session that it holds in the end.
struct Upgraded {
    fake: Arc<FakeLangfuse>,
    said: Vec<Observation>,
    db: Db,
    pipeline: Pipeline,
    world: World,
    _server: Server,
}

impl Upgraded {
    async fn start() -> Self {
        let fake = Arc::new(FakeLangfuse::new(Version::V3));
        let server = langfuse::start(Arc::clone(&fake)).await.unwrap();
        let session = ordered("s-1").turn("Thank you, that was all.", "Goodbye.");
        let source = format!(
            "[[source]]\nname = 'phone'\nkind = 'langfuse'\nbase_url = '{}'\nplaybook = './bakery.toml'\n\
             public_key = 'file:public'\nsecret_key = 'file:secret'\n\
             settle_after = '1m'\nsettle_steady = '1m'\nsettle_deadline = '30m'\n",
            server.url()
        );
        let world = Plan::of(&[])
            .records(bakery::records(std::slice::from_ref(&session)))
            .files(&[("public", PUBLIC_KEY), ("secret", SECRET_KEY)])
            .append(&source)
            .start()
            .await;
        let db = world.db().await;
        let pipeline = Pipeline::start(&world.config, &db).await.unwrap();
        let said = lately(&session, &fake);
        Self {
            fake,
            said,
            db,
            pipeline,
            world,
            _server: server,
        }
    }

    /// The server is upgraded, and the pipeline begins anew: one that runs goes on with the older reads while a server in
    /// dual mode still offers them.
    async fn upgrade(self, version: Version) -> Self {
        self.pipeline.shutdown().await;
        self.fake.switch_to(version);
        let pipeline = Pipeline::start(&self.world.config, &self.db).await.unwrap();
        Self { pipeline, ..self }
    }

    /// The observations of one of its turns arrive.
    fn arrive(&self, turn: &str) {
        let trace = format!("s-1-{turn}");
        let of_turn: Vec<Observation> = self.said.iter().filter(|one| one.trace_id == trace).cloned().collect();
        assert!(!of_turn.is_empty(), "{trace} of {:?}", self.said);
        self.fake.ingest(of_turn);
    }

    /// Looks at everything once.
    async fn look(&self) -> State {
        self.pipeline.look_now().await.unwrap();
        until("no job is left", async || {
            State::read(&self.db).await.unwrap().pending.is_empty()
        })
        .await;
        State::read(&self.db).await.unwrap()
    }

    /// Looks again and again, a minute apart, until every session has its verdict. Gives how often it looked.
    async fn come_to_rest(&self) -> u32 {
        for looks in 1..20 {
            if self.look().await.is_idle() {
                return looks;
            }
            self.db.advance_clock(Duration::from_secs(61)).await.unwrap();
        }
        panic!("it does not come to rest");
    }
}

/// What was said in the session, as of ten minutes ago.
fn lately(session: &Session, fake: &FakeLangfuse) -> Vec<Observation> {
    let time = |value: &serde_json::Value| value.as_str().unwrap().parse::<DateTime<chrono::Utc>>().unwrap();
    let later = fake.clock().now() - TimeDelta::minutes(10) - time(&session.observations[0]["startTime"]);
    let moved = session.observations.iter().cloned().map(|mut observation| {
        for key in ["startTime", "endTime"] {
            observation[key] = json!(time(&observation[key]) + later);
        }
        observation["updatedAt"] = observation["endTime"].clone();
        serde_json::from_value(observation).unwrap()
    });
    moved.collect()
}

async fn a_session_that_was_judged_before_an_upgrade_is_judged_at_most_once_more() {
    for version in UPGRADES {
        let upgraded = Upgraded::start().await;
        upgraded.arrive("t1");
        upgraded.arrive("t2");
        upgraded.come_to_rest().await;
        assert_eq!(count(&upgraded.db, VERDICTS).await, 1, "{version:?}");
        assert_eq!(verdict(&upgraded.db, "s-1").await.0, "pass", "{version:?}");

        let upgraded = upgraded.upgrade(version).await;
        upgraded.come_to_rest().await;
        assert!(upgraded.fake.count(Endpoint::ObservationsV2) > 0, "{version:?}");
        let judged = count(&upgraded.db, VERDICTS).await;
        assert!(judged <= 2, "{version:?}: {judged} times");
        // Looks for late spans as well change nothing any more.
        for _ in 0..3 {
            upgraded.db.advance_clock(Duration::from_mins(61)).await.unwrap();
            upgraded.come_to_rest().await;
        }
        assert_eq!(count(&upgraded.db, VERDICTS).await, judged, "{version:?}");
        assert_eq!(verdict(&upgraded.db, "s-1").await.0, "pass", "{version:?}");
        assert_eq!(count(&upgraded.db, INCOMPLETE).await, 0, "{version:?}");
        assert_eq!(broken_promises(&upgraded.db).await, Vec::<String>::new(), "{version:?}");
        upgraded.pipeline.shutdown().await;
    }
}

async fn a_session_that_was_open_during_an_upgrade_comes_to_a_whole_verdict() {
    for version in UPGRADES {
        let upgraded = Upgraded::start().await;
        upgraded.arrive("t1");
        assert!(!upgraded.look().await.is_idle(), "{version:?}: it waits to settle");
        assert!(upgraded.fake.count(Endpoint::Traces) > 0, "{version:?}");

        let upgraded = upgraded.upgrade(version).await;
        upgraded.arrive("t2");
        let looks = upgraded.come_to_rest().await;
        assert!(looks < 8, "{version:?}: {looks} looks");
        assert_eq!(count(&upgraded.db, VERDICTS).await, 1, "{version:?}");
        assert_eq!(verdict(&upgraded.db, "s-1").await.0, "pass", "{version:?}");
        assert_eq!(count(&upgraded.db, INCOMPLETE).await, 0, "{version:?}");
        upgraded.pipeline.shutdown().await;
    }
}
