//! The real binary in a process of its own, to be killed, stopped and read.

use std::{
    fmt,
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{until, world::World};

/// A running process. Dropped, it is killed.
pub(crate) struct Child {
    process: std::process::Child,
    out: PathBuf,
    err: PathBuf,
}

/// How it ended and what it said.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.out, self.err)
    }
}

impl Ended {
    /// It was killed with `kill -9`.
    pub(crate) fn was_killed(&self) -> bool {
        self.status.signal() == Some(Signal::KILL.as_raw())
    }
}

impl Child {
    /// Starts the binary with a world's configuration.
    pub(crate) fn start(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let out = world.path(&format!("child-{number}.out"));
        let err = world.path(&format!("child-{number}.err"));
        let process = Command::new(env!("CARGO_BIN_EXE_aftercall"))
            .arg("--config")
            .arg(world.config_file())
            .args(arguments)
            .current_dir(world.directory())
            .env_remove("AFTERCALL_FAULT")
            .env_remove("AFTERCALL_LOG")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Self { process, out, err }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(
            Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap(),
            signal,
        )
        .unwrap();
    }

    /// What it wrote to stderr so far.
    pub(crate) fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// What it wrote to stdout so far.
    pub(crate) fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// Waits until it says where it serves, and answers that address.
    pub(crate) async fn url(&self) -> String {
        let mut url = None;
        until("it says where it serves", || {
            let said = self.out() + &self.err();
            let found = said
                .lines()
                // A line that is still being written is not read.
                .filter(|line| line.contains("url") && line.ends_with('"'))
                .find_map(|line| {
                    line.find("http://")
                        .map(|from| line[from..].trim_end_matches('"').to_owned())
                });
            url = found;
            let serves = url.is_some();
            async move { serves }
        })
        .await;
        url.unwrap()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let mut status = None;
        let process = &mut self.process;
        until("the process ends", || {
            status = process.try_wait().unwrap();
            let ended = status.is_some();
            async move { ended }
        })
        .await;
        Ended {
            status: status.unwrap(),
            out: fs::read_to_string(&self.out).unwrap(),
            err: fs::read_to_string(&self.err).unwrap(),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
