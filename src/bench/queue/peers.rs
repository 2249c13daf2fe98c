//! Other job queues, measured in the same run by a program of its own (`benches/peers`), which prints a line of JSON for each.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// Where it is built, seen from the project's folder.
const BUILT: &str = "benches/peers/target/release/peers";

/// One measurement of a peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub peer: String,
    /// Which release.
    pub version: String,
    /// How it is configured.
    pub settings: String,
    /// `throughput` or `pickup`.
    pub case: String,
    /// Of jobs that do nothing.
    pub jobs_per_second: Option<f64>,
    /// From push to start.
    pub latency_ms: Option<Latency>,
    /// What it promises so configured.
    pub guarantees: String,
    /// Runs beyond one of each job.
    pub duplicates_seen: u64,
}

/// How long its jobs wait.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[expect(missing_docs, reason = "percentiles")]
pub struct Latency {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Peer {
    /// Which database it works on.
    pub(super) fn is_on_file(&self) -> bool {
        self.peer.ends_with("sqlite")
    }

    /// Whether it takes and ends jobs one by one.
    pub(super) fn is_one_by_one(&self) -> bool {
        self.settings.starts_with("batch 1,") || self.settings.starts_with("no local queue")
    }
}

/// All of them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Peers {
    /// What was measured.
    pub measured: Vec<Peer>,
    /// Why some were not.
    pub not_measured: Option<String>,
}

/// Measures them.
pub(super) async fn run(program: Option<&Path>, server: &str, directory: &Path) -> anyhow::Result<Peers> {
    let program = program.map_or_else(|| PathBuf::from(BUILT), Path::to_owned);
    if !program.is_file() {
        return Ok(Peers {
            measured: Vec::new(),
            not_measured: Some(format!(
                "there is no {}: build it with `cargo build --release` in benches/peers",
                program.display()
            )),
        });
    }
    let mut command = Command::new(&program);
    command.args(["--json", "--postgres", server, "--sqlite"]);
    command.arg(directory.join("peers.db")).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await?;
    let output = output.with_context(|| format!("{} cannot be started", program.display()))?;
    let measured = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("a peer's line cannot be read: {line}")))
        .collect::<anyhow::Result<_>>()?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(Peers {
        measured,
        not_measured: (!output.status.success()).then(|| said.trim().to_owned()),
    })
}
