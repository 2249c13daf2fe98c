//! What `top` draws: tables that are cut to the width that there is, and never wrapped.

use std::collections::BTreeMap;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::{
    cli::{escape, output::Tone, when},
    operate::look::Look,
    queue::inspect::{LimitUse, QueueDepth, processes::ProcessState},
};

/// Blanks between two columns.
const GAP: usize = 2;
/// No column is cut below this.
const NARROWEST: usize = 6;

/// Processes shown at most: what failed is to be seen below them.
const PROCESSES: usize = 12;

/// Paints a text that is as wide as it will be.
pub(super) type Paint<'a> = &'a dyn Fn(&str, Tone) -> String;

/// A whole screen: no more lines than fit, none wider than it is.
pub(super) fn page(
    look: &Look,
    place: &str,
    trouble: Option<&str>,
    (width, height): (usize, usize),
    paint: Paint<'_>,
) -> Vec<String> {
    let title = format!(
        "aftercall  {}  q ends  {}",
        when::instant(look.at),
        escape::visible(place)
    );
    let mut page = vec![paint(&cut(&title, width), Tone::Dim)];
    if let Some(trouble) = trouble {
        let text = format!("no answer, this is from then: {}", escape::visible(trouble));
        page.push(paint(&cut(&text, width), Tone::Bad));
    }
    page.push(String::new());
    page.extend(lines(look, Some(width), paint));
    if page.len() > height {
        page.truncate(height.saturating_sub(1));
        page.push(paint(&cut("… the window is too low for the rest", width), Tone::Dim));
    }
    page
}

/// The tables, one below the other. Without a width nothing is cut.
pub(super) fn lines(look: &Look, width: Option<usize>, paint: Paint<'_>) -> Vec<String> {
    let tables = [gates(look), queues(look, width), processes(look), failures(look)];
    let mut lines = Vec::new();
    for table in tables.into_iter().flatten() {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(table.lines(width, paint));
    }
    lines
}

fn queues(look: &Look, width: Option<usize>) -> Option<Table> {
    let is_wide = width.is_none_or(|width| width >= 110);
    let mut header = vec![
        "QUEUE", ">READY", ">OLDEST", ">RUN", ">LIMIT", ">HELD", ">LATER", ">RETRY",
    ];
    if is_wide {
        header.extend([">DONE", ">GIVEN UP"]);
    }
    header.extend([">PER S", ""]);
    let mut table = Table::new(header);
    for depth in &look.queues {
        let count = |state: &str| depth.by_state.get(state).copied().unwrap_or_default();
        let held: u64 = depth.held.values().sum();
        let oldest = depth.oldest_waiting.map(|oldest| when::age(look.at, oldest));
        let rate = look.recent.completed_per_second.get(&depth.queue).copied();
        let mut row = vec![
            plain(&depth.queue),
            number(count("available")),
            plain(oldest.unwrap_or_default()),
            number(count("running")),
            plain(limit(&depth.limits)),
            toned(amount(held), Tone::Warn),
            number(count("scheduled").saturating_sub(held)),
            toned(amount(count("retryable")), Tone::Warn),
        ];
        if is_wide {
            row.extend([number(count("completed")), toned(amount(count("discarded")), Tone::Bad)]);
        }
        row.extend([plain(rate.map(per_second).unwrap_or_default()), note(depth, look)]);
        table.row(row);
    }
    (!look.queues.is_empty()).then_some(table)
}

/// Of the fullest of its limits.
fn limit(limits: &[LimitUse]) -> String {
    let of = |limit: &LimitUse| limit.max_running.map(|max| (limit.running, max));
    let fullest = limits.iter().filter_map(of).max_by(|(a, of_a), (b, of_b)| {
        let left = a.saturating_mul(u64::from(*of_b));
        left.cmp(&b.saturating_mul(u64::from(*of_a)))
    });
    match fullest {
        Some((running, max)) if limits.len() > 1 => format!("{running}/{max}×{}", limits.len()),
        Some((running, max)) => format!("{running}/{max}"),
        None => String::new(),
    }
}

