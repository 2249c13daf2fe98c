//! A PostgreSQL cluster of one's own on loopback: made in a second in a temporary folder, and gone with its owner, however
//! that ends. Tests, benches and whoever tries aftercall need no server of theirs, and cannot harm one.

mod error;
mod keeper;
mod options;
pub mod port;
mod programs;
mod shared;
mod user;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

pub use self::{error::ClusterError, options::Options, shared::FreshDatabase};
use self::{keeper::Keeper, programs::Programs};

/// The only role; it may do everything, and needs no password on loopback.
const ROLE: &str = "postgres";
/// The database that is there from the beginning. Nobody else's statements run in it.
const MAINTENANCE: &str = "postgres";
/// How often another port is taken when somebody else was faster.
const PORTS_TRIED: u32 = 10;

/// A running cluster. Dropped, it is stopped and its folder removed.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    programs: Programs,
    /// Major version; 0 before 10, when there were two numbers in it.
    version: u32,
    port: u16,
    keeper: Mutex<Keeper>,
    databases: AtomicU64,
    templates: tokio::sync::Mutex<BTreeSet<String>>,
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Connections are ended, and everything is written.
    Fast,
    /// At once, as by a crash: the next start recovers from the log.
    Immediate,
}

impl Shutdown {
    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

impl Cluster {
    /// Makes a cluster and starts its server; blocks for a second or two.
    ///
    /// # Errors
    /// When this machine has no PostgreSQL server, or it does not start.
    pub fn start(options: &Options) -> Result<Self, ClusterError> {
        let programs = Programs::find()?;
        let folder = fresh_folder(options);
        let mut keeper = Keeper::start(&folder, &programs, &options.file())?;
        keeper.ask("make", "")?;
        let version = std::fs::read_to_string(folder.join("data/PG_VERSION"))?;
        let port = Self::first_start(&mut keeper, &folder)?;
        Ok(Self {
            folder,
            programs,
            version: version.trim_end().parse().unwrap_or_default(),
            port,
            keeper: Mutex::new(keeper),
            databases: AtomicU64::new(0),
            templates: tokio::sync::Mutex::default(),
        })
    }

    /// Between finding a free port and listening on it, another cluster may take it.
    fn first_start(keeper: &mut Keeper, folder: &Path) -> Result<u16, ClusterError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let port = port::free()?;
            match keeper.ask("start", &port.to_string()) {
                Ok(()) => return Ok(port),
                Err(_) if tried < PORTS_TRIED && log(folder).contains("could not bind") => {}
                Err(error) => return Err(error.with_log(&log(folder))),
            }
        }
    }

    /// `postgres://postgres@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{ROLE}@{}/{database}", self.address())
    }

    /// Where it listens. It stays the same when the server is started again.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The port of [`Self::address`]; never 5432.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where everything of it is, its socket included.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        log(&self.folder)
    }

    /// Makes an empty database.
    ///
    /// # Errors
    /// When it exists, or its name is more than small letters, digits and underscores.
    pub fn create_database(&self, name: &str) -> Result<(), ClusterError> {
        self.create_database_from("template1", name)
    }

    /// Makes a database as a copy of another, which nobody may be connected to.
    ///
    /// # Errors
    /// As [`Self::create_database`], and when somebody is connected to the template.
    pub fn create_database_from(&self, template: &str, name: &str) -> Result<(), ClusterError> {
        let (template, name) = (plain(template)?, plain(name)?);
        // The other way writes all of it to the log as well. Before version 15 there is no other way.
        let strategy = if self.version >= 15 { " STRATEGY file_copy" } else { "" };
        self.psql(
            MAINTENANCE,
            &format!("CREATE DATABASE {name} TEMPLATE {template}{strategy}"),
        )
        .map(drop)
    }

    /// Drops a database, if it exists; ends its connections.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn drop_database(&self, name: &str) -> Result<(), ClusterError> {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", plain(name)?);
        self.psql(MAINTENANCE, &sql).map(drop)
    }

    /// Ends all connections to a database; answers how many there were.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn kill_backends(&self, database: &str) -> Result<u32, ClusterError> {
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = '{}' AND pid <> pg_backend_pid()",
            plain(database)?
        );
        let count = self.psql(MAINTENANCE, &sql)?;
        count
            .parse()
            .map_err(|_| ClusterError::Sql(format!("not a count: {count}")))
    }

    /// Runs statements by the server's own client, in one transaction unless they begin some; answers what they select: a
    /// line per row, columns between `|`.
    ///
    /// # Errors
    /// With what the server says.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, ClusterError> {
        let mut command = Command::new(self.programs.path("psql"));
        without_settings(&mut command)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"])
            .args([&self.url(database), "-c", sql])
            .stdin(Stdio::null());
        let output = command.output()?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(ClusterError::Sql(
                String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
            ))
        }
    }

    /// The server's own benchmark.
    ///
    /// # Errors
    /// When this machine does not have it.
    pub fn pgbench(&self) -> Result<PathBuf, ClusterError> {
        let path = self.programs.path("pgbench");
        if path.is_file() {
            Ok(path)
        } else {
            Err(ClusterError::NoProgram(path))
        }
    }

    /// Stops the server; its data stay.
    ///
    /// # Errors
    /// When it does not run, or does not stop.
    pub fn stop(&self, how: Shutdown) -> Result<(), ClusterError> {
        self.keeper().ask("stop", how.name())
    }

    /// Starts a server that was stopped, on the same port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&self) -> Result<(), ClusterError> {
        let started = self.keeper().ask("start", &self.port.to_string());
        started.map_err(|error| error.with_log(&self.log()))
    }

    /// Stops the server and starts it again.
    ///
    /// # Errors
    /// When it does not stop, or does not start.
    pub fn restart(&self, how: Shutdown) -> Result<(), ClusterError> {
        self.stop(how)?;
        self.start_again()
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        // It holds nothing that a panic could leave half changed.
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name that no other database of this cluster has.
    fn fresh_name(&self) -> String {
        format!("fresh_{}", self.databases.fetch_add(1, Ordering::Relaxed))
    }
}

fn fresh_folder(options: &Options) -> PathBuf {
    options
        .place()
        .join(format!("aftercall-postgres-{}", Uuid::new_v4().simple()))
}

/// A name that needs no quotes.
fn plain(name: &str) -> Result<&str, ClusterError> {
    let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(letter) && name.len() < 64 {
        Ok(name)
    } else {
        Err(ClusterError::Name(name.to_owned()))
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("server.log")).unwrap_or_default()
}

/// The programs read the user's own wishes from `PG…`, which are for another server.
fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C")
}

#[cfg(test)]
mod tests;
