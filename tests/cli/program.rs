//! The real binary in a folder of its own, with nothing of this machine's environment.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use aftercall::db::Location;

use crate::support::{
    Engine,
    bakery::{self, Session},
    engine::{Home, engine},
};

/// The binary in a fresh folder, and a database where the test's is.
pub(super) struct Program {
    pub(super) folder: tempfile::TempDir,
    /// `None`: in the folder.
    server: Option<Home>,
}

/// What a run left.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Program {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = (engine() == Engine::Postgres).then(|| Home::empty(folder.path()));
        Self { folder, server }
    }

    /// What `--db` takes.
    pub(super) fn database(&self) -> &str {
        self.server.as_ref().map_or("t.db", |server| &server.named)
    }

    /// The same as a place to open.
    pub(super) fn location(&self) -> Location {
        match &self.server {
            Some(server) => Location::postgres(&server.named),
            None => Location::sqlite(self.path().join("t.db")),
        }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aftercall"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(
                self.server
                    .iter()
                    .map(|server| ("AFTERCALL_DATABASE_URL", &server.named)),
            )
            .stdin(Stdio::null());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    pub(super) fn run_with(&self, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
        let output = self.command(arguments).envs(env.iter().copied()).output().unwrap();
        Ran::of(&output)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// These sessions in `sessions.jsonl`, what is there after them in `records`, and the bakery's playbook.
    pub(super) fn write_bakery(&self, sessions: &[Session]) {
        let lines: String = sessions.iter().map(Session::lines).collect();
        self.write("sessions.jsonl", &lines);
        self.write("bakery.toml", include_str!("../support/bakery.toml"));
        self.write(
            "records/records_after.json",
            &bakery::records_after(sessions).to_string(),
        );
    }

    /// Judges what [`Program::write_bakery`] wrote, without looking again.
    pub(super) fn judge_bakery(&self, records: &Records) {
        let run = [
            "run",
            "--until-idle",
            "--look-again",
            "none",
            "--bundle",
            "sessions.jsonl",
            "--playbook",
            "./bakery.toml",
            "--records",
            &records.url,
        ];
        self.run(&run).exits(0);
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Serves the folder `records` on a free port until it is dropped.
    pub(super) fn serve_records(&self) -> Records {
        self.serve(&["sandbox", "records", "records"])
    }

    /// Runs a sandbox's server on a free port until it is dropped.
    pub(super) fn serve(&self, arguments: &[&str]) -> Records {
        self.serve_at("127.0.0.1:0", arguments)
    }

    /// The same at another address.
    pub(super) fn serve_at(&self, listen: &str, arguments: &[&str]) -> Records {
        let arguments = [arguments, &["--listen", listen, "--json"]].concat();
        let mut child = self.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        // The address is printed once it listens: waiting for it is waiting for the server.
        let mut answer = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !answer.trim_end().ends_with('}') {
            assert!(lines.read_line(&mut answer).unwrap() > 0, "the server ended: {answer}");
        }
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        Records {
            url: answer["url"].as_str().unwrap().to_owned(),
            child,
        }
    }
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// Expects this exit code.
    #[track_caller]
    pub(super) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", self.stdout))
    }

    /// Expects that nothing printed acts on a terminal.
    #[track_caller]
    pub(super) fn assert_safe(self) -> Self {
        for text in [&self.stdout, &self.stderr] {
            let acts =
                |letter: char| (letter.is_control() && letter != '\n') || ('\u{202a}'..='\u{202e}').contains(&letter);
            assert!(!text.chars().any(acts), "{text:?}");
        }
        self
    }
}

/// A running records server.
pub(super) struct Records {
    pub(super) url: String,
    child: Child,
}

impl Drop for Records {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