/// What an operator did, or what is wrong.
fn note(depth: &QueueDepth, look: &Look) -> (String, Tone) {
    if let Some(pause) = &depth.paused {
        return toned(format!("paused by {}: {}", pause.by, pause.reason), Tone::Warn);
    }
    let is_served = look
        .processes
        .iter()
        .any(|process| process.state == ProcessState::Live && process.row.queues.contains(&depth.queue));
    let waits = depth
        .by_state
        .iter()
        .any(|(state, count)| *count > 0 && matches!(state.as_str(), "available" | "scheduled" | "retryable"));
    if waits && !is_served {
        return toned("no live process serves it", Tone::Bad);
    }
    let rate = depth
        .limits
        .iter()
        .find_map(|limit| match (limit.rate_used, limit.rate_max) {
            (Some(used), Some(max)) if used >= u64::from(max) => Some(format!("{used}/{max} starts: rate reached")),
            _ => None,
        });
    toned(rate.unwrap_or_default(), Tone::Dim)
}

fn gates(look: &Look) -> Option<Table> {
    let mut table = Table::new(vec!["DOWN", "WHY", ">FOR", ">HOLDS", "TRIED", ""]);
    for gate in &look.gates {
        let tried = match gate.probe_at {
            _ if gate.probe_job.is_some() => "now".to_owned(),
            Some(probe_at) => when::until(look.at, probe_at),
            None => "by hand".to_owned(),
        };
        let since = gate.closed_at.map(|closed_at| when::age(look.at, closed_at));
        table.row(vec![
            toned(&gate.key, Tone::Bad),
            plain(gate.reason.as_deref().unwrap_or_default()),
            plain(since.unwrap_or_default()),
            number(gate.held_jobs()),
            plain(tried),
            plain(gate.detail.as_deref().unwrap_or_default()),
        ]);
    }
    (!look.gates.is_empty()).then_some(table)
}

fn processes(look: &Look) -> Option<Table> {
    let mut table = Table::new(vec![
        "PROCESS", ">PID", "ROLE", "VERSION", "STATE", ">SEEN", ">RUNS", "",
    ]);
    for process in look.processes.iter().take(PROCESSES) {
        let (row, state) = (&process.row, process.state);
        let tone = if state == ProcessState::Live {
            Tone::Good
        } else {
            Tone::Bad
        };
        let outdated = if process.outdated { Tone::Warn } else { Tone::Plain };
        // By queue, and the longest of each.
        let mut runs: BTreeMap<&str, (u64, _)> = BTreeMap::new();
        for held in &process.running {
            runs.entry(&held.queue).or_insert((0, held.started_at)).0 += 1;
        }
        let runs = runs.iter().map(|(queue, (count, since))| {
            let times = if *count > 1 {
                format!(" ×{count}")
            } else {
                String::new()
            };
            format!("{queue}{times} {}", when::age(look.at, *since))
        });
        table.row(vec![
            plain(&row.host),
            plain(row.pid.to_string()),
            plain(row.role.as_deref().unwrap_or("run")),
            toned(&row.version, outdated),
            toned(state.as_str(), tone),
            plain(when::age(look.at, row.last_seen_at)),
            number(process.leases),
            plain(runs.collect::<Vec<String>>().join(", ")),
        ]);
    }
    let more = look.processes.len().saturating_sub(PROCESSES);
    if more > 0 {
        table.row(vec![plain(format!("and {more} more: aftercall workers"))]);
    }
    (!look.processes.is_empty()).then_some(table)
}

fn failures(look: &Look) -> Option<Table> {
    let mut table = Table::new(vec![">FAILED", "QUEUE", "OUTCOME", "JOB", ""]);
    for failed in &look.recent.failures {
        table.row(vec![
            plain(format!("{} ago", when::age(look.at, failed.at))),
            plain(&failed.queue),
            toned(
                &failed.outcome,
                if failed.outcome == "discarded" {
                    Tone::Bad
                } else {
                    Tone::Warn
                },
            ),
            plain(failed.job.to_string()),
            plain(failed.error.as_deref().unwrap_or_default()),
        ]);
    }
    (!look.recent.failures.is_empty()).then_some(table)
}

