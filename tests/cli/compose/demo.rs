//! The fleet of `docker compose --profile demo up --scale worker=3`.

use aftercall::sandbox::demo::{self, DemoSession};
use serde_json::Value;

use super::{Container, Network, command, said, until};
use crate::support::{
    compose::{Compose, Variables, variables},
    state::count,
};

/// What an operator does in a container.
const OPERATED: [&str; 14] = [
    "aftercall doctor",
    "aftercall queues",
    "aftercall coverage",
    "aftercall gate list",
    "aftercall gate close records:practice --reason maintenance",
    "aftercall gate open records:practice",
    "aftercall jobs list",
    "aftercall sessions --status fail --status partial --since 24h",
    "aftercall show demo-11-error-hidden",
    "aftercall pause verify_session --reason maintenance",
    "aftercall resume verify_session",
    "aftercall limit diagnose_session 1",
    "aftercall enqueue discover",
    "aftercall reprocess --status error --dry-run",
];

/// Which of the demo's sessions do not have the verdict that they should.
fn wrong(sessions: &[DemoSession], listed: &Value) -> Vec<String> {
    let verdict_of = |session: &DemoSession| {
        let line = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|line| line["session_id"] == session.id)?;
        Some((
            line["verdict"]["status"].as_str()?.to_owned(),
            line["verdict"]["reason"].as_str()?.to_owned(),
        ))
    };
    let expected = |session: &DemoSession| {
        let text = |value: Value| value.as_str().unwrap().to_owned();
        (
            text(serde_json::to_value(session.status).unwrap()),
            text(serde_json::to_value(session.reason).unwrap()),
        )
    };
    sessions
        .iter()
        .filter(|session| verdict_of(session) != Some(expected(session)))
        .map(|session| format!("{}: {:?}", session.id, verdict_of(session)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_containers_of_the_demo_judge_every_made_up_call_and_end_well() {
    let compose = Compose::read(&variables("demo/compose.env")).unwrap_or_else(|missing| panic!("{missing}"));
    let network = Network::new();
    // What the image of the database makes of its environment.
    let database = compose.service("database");
    let asked_for = database.environment();
    let user = &asked_for["POSTGRES_USER"];
    network
        .cluster
        .psql("postgres", &format!("CREATE ROLE {user} SUPERUSER LOGIN"))
        .unwrap();
    network.cluster.create_database(&asked_for["POSTGRES_DB"]).unwrap();
    let here = Variables::from([
        ("PATH".to_owned(), std::env::var("PATH").unwrap()),
        ("PGPORT".to_owned(), network.cluster.port().to_string()),
    ]);
    let ready = command(&database.check().unwrap(), &here, network.folder.path()).output();
    assert!(ready.as_ref().unwrap().status.success(), "{ready:?}");

    let migrate = compose.service("migrate");
    let words: Vec<String> = ["aftercall".to_owned()].into_iter().chain(migrate.command()).collect();
    let migrated = command(&words, &network.environment(migrate), network.folder.path())
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{}", said(&migrated));

    // --scale worker=3
    let names = ["demo", "worker", "worker", "worker", "scheduler", "api"];
    let mut fleet: Vec<Container> = names.map(|name| network.start_service(compose.service(name))).into();
    for container in &mut fleet {
        container.healthy().await;
    }
    let sessions = demo::sessions().unwrap();
    let db = network.db(&asked_for["POSTGRES_DB"]).await;
    until("every call is judged", async || {
        count(&db, "SELECT COUNT(*) AS n FROM sessions WHERE state = 'done'").await == sessions.len() as u64
    })
    .await;
    let worker = fleet.iter().find(|container| container.name == "worker").unwrap();
    let listed = worker.exec(&["aftercall", "sessions", "--json", "--limit", "100"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_else(|_| panic!("{}", said(&listed)));
    assert_eq!(wrong(&sessions, &listed["sessions"]), Vec::<String>::new());
    until("nothing is left to do", async || {
        let live = "SELECT COUNT(*) AS n FROM jobs WHERE state IN ('available', 'running', 'retryable')";
        count(&db, live).await == 0
    })
    .await;
    for shown in OPERATED {
        let words: Vec<&str> = shown.split(' ').collect();
        let output = worker.exec(&words);
        assert!(output.status.success(), "{shown}: {}", said(&output));
    }
    let roles = "SELECT COUNT(*) AS n FROM workers WHERE role IN ('worker', 'scheduler', 'api')";
    assert_eq!(count(&db, roles).await, 5);
    for container in fleet {
        container.stop().await;
    }
    db.close().await;
}
