//! This binary once more, in a process of its own.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A running child and the lines it prints. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Spawned {
    process: Child,
    /// Closed, it tells a bench's child to end.
    input: Option<ChildStdin>,
    lines: UnboundedReceiver<String>,
}

impl Spawned {
    /// Starts it in this directory with these arguments; what it logs goes where ours does.
    pub(super) fn start<S: AsRef<OsStr>>(
        directory: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe().context("cannot find this program")?)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start this program once more")?;
        let input = process.stdin.take();
        let out = process.stdout.take().context("its output is not ours")?;
        let (line_read, lines) = unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line_read.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process, input, lines })
    }

    /// Its next line; `None` when it has ended.
    pub(super) async fn line(&mut self) -> Option<String> {
        self.lines.recv().await
    }

    /// Tells it to end and waits for that: answers what it printed since the last look.
    ///
    /// # Errors
    /// When it failed.
    pub(super) async fn end(mut self) -> anyhow::Result<Vec<String>> {
        drop(self.input.take());
        let mut rest = Vec::new();
        while let Some(line) = self.lines.recv().await {
            rest.push(line);
        }
        let status = self.process.wait()?;
        ensure!(status.success(), "the second process failed: {status}");
        Ok(rest)
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // Ended by itself in a good run.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Tells the first process.
#[expect(clippy::print_stdout, reason = "what the first process reads")]
pub(super) fn say(line: &str) {
    println!("{line}");
}