fn plain(text: impl AsRef<str>) -> (String, Tone) {
    toned(text, Tone::Plain)
}

fn toned(text: impl AsRef<str>, tone: Tone) -> (String, Tone) {
    (escape::visible(text.as_ref()), tone)
}

/// Nothing to see where there is none.
fn amount(count: u64) -> String {
    match count {
        0 => "·".to_owned(),
        1..100_000 => count.to_string(),
        100_000..10_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}

fn number(count: u64) -> (String, Tone) {
    plain(amount(count))
}

fn per_second(rate: f64) -> String {
    if rate < 0.005 {
        "·".to_owned()
    } else if rate < 10.0 {
        format!("{rate:.2}")
    } else {
        format!("{rate:.0}")
    }
}

/// Columns as wide as what is in them, as long as that fits; the last one takes what is left.
struct Table {
    /// `>` before a name: to the right.
    header: Vec<&'static str>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    fn new(header: Vec<&'static str>) -> Self {
        Self {
            header,
            rows: Vec::new(),
        }
    }

    fn row(&mut self, row: Vec<(String, Tone)>) {
        self.rows.push(row);
    }

    fn lines(&self, width: Option<usize>, paint: Paint<'_>) -> Vec<String> {
        let widths = self.widths(width);
        let header: Vec<(String, Tone)> = self
            .header
            .iter()
            .map(|name| (name.trim_start_matches('>').to_owned(), Tone::Dim))
            .collect();
        std::iter::once(&header)
            .chain(&self.rows)
            .map(|row| self.line(row, &widths, paint))
            .collect()
    }

    fn line(&self, row: &[(String, Tone)], widths: &[usize], paint: Paint<'_>) -> String {
        let last = widths.iter().rposition(|width| *width > 0).unwrap_or_default();
        let mut line = String::new();
        for (column, ((text, tone), width)) in row.iter().zip(widths).enumerate().take(last + 1) {
            let text = cut(text, *width);
            let blanks = " ".repeat(width.saturating_sub(text.width()));
            let gap = if column > 0 { " ".repeat(GAP) } else { String::new() };
            let painted = if text.is_empty() { text } else { paint(&text, *tone) };
            line.push_str(&gap);
            if self.header[column].starts_with('>') {
                line.push_str(&blanks);
                line.push_str(&painted);
            } else {
                line.push_str(&painted);
                if column < last {
                    line.push_str(&blanks);
                }
            }
        }
        line.trim_end().to_owned()
    }

    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let natural = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|(text, _)| text.width()).max().unwrap_or_default();
            widest.max(self.header[column].trim_start_matches('>').width())
        };
        let mut widths: Vec<usize> = (0..self.header.len()).map(natural).collect();
        let Some(width) = width else { return widths };
        let Some(last) = widths.len().checked_sub(1) else {
            return widths;
        };
        let all = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * last;
        // The last column gives first, then the widest of the others, bit by bit.
        let over = all(&widths).saturating_sub(width);
        let text = widths[last];
        widths[last] = text.saturating_sub(over).max(text.min(NARROWEST));
        while all(&widths) > width
            && let Some(widest) = widths[..last].iter_mut().max().filter(|widest| **widest > NARROWEST)
        {
            *widest -= 1;
        }
        // Where even that is too much, the first columns say most.
        let mut shown = widths.len();
        let of_shown = |shown: usize, widths: &[usize]| widths[..shown].iter().sum::<usize>() + GAP * (shown - 1);
        while shown > 1 && of_shown(shown, &widths) > width {
            shown -= 1;
            widths[shown] = 0;
        }
        widths[0] = widths[0].min(width);
        widths
    }
}

