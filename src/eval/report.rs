//! The report for people.

use std::fmt::Write as _;

use super::{Mutants, Report, Score, Share, Summary};

/// Disagreements and overlooked mutants that are listed.
const MOST_LISTED: usize = 40;

impl Share {
    /// `97 of 100 (97.0 %, 91.5 to 99.0 %)`.
    pub fn words(&self) -> String {
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        match (self.share, self.low, self.high) {
            (Some(share), Some(low), Some(high)) => format!(
                "{} of {} ({} %, {} to {} %)",
                self.count,
                self.of,
                percent(share),
                percent(low),
                percent(high)
            ),
            _ => "none".to_owned(),
        }
    }
}

impl Report {
    /// Lines of text; what came out of sessions is not escaped yet.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let summary = &self.summary;
        let score = &summary.score;
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<46}{value}");
        };
        line("verdicts that agree with the labels", score.agreement.words());
        if let Some(also) = &summary.also_compared {
            line(
                &format!("the same with {} compared", also.fields.join(", ")),
                also.agreement.words(),
            );
        }
        line("fail: precision", score.precision_of_fail.words());
        line("fail: recall", score.recall_of_fail.words());
        line("records named: precision", score.precision_of_records.words());
        line("records named: recall", score.recall_of_records.words());
        line("  of them named as what they are", score.kind_of_records.words());
        if let Some(mutants) = &summary.mutants {
            line("changed records named, and their field", mutants.named.words());
            line(
                "sessions all of whose changes are named",
                mutants.sessions_named.words(),
            );
            line("verdicts that stay when judged once more", mutants.unchanged.words());
        }
        if score.without_label > 0 {
            line("sessions without a label", score.without_label.to_string());
        }
        if score.without_session > 0 {
            line("labels without a session", score.without_session.to_string());
        }
        text.push_str("Intervals are Wilson's, of 95 %.\n");

        let _ = writeln!(text, "\n{:<46}{:>9}{:>11}", "verdict", "correct", "incorrect");
        for (verdict, [correct, incorrect]) in &score.confusion {
            let _ = writeln!(text, "{verdict:<46}{correct:>9}{incorrect:>11}");
        }

        kinds(&mut text, score);
        if let Some(mutants) = &summary.mutants {
            drawn(&mut text, mutants);
        }

        judges(&mut text, summary);

        let disagreements: Vec<String> = self
            .sessions
            .iter()
            .filter(|session| session.agrees == Some(false))
            .map(|session| {
                format!(
                    "{}: {} ({}). {}",
                    session.session_id,
                    session.verdict.as_str(),
                    session.reason.as_str(),
                    session.summary
                )
            })
            .collect();
        list(&mut text, "disagreements", &disagreements);
        let records: Vec<String> = self
            .sessions
            .iter()
            .filter(|session| !session.unnamed.is_empty() || !session.extra.is_empty())
            .map(|session| {
                let part = |words: &str, keys: &[String]| match keys {
                    [] => String::new(),
                    keys => format!(" {words} {}", keys.join(", ")),
                };
                format!(
                    "{}:{}{}",
                    session.session_id,
                    part("not named", &session.unnamed),
                    part("named beside the label", &session.extra)
                )
            })
            .collect();
        list(&mut text, "records that differ from the labels", &records);
        if let Some(also) = &summary.also_compared {
            list(
                &mut text,
                "sessions that change sides with further fields",
                &also.changed,
            );
        }
        if let Some(mutants) = &summary.mutants {
            list(&mut text, "changed records that were not named", &mutants.overlooked);
        }
        text
    }
}

/// What the records named were named as, by what the labels call them.
fn kinds(text: &mut String, score: &Score) {
    if score.kind_of_records.of == 0 {
        return;
    }
    let _ = writeln!(
        text,
        "\n{:<42}{:>12}{:>12}{:>13}",
        "records named, by their label", "as missing", "as wrong", "as unwanted"
    );
    for (kind, named_as) in &score.kinds_of_records {
        let _ = writeln!(
            text,
            "{:<42}{:>12}{:>12}{:>13}",
            kind.as_str(),
            named_as.missing,
            named_as.wrong,
            named_as.unwanted
        );
    }
}

/// How the changed records were made, and how many sessions they are of.
fn drawn(text: &mut String, mutants: &Mutants) {
    let mut counts: Vec<u64> = mutants.by_session.iter().map(|one| one.mutants).collect();
    counts.sort_unstable();
    let (Some(least), Some(most)) = (counts.first(), counts.last()) else {
        return;
    };
    let _ = writeln!(text, "\nHow records are changed: {}", mutants.drawn);
    let _ = writeln!(
        text,
        "{} of {}, to {} of {}; {least} to {most} of a session, half of the sessions at most {}. Those of one session are much \
         alike: the interval over sessions says what they prove.",
        mutants.named.of,
        counted(mutants.possible, "change"),
        counted(mutants.records, "record"),
        counted(mutants.sessions, "session"),
        counts[(counts.len() - 1) / 2]
    );
}

/// The verdict and the naive judges side by side.
fn judges(text: &mut String, summary: &Summary) {
    let _ = writeln!(
        text,
        "\n{:<54}{:>18}{:>11}{:>25}",
        "what a judge asks", "agrees with labels", "undecided", "notices changed records"
    );
    for judge in &summary.judges {
        let percent = |share: Option<&Share>| {
            let share = share.and_then(|share| share.share);
            share.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0))
        };
        let _ = writeln!(
            text,
            "{:<54}{:>18}{:>11}{:>25}",
            judge.asks,
            percent(Some(&judge.agreement)),
            judge.undecided,
            percent(judge.mutants_noticed.as_ref())
        );
    }
}

fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}: {}", lines.len());
    for line in lines.iter().take(MOST_LISTED) {
        let _ = writeln!(text, "  {line}");
    }
    if lines.len() > MOST_LISTED {
        let _ = writeln!(text, "  and {} more: --json has all of them", lines.len() - MOST_LISTED);
    }
}
