//! A MariaDB server on loopback that the tests of this process share, and that goes with the process, however that ends.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, mysql::MySqlConnectOptions};

const SCRIPT: &str = include_str!("mariadb.sh");

/// The server. Its keeper ends it when nobody holds this pipe any more.
pub(crate) struct MariaDb {
    port: u16,
    _keeper: Child,
    databases: AtomicU32,
}

/// The one of this process.
pub(crate) fn shared() -> &'static MariaDb {
    static SHARED: LazyLock<MariaDb> = LazyLock::new(MariaDb::start);
    &SHARED
}

/// The server refuses to run as root: its own account, which Debian makes with it.
fn own_account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let line = accounts.lines().find(|line| line.starts_with("mysql:"))?;
    let mut fields = line.split(':').skip(2);
    let mut number = || fields.next()?.parse().ok();
    Some((number()?, number()?))
}

impl MariaDb {
    fn start() -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = env::temp_dir().join(format!("aftercall-mariadb-{}", uuid::Uuid::new_v4().simple()));
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "aftercall-mariadb"])
            .args([folder.as_os_str(), port.to_string().as_ref()])
            // Debian keeps the server off the path of most users.
            .env(
                "PATH",
                format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default()),
            )
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some((user, group)) = own_account() {
            command.uid(user).gid(group);
        }
        let mut keeper = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        assert_eq!(
            said.trim(),
            "ready",
            "MariaDB does not start: scripts/prepare installs it (Debian: mariadb-server)"
        );
        Self {
            port,
            _keeper: keeper,
            databases: AtomicU32::new(0),
        }
    }

    /// `mysql://root@127.0.0.1:PORT/DATABASE`.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_of("root", database)
    }

    pub(crate) fn url_of(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// An empty database that nobody else has: its name.
    pub(crate) async fn fresh_database(&self) -> String {
        let name = format!("fresh_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("mysql", &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))
            .await;
        name
    }

    /// Runs statements as root.
    pub(crate) async fn run(&self, database: &str, sql: &str) {
        let options: MySqlConnectOptions = self.url(database).parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}