/// The beginning of a text that is at most so wide, with a mark where something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut wide = 0;
    for letter in text.chars() {
        wide += letter.width().unwrap_or_default();
        if wide >= width {
            break;
        }
        short.push(letter);
    }
    if width > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use uuid::Uuid;

    use super::*;
    use crate::queue::inspect::{
        Pause, WorkerRow,
        gates::GateLine,
        processes::{Held, Process},
        recent::{Failed, Recent},
    };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn plainly(text: &str, _: Tone) -> String {
        text.to_owned()
    }

    fn look() -> Look {
        let queue = |name: &str, waiting: u64, paused: Option<Pause>| QueueDepth {
            queue: name.to_owned(),
            by_state: BTreeMap::from([("available".to_owned(), waiting), ("discarded".to_owned(), 1_234_567)]),
            oldest_waiting: (waiting > 0).then(|| at(0)),
            running: Vec::new(),
            limits: vec![LimitUse {
                key: name.to_owned(),
                running: 3,
                max_running: Some(1),
                rate_max: None,
                rate_window_us: None,
                rate_used: None,
                pinned: false,
            }],
            paused,
            pace: crate::queue::inspect::pace::Pace::default(),
            held: BTreeMap::from([("llm:default".to_owned(), 26)]),
        };
        let pause = Pause {
            at: at(0),
            by: "ops".to_owned(),
            reason: "incident \u{1b}[2J日本語日本語日本語日本語日本語日本語日本語日本語".to_owned(),
        };
        let process = |pid: u32| Process {
            row: WorkerRow {
                id: pid.to_string(),
                host: "box".to_owned(),
                pid,
                version: "0.9.0".to_owned(),
                role: Some("worker".to_owned()),
                queues: vec!["verify_session".to_owned()],
                started_at: at(0),
                last_seen_at: at(58),
                clock_at: None,
                stopped_at: None,
            },
            state: ProcessState::Live,
            outdated: true,
            leases: 2,
            running: ["verify_session", "verify_session"]
                .map(|queue| Held {
                    job: Uuid::nil(),
                    queue: queue.to_owned(),
                    partition: String::new(),
                    attempt: 1,
                    started_at: at(20),
                    lease_expires_at: None,
                })
                .to_vec(),
        };
        Look {
            at: at(60),
            queues: vec![
                queue("verify_session", 7, None),
                queue("diagnose_session", 5, None),
                queue("paused", 0, Some(pause)),
            ],
            gates: vec![GateLine {
                key: "llm:default".to_owned(),
                state: "closed".to_owned(),
                reason: Some("billing".to_owned()),
                detail: Some("status 402".to_owned()),
                failures: 7,
                closed_at: Some(at(0)),
                probe_at: Some(at(90)),
                probe_job: None,
                opened_at: None,
                held: BTreeMap::from([("verify_session".to_owned(), 26)]),
            }],
            processes: (0..14).map(process).collect(),
            recent: Recent {
                completed_per_second: BTreeMap::from([("verify_session".to_owned(), 4.987)]),
                failures: vec![Failed {
                    at: at(50),
                    job: Uuid::nil(),
                    queue: "verify_session".to_owned(),
                    outcome: "discarded".to_owned(),
                    error: Some("given up".to_owned()),
                }],
            },
        }
    }

    #[test]
    fn one_look_says_what_is_down_what_waits_who_works_and_what_failed() {
        let text = lines(&look(), None, &plainly).join("\n");
        for shown in [
            "llm:default  billing   1m     26  in 30s  status 402",
            "3/1",
            "4.99",
            "1234k",
            "paused by ops: incident \\x1b[2J日本語",
            "no live process serves it",
            "verify_session ×2 40s",
            "and 2 more: aftercall workers",
            "10s ago  verify_session  discarded",
            "given up",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_page_higher() {
        for (width, height) in [(140, 40), (80, 24), (40, 10), (12, 3), (1, 1)] {
            let page = page(&look(), "fleet", Some("gone"), (width, height), &plainly);
            assert!(page.len() <= height, "{height}: {page:#?}");
            for line in &page {
                assert!(line.width() <= width, "{width} < {}: {line}", line.width());
            }
        }
        let page = page(&look(), "fleet", None, (80, 60), &plainly).join("\n");
        for shown in ["verify_session", "llm:default", "paused", "discarded"] {
            assert!(page.contains(shown), "{shown} is not in\n{page}");
        }
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("verify_session", 14), "verify_session");
        assert_eq!(cut("verify_session", 8), "verify_…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("a", 0), "");
    }
}
