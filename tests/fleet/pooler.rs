//! A fleet that reaches its database through PgBouncer, which is killed in the middle.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
};

use aftercall::sandbox::postgres::port;
use rustix::process::Signal;

use super::{Scale, Server, world};
use crate::support::{
    bakery,
    child::Child,
    history::History,
    state::{broken_promises, count},
    until,
};

/// Debian's `pgbouncer`, or a newer one that is earlier on the path.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.is_file());
    found.expect("Debian's package pgbouncer is installed")
}

/// Whether it passes on what its clients have prepared: from 1.21 on.
fn keeps_prepared_statements() -> bool {
    let output = Command::new(program()).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.split_whitespace().nth(1).unwrap();
    let mut numbers = version
        .split('.')
        .map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next(), numbers.next()) >= (Some(1), Some(21))
}

/// A running pooler. Dropped, it is killed.
struct Pooler {
    address: SocketAddr,
    folder: tempfile::TempDir,
    process: std::process::Child,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Pooler {
    async fn start(server: &Server, mode: &str) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let prepared = if keeps_prepared_statements() {
            "max_prepared_statements = 500"
        } else {
            ""
        };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = 100\n\
             max_client_conn = 500\n{prepared}\n",
            server.cluster.port(),
            address.port()
        );
        fs::write(folder.path().join("pgbouncer.ini"), text).unwrap();
        let process = Self::spawn(&folder);
        let pooler = Self {
            address,
            folder,
            process,
        };
        pooler.listens().await;
        pooler
    }

    fn spawn(folder: &tempfile::TempDir) -> std::process::Child {
        let mut command = Command::new(program());
        // It refuses to work as root.
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        command
            .arg(folder.path().join("pgbouncer.ini"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap()
    }

    async fn listens(&self) {
        until("the pooler listens", async || TcpStream::connect(self.address).is_ok()).await;
    }

    async fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = Self::spawn(&self.folder);
        self.listens().await;
    }

    fn url(&self) -> String {
        format!("postgres://postgres@{}/{}", self.address, Server::DATABASE)
    }
}

const VERDICTS: &str = "SELECT COUNT(*) AS n FROM verdicts";
const SESSIONS: u64 = 60;

/// Judges some sessions through a pooler of this mode that is killed meanwhile; answers what the workers said.
async fn judged_behind(mode: &str) -> String {
    let scale = Scale::now();
    let server = Server::start();
    let db = server.db().await;
    let mut pooler = Pooler::start(&server, mode).await;
    let sessions = bakery::mixed(SESSIONS);
    let world = world(&sessions, &pooler.url(), &scale, |plan| {
        plan.set("queue", "poll", "'200ms'")
    })
    .await;
    let fleet = [
        Child::start(&world, &["scheduler"], &[]),
        Child::start(&world, &["worker"], &[]),
        Child::start(&world, &["worker"], &[]),
    ];
    until("it has begun", async || count(&db, VERDICTS).await >= 5).await;
    pooler.restart().await;
    until("every session is judged", async || {
        count(&db, VERDICTS).await == SESSIONS
    })
    .await;
    let said = fleet.iter().map(Child::err).collect::<String>();
    for child in fleet {
        child.signal(Signal::TERM);
        let ended = child.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{ended}");
    }
    let twice = "SELECT COUNT(*) AS n FROM verdicts WHERE generation > 1";
    assert_eq!(count(&db, twice).await, 0);
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    assert_eq!(
        History::read(&db).await.violations(std::time::Duration::ZERO),
        Vec::<String>::new()
    );
    said
}

const SHARED: &str = "behind a pooler that shares sessions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_pooler_in_session_mode_may_be_killed() {
    let said = judged_behind("session").await;
    assert!(!said.contains(SHARED), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_pooler_in_transaction_mode_may_be_killed_and_nobody_listens_through_it() {
    if keeps_prepared_statements() {
        let said = judged_behind("transaction").await;
        assert!(said.contains(SHARED), "{said}");
        // Who listens there puts announcements into others' answers.
        assert!(!said.contains("NotificationResponse"), "{said}");
        return;
    }
    // An older one mixes up what its clients prepare: that is said at once, with what mends it.
    let server = Server::start();
    server.db().await.close().await;
    let pooler = Pooler::start(&server, "transaction").await;
    let world = world(&bakery::mixed(1), &pooler.url(), &Scale::now(), |plan| plan).await;
    let ended = Child::start(&world, &["run", "--until-idle"], &[]).ended().await;
    assert_eq!(ended.status.code(), Some(3), "{ended}");
    assert!(ended.err.contains("max_prepared_statements"), "{ended}");
}
