//! `sandbox postgres`: it serves, and however its command ends, nothing of it stays.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::program::Program;

/// A running command and what it printed.
struct Served {
    command: Child,
    said: serde_json::Value,
}

fn serve() -> Served {
    let program = Program::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aftercall"))
        .args(["sandbox", "postgres", "--json"])
        .current_dir(program.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(command.stdout.take().unwrap());
    while !said.trim_end().ends_with('}') {
        assert!(lines.read_line(&mut said).unwrap() > 0, "it ended: {said}");
    }
    Served {
        command,
        said: serde_json::from_str(&said).unwrap(),
    }
}

impl Served {
    fn address(&self) -> &str {
        let url = self.said["url"].as_str().unwrap();
        url.strip_prefix("postgres://postgres@")
            .and_then(|rest| rest.strip_suffix("/postgres"))
            .unwrap_or_else(|| panic!("{url}"))
    }

    fn folder(&self) -> &Path {
        Path::new(self.said["folder"].as_str().unwrap())
    }

    fn runs(&self) -> bool {
        TcpStream::connect(self.address()).is_ok() && self.folder().exists()
    }

    fn is_gone(&self) -> bool {
        TcpStream::connect(self.address()).is_err() && !self.folder().exists()
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.command.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
}

#[test]
fn a_killed_owner_takes_its_server_and_its_folder_along() {
    let mut served = serve();
    assert!(served.runs());
    served.signal(Signal::KILL);
    served.command.wait().unwrap();
    let began = Instant::now();
    while !served.is_gone() {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", served.said);
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("gone {:?} after kill -9", began.elapsed());
}

/// Whether a process was started with this folder among its arguments.
fn somebody_works_in(folder: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut arguments = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    arguments.any(|arguments| String::from_utf8_lossy(&arguments).contains(folder))
}

#[test]
fn an_owner_may_be_killed_while_its_server_is_made() {
    let program = Program::new();
    let folder = program.path().to_str().unwrap();
    // The server's user makes its folder in here.
    std::fs::set_permissions(program.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    for moment in [5, 20, 50, 100, 200, 400, 700, 1_000] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aftercall"))
            .args(["sandbox", "postgres"])
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        command.kill().unwrap();
        command.wait().unwrap();
        let began = Instant::now();
        while somebody_works_in(folder) {
            assert!(began.elapsed() < Duration::from_secs(30), "killed after {moment} ms");
            std::thread::sleep(Duration::from_millis(5));
        }
        let left: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
        assert!(left.is_empty(), "killed after {moment} ms: {left:?}");
    }
}

#[test]
fn an_owner_that_is_told_to_stop_has_cleaned_up_when_it_ends() {
    let mut served = serve();
    assert!(served.runs());
    served.signal(Signal::INT);
    assert!(served.command.wait().unwrap().success());
    assert!(served.is_gone(), "{}", served.said);
}

#[test]
fn without_a_server_it_says_what_to_install() {
    let program = Program::new();
    let nowhere = program.path().to_str().unwrap();
    let said = program
        .run_with(&["sandbox", "postgres"], &[("AFTERCALL_PG_BIN", nowhere)])
        .exits(1);
    assert!(
        said.stderr.contains(&format!("AFTERCALL_PG_BIN is {nowhere}")),
        "{}",
        said.stderr
    );
}
