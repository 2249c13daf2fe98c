//! The containers' processes without containers: what `docker-compose.yml` starts, and what the documents show for a fleet, run
//! here with the same commands, the same environment and the same checks.

mod demo;
mod manual;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use aftercall::{
    db::{Db, Location},
    sandbox::postgres::{Cluster, Options},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    compose::{Service, Variables, root, variables},
    until_within,
};

/// Many processes start at once, and the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(2);

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
    aftercall::sandbox::postgres::port::free().unwrap()
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
