//! The one moving line of `run --until-idle`: on stderr, and only on a terminal.

use std::{io::IsTerminal as _, time::Duration};

use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{escape, when};
use crate::{pipeline::State, queue::inspect::Pending};

/// The line.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Nothing is drawn into a pipe, or when programs listen.
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
        Self { bar }
    }

    /// Shows where the work stands.
    pub(super) fn update(&self, state: &State) {
        self.bar.set_length(state.sessions);
        self.bar.set_position(state.done);
        self.bar.set_message(message(&state.pending, state.at));
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
