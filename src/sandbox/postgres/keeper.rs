//! A small process beside the server that outlives its owner by a moment: the one that ends the server when the owner does,
//! also by `kill -9`, when no code of the owner runs any more.
//!
//! It waits at a pipe that only the owner holds, and everything that makes or starts something is done by it, one after the
//! other: at no moment is there something that it does not know of.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::{ClusterError, programs::Programs, user, without_settings};

const SCRIPT: &str = include_str!("keeper.sh");

/// The process. Dropped, it ends the server, removes its folder and is waited for.
#[derive(Debug)]
pub(super) struct Keeper {
    process: Child,
    /// Other children of the owner do not inherit it.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    pub(super) fn start(folder: &Path, programs: &Programs, settings: &str) -> Result<Self, ClusterError> {
        let mut command = Command::new("/bin/sh");
        without_settings(&mut command)
            .args(["-c", SCRIPT, "aftercall-postgres"])
            .args([folder, programs.folder()])
            .arg(settings)
            // Wherever the owner is, the server's user may have no right to be.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Whoever reads the owner's must not wait for this.
            .stderr(Stdio::null())
            // Ctrl-C is for the owner.
            .process_group(0);
        if let Some((user, group)) = user::other_than_root()? {
            command.uid(user).gid(group);
        }
        let mut process = command.spawn()?;
        let commands = process.stdin.take();
        let answers = process.stdout.take().ok_or_else(gone)?;
        Ok(Self {
            process,
            commands,
            answers: BufReader::new(answers),
        })
    }

    /// Has it do something and waits for that.
    pub(super) fn ask(&mut self, what: &str, how: &str) -> Result<(), ClusterError> {
        let commands = self.commands.as_mut().ok_or_else(gone)?;
        commands.write_all(format!("{what} {how}\n").as_bytes())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim_end().split_once(' ').unwrap_or((answer.trim_end(), "")) {
            ("", _) => Err(gone().into()),
            ("0", _) => Ok(()),
            (_, said) => Err(ClusterError::Failed {
                what: what.to_owned(),
                said: said.to_owned(),
            }),
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the process that keeps the server has ended")
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.commands.take());
        // When it cannot be waited for, it still does what it does.
        let _ = self.process.wait();
    }
}
