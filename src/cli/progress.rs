//! The one moving line of `run --until-idle`: on stderr, on a terminal. Elsewhere a line a minute, so that a log shows that
//! it waits and for what.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{escape, when};
use crate::{pipeline::State, queue::inspect::Pending};

/// Without a terminal, the first line comes after this: short runs say nothing.
const FIRST_LINE: Duration = Duration::from_secs(15);
/// … and the next ones this far apart.
const LINES_APART: Duration = Duration::from_mins(1);

/// The line.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Without a terminal: when the next line is due.
    next_line: Option<Instant>,
}

impl Progress {
    /// Nothing moves in a pipe, or when programs listen.
    pub(super) fn start(json: bool) -> Self {
        let shown = std::io::stderr().is_terminal() && !json;
        let target = if shown {
            ProgressDrawTarget::stderr_with_hz(8)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} sessions {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self {
            bar,
            next_line: (!shown).then(|| Instant::now() + FIRST_LINE),
        }
    }

    /// Shows where the work stands.
    pub(super) fn update(&mut self, state: &State) {
        self.bar.set_length(state.sessions);
        self.bar.set_position(state.done);
        self.bar.set_message(message(&state.pending, state.at));
        if let Some(line) = self.line(state, Instant::now()) {
            eprintln!("{line}");
        }
    }

    /// The line that is due where nothing moves.
    fn line(&mut self, state: &State, now: Instant) -> Option<String> {
        if self.next_line.is_none_or(|due| now < due) || state.is_idle() {
            return None;
        }
        self.next_line = Some(now + LINES_APART);
        let message = message(&state.pending, state.at);
        Some(format!("{} of {} sessions; {message}", state.done, state.sessions))
    }

    /// Takes the line away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// `2 running, 5 ready; next in 40s: look again (verify_session)`.
fn message(pending: &Pending, now: DateTime<Utc>) -> String {
    let mut text = format!("{} running, {} ready", pending.running, pending.due_now);
    if let Some(next) = pending.later.iter().min_by_key(|later| later.earliest) {
        let reason = next.reason.as_deref().unwrap_or("scheduled");
        let reason = escape::visible(reason);
        text = format!(
            "{text}; next {}: {reason} ({})",
            when::until(now, next.earliest),
            next.queue
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::inspect::Later;

    #[test]
    fn without_a_terminal_a_line_a_minute_says_what_is_waited_for() {
        let state = State {
            pending: Pending {
                running: 1,
                ..Pending::default()
            },
            sessions: 3,
            done: 2,
            settling: 0,
            settling_until: None,
            unscanned: 0,
            untraced: 0,
            at: DateTime::from_timestamp(100, 0).unwrap(),
        };
        let mut progress = Progress::start(true);
        let start = Instant::now();
        let mut lines = Vec::new();
        for second in 0..200 {
            lines.extend(
                progress
                    .line(&state, start + Duration::from_secs(second))
                    .map(|line| (second, line)),
            );
        }
        let seconds: Vec<u64> = lines.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [15, 75, 135, 195]);
        assert_eq!(lines[0].1, "2 of 3 sessions; 1 running, 0 ready");
    }

    #[test]
    fn the_line_says_what_is_waited_for() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let later = |seconds, reason: &str| Later {
            queue: "verify_session".to_owned(),
            count: 1,
            earliest: at(seconds),
            reason: Some(reason.to_owned()),
        };
        let pending = Pending {
            due_now: 5,
            running: 2,
            later: vec![later(400, "far"), later(140, "not found\u{1b}[2J yet")],
        };
        assert_eq!(
            message(&pending, at(100)),
            "2 running, 5 ready; next in 40s: not found\\x1b[2J yet (verify_session)"
        );
    }
}
