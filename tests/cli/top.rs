//! `top` on a terminal of its own: what it draws, how it ends, and that the terminal is then as it was.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};

use super::program::Program;
use crate::{program_on_each_engine, support::bakery};

program_on_each_engine! {
    it_draws_the_fleet_within_the_terminal_and_q_gives_the_terminal_back,
    ctrl_c_and_sigterm_give_the_terminal_back_too,
    into_a_pipe_it_says_how_to_look_once,
}

const PATIENCE: Duration = Duration::from_mins(1);
const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";

/// The program on a terminal.
struct OnTerminal {
    child: Child,
    keys: File,
    drawn: Receiver<Vec<u8>>,
    seen: String,
    before: Termios,
    terminal: File,
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl OnTerminal {
    fn start(program: &Program, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = || File::from(open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
        let terminal = theirs();
        tcsetwinsize(&terminal, size(80, 24)).unwrap();
        let before = tcgetattr(&terminal).unwrap();
        let mut command: Command = program.command(arguments);
        let child = command
            .envs(env.iter().copied())
            .stdin(Stdio::from(theirs()))
            .stdout(Stdio::from(theirs()))
            .stderr(Stdio::from(theirs()))
            .spawn()
            .unwrap();
        let keys = File::from(ours);
        let mut output = keys.try_clone().unwrap();
        let (send, drawn) = channel();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            // Fails once nobody has the terminal open any more.
            while let Ok(length @ 1..) = output.read(&mut part) {
                if send.send(part[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            drawn,
            seen: String::new(),
            before,
            terminal,
        }
    }

    /// Waits until this was drawn since the last time, and forgets what came before it.
    fn shows(&mut self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(start) = self.seen.find(what) {
                self.seen.drain(..start + what.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.drawn.recv_timeout(left) {
                Ok(part) => self.seen.push_str(&String::from_utf8_lossy(&part)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("`{what}` was not drawn: {}", self.seen)
                }
            }
        }
    }

    /// Waits until it ended and left the terminal as it was.
    fn ends(mut self) -> ExitStatus {
        self.shows(LEAVE);
        self.shows(SHOW_CURSOR);
        let status = self.child.wait().unwrap();
        let after = tcgetattr(&self.terminal).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        status
    }
}

fn judged() -> Program {
    let program = Program::new();
    program.write_bakery(&[bakery::ordered("s-ordered")]);
    let records = program.serve_records();
    program.judge_bakery(&records);
    program
}

/// The escape sequences of one frame taken away, line by line.
fn frame(drawn: &str) -> Vec<String> {
    let sequence = regex::Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").unwrap();
    let at_line_starts = drawn.replace("\u{1b}[K", "\n");
    let lines = at_line_starts.lines();
    lines
        .map(|line| sequence.replace_all(line, "").trim_end().to_owned())
        .collect()
}

fn it_draws_the_fleet_within_the_terminal_and_q_gives_the_terminal_back() {
    let program = judged();
    let mut top = OnTerminal::start(&program, &["top", "--every", "200ms"], &[]);
    top.shows(ENTER);
    assert!(
        !tcgetattr(&top.terminal).unwrap().local_modes.contains(LocalModes::ECHO),
        "keys are not echoed"
    );
    top.shows("verify_session");
    // A whole frame at the new size.
    tcsetwinsize(&top.terminal, size(64, 9)).unwrap();
    top.shows("the window is too low");
    let begin = "\u{1b}[?2026h";
    let end = "\u{1b}[?2026l";
    top.shows(end);
    while !top.seen.contains(end) {
        let part = top.drawn.recv_timeout(PATIENCE).unwrap();
        top.seen.push_str(&String::from_utf8_lossy(&part));
    }
    let drawn = top.seen[top.seen.find(begin).unwrap()..top.seen.find(end).unwrap()].to_owned();
    assert!(drawn.contains("\u{1b}[90m"), "headers are dim: {drawn:?}");
    let lines = frame(&drawn);
    assert!(lines.len() <= 10, "{lines:#?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 64), "{lines:#?}");
    top.keys.write_all(b"xq").unwrap();
    assert!(top.ends().success());
}

fn ctrl_c_and_sigterm_give_the_terminal_back_too() {
    let program = judged();
    let mut top = OnTerminal::start(&program, &["top"], &[("NO_COLOR", "1")]);
    top.shows("verify_session");
    assert!(!top.seen.contains("\u{1b}[3"), "{:?}", top.seen);
    top.keys.write_all(&[3]).unwrap();
    assert!(top.ends().success());

    let mut top = OnTerminal::start(&program, &["top"], &[]);
    top.shows("verify_session");
    let pid = Pid::from_child(&top.child);
    kill_process(pid, Signal::TERM).unwrap();
    assert!(top.ends().success());
}

fn into_a_pipe_it_says_how_to_look_once() {
    let program = judged();
    let refused = program.run(&["top"]).exits(2);
    assert!(refused.stderr.contains("aftercall top --once"), "{}", refused.stderr);
    program.run(&["top", "--json"]).exits(2);
    let once = program.run(&["top", "--once"]).exits(0).stdout;
    assert!(once.contains("verify_session") && !once.contains('\u{1b}'), "{once}");
}
