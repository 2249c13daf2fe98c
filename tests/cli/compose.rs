//! The containers' processes without containers: what `docker-compose.yml` starts, and what the documents show for a fleet, run
//! here with the same commands, the same environment and the same checks.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use aftercall::{
    db::{Db, Location},
    sandbox::{
        demo::{self, DemoSession},
        postgres::{Cluster, Options},
    },
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{
    compose::{Compose, Service, Variables, root, variables},
    state::count,
    until_within,
};

/// Many processes start at once, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

async fn until<F: Future<Output = bool>>(what: &str, holds: impl FnMut() -> F) {
    until_within(PATIENCE, what, holds).await;
}

/// Addresses of the containers' network, and where each of them is here.
struct Network {
    cluster: Cluster,
    folder: tempfile::TempDir,
    demo: u16,
}

/// Ports that the containers listen on. Each container has its own of each, so that here each process gets another.
const PORTS: [&str; 4] = [":7700", ":7701", ":7702", ":8080"];

/// A process that stands for a container. Dropped, it is killed.
struct Container {
    name: String,
    environment: Variables,
    check: Vec<String>,
    process: Child,
    log: PathBuf,
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs the program or one of PostgreSQL's in this environment and no other.
fn command(words: &[String], environment: &Variables, folder: &Path) -> Command {
    let mut command = match words[0].as_str() {
        "aftercall" => Command::new(env!("CARGO_BIN_EXE_aftercall")),
        other => Command::new(other),
    };
    command
        .args(&words[1..])
        .env_clear()
        .envs(environment)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

impl Network {
    fn new() -> Self {
        let network = Self {
            cluster: Cluster::start(&Options::fast()).unwrap(),
            folder: tempfile::tempdir().unwrap(),
            demo: free_port(),
        };
        let config = network.here(&fs::read_to_string(root().join("demo/aftercall.toml")).unwrap());
        fs::write(network.path("aftercall.toml"), config).unwrap();
        network
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// With addresses of here in place of those of the network.
    fn here(&self, text: &str) -> String {
        text.replace("database:5432", &self.cluster.address().to_string())
            .replace("db.example:5432", &self.cluster.address().to_string())
            .replace("demo:8080", &format!("127.0.0.1:{}", self.demo))
            .replace("/config/", &format!("{}/", self.folder.path().display()))
            // The server here speaks no TLS.
            .replace("sslmode=verify-full", "sslmode=disable")
    }

    fn environment(&self, service: Service<'_>) -> Variables {
        let mut all = Variables::new();
        for (file, _) in service.env_files() {
            all.extend(variables(file));
        }
        all.extend(service.environment());
        all.into_iter().map(|(name, value)| (name, self.here(&value))).collect()
    }

    /// Words with each port of a container replaced by one that this process has for itself.
    fn with_ports(&self, name: &str, groups: [Vec<String>; 2]) -> [Vec<String>; 2] {
        let free = if name == "demo" { self.demo } else { free_port() };
        groups.map(|words| {
            let replaced = words.into_iter().map(|word| {
                let port = PORTS.into_iter().find(|port| word.ends_with(port));
                port.map_or(word.clone(), |port| {
                    word.trim_end_matches(port).to_owned() + &format!(":{free}")
                })
            });
            replaced.collect()
        })
    }

    /// Starts words as a process that `check` is asked about.
    fn start(&self, name: &str, words: Vec<String>, check: Vec<String>, environment: Variables) -> Container {
        let [words, check] = self.with_ports(name, [words, check]);
        let log = self.path(&format!("{name}-{}.log", free_port()));
        let file = File::create(&log).unwrap();
        let process = command(&words, &environment, self.folder.path())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Container {
            name: name.to_owned(),
            environment,
            check,
            process,
            log,
        }
    }

    fn start_service(&self, service: Service<'_>) -> Container {
        let words = ["aftercall".to_owned()].into_iter().chain(service.command()).collect();
        let environment = self.environment(service);
        self.start(service.name, words, service.check().unwrap(), environment)
    }

    async fn db(&self, database: &str) -> Db {
        Db::open(&Location::postgres(self.cluster.url(database))).await.unwrap()
    }
}

impl Container {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn is_healthy(&self) -> bool {
        let folder = self.log.parent().unwrap();
        let output = command(&self.check, &self.environment, folder).output().unwrap();
        output.status.success()
    }

    async fn healthy(&mut self) {
        let mut ended = None;
        until(&format!("{} is healthy", self.name), || {
            ended = self.process.try_wait().unwrap();
            let done = ended.is_some() || self.is_healthy();
            async move { done }
        })
        .await;
        assert!(ended.is_none(), "{}: {ended:?}\n{}", self.name, self.log());
    }

    /// Another command in the same container.
    fn exec(&self, words: &[&str]) -> Output {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        command(&words, &self.environment, self.log.parent().unwrap())
            .output()
            .unwrap()
    }

    /// As `docker compose stop` does it.
    async fn stop(mut self) {
        let id = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        let mut status = None;
        until(&format!("{} ends", self.name), || {
            status = self.process.try_wait().unwrap();
            let ended = status.is_some();
            async move { ended }
        })
        .await;
        assert_eq!(status.unwrap().code(), Some(0), "{}\n{}", self.name, self.log());
        assert!(!self.is_healthy(), "{} is not there any more", self.name);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

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
    assert_eq!(wrong(&sessions, &listed), Vec::<String>::new());
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

/// The blocks of a language in a section of docs/operations.md.
fn blocks(section: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, rest) = text.split_once(&format!("\n{section}\n")).unwrap();
    let level = section.split(' ').next().unwrap().len();
    let ends = |line: &str| line.starts_with('#') && line.split(' ').next().unwrap().len() <= level;
    let mut blocks = Vec::new();
    let mut inside: Option<String> = None;
    for line in rest.lines() {
        match &mut inside {
            Some(block) if line == "```" => {
                blocks.push(std::mem::take(block));
                inside = None;
            }
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line == format!("```{language}") => inside = Some(String::new()),
            None if line.starts_with("```") && line.len() > 3 => inside = None,
            None if ends(line) => break,
            None => {}
        }
    }
    assert!(!blocks.is_empty(), "{section} shows no {language}");
    blocks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_operations_manual_shows_for_a_fleet_works_as_it_stands() {
    let network = Network::new();
    let cluster = &network.cluster;
    cluster.create_database("calls").unwrap();
    for block in blocks("### The database", "sql") {
        cluster.psql("calls", &block).unwrap();
    }
    let compose = Compose::read(&variables("demo/compose.env")).unwrap_or_else(|missing| panic!("{missing}"));
    let mut fleet = vec![network.start_service(compose.service("demo"))];
    fleet[0].healthy().await;

    let mut environment = variables("demo/secrets.env");
    let config = network.path("aftercall.toml").display().to_string();
    environment.extend([
        ("AFTERCALL_CONFIG".to_owned(), config),
        ("DATABASE_PASSWORD".to_owned(), "change me".to_owned()),
    ]);
    for line in blocks("### Start it", "sh").concat().lines() {
        if let Some(set) = line.strip_prefix("export ") {
            let (name, value) = set.split_once('=').unwrap();
            environment.insert(name.to_owned(), network.here(value.trim_matches('"')));
            continue;
        }
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if matches!(words[1].as_str(), "migrate" | "doctor") {
            let output = command(&words, &environment, network.folder.path()).output().unwrap();
            assert!(output.status.success(), "{line}: {}", said(&output));
        } else {
            let check = vec![
                "aftercall".to_owned(),
                "healthcheck".to_owned(),
                words.last().unwrap().clone(),
            ];
            let mut started = network.start(&words[1].clone(), words, check, environment.clone());
            started.healthy().await;
            fleet.push(started);
        }
    }
    let roles: Vec<&str> = fleet.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(roles, ["demo", "scheduler", "worker", "api"]);

    // Who looks at 3 a.m. may be either of them.
    for block in blocks("### At 3 a.m.", "sql") {
        cluster.psql("calls", &block).unwrap();
        cluster.psql("calls", &format!("SET ROLE aftercall; {block}")).unwrap();
    }

    let db = network.db("calls?options=-csearch_path=aftercall").await;
    let scans = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'discover_sessions' AND state = 'completed'";
    until("both sources have been scanned", async || count(&db, scans).await >= 2).await;
    let before = count(&db, scans).await;
    let ours = "SET ROLE aftercall; SET search_path = aftercall;";
    let sql = blocks("### Jobs of other programs", "sql");
    cluster
        .psql(
            "calls",
            "CREATE ROLE telephony LOGIN; CREATE TABLE public.calls (id text PRIMARY KEY, ended_at timestamptz);
             GRANT INSERT ON public.calls TO telephony",
        )
        .unwrap();
    cluster.psql("calls", &format!("{ours} {}", sql[0])).unwrap();
    cluster
        .psql("calls", &format!("SET ROLE telephony; {}", sql[1]))
        .unwrap();
    until("the scan that it asked for has run", async || {
        count(&db, scans).await > before
    })
    .await;
    // The same call again: its own row refuses, and with it goes the job.
    let again = cluster
        .psql("calls", &format!("SET ROLE telephony; {}", sql[1]))
        .unwrap_err()
        .to_string();
    assert!(again.contains("calls_pkey"), "{again}");
    let refused = cluster
        .psql("calls", "SET ROLE telephony; SELECT * FROM aftercall.jobs")
        .unwrap_err()
        .to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    let unknown = cluster
        .psql(
            "calls",
            "SET ROLE telephony; SELECT aftercall.aftercall_enqueue('nosuch', '{}')",
        )
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("has no queue 'nosuch'") && unknown.contains("HINT:  Queues: analyze_session"),
        "{unknown}"
    );
    for container in fleet {
        container.stop().await;
    }
    db.close().await;
}
