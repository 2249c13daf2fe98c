//! `[schedule]`: when recurring work begins, as cron expressions of five fields in UTC.

use std::str::FromStr as _;

use serde::Serialize;

use super::section::Section;

/// `[schedule]`. Five fields each: minute, hour, day of month, month, day of week. UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// Scans of every source. Default `*/5 * * * *`.
    pub discover_sessions: String,
    /// Evaluation of the alert rules. Default `* * * * *`.
    pub evaluate_alerts: String,
    /// The check that every session has the job that its state calls for. Default `*/5 * * * *`.
    pub reconcile: String,
    /// Deletion of what `[retention]` no longer keeps. Default `17 3 * * *`.
    pub prune_history: String,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            discover_sessions: "*/5 * * * *".to_owned(),
            evaluate_alerts: "* * * * *".to_owned(),
            reconcile: "*/5 * * * *".to_owned(),
            prune_history: "17 3 * * *".to_owned(),
        }
    }
}

impl Schedule {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            discover_sessions: cron(&mut section, "discover_sessions", default.discover_sessions),
            evaluate_alerts: cron(&mut section, "evaluate_alerts", default.evaluate_alerts),
            reconcile: cron(&mut section, "reconcile", default.reconcile),
            prune_history: cron(&mut section, "prune_history", default.prune_history),
        };
        section.finish();
        read
    }
}

fn cron(section: &mut Section<'_>, key: &'static str, default: String) -> String {
    let Some(text) = section.text(key) else {
        return default;
    };
    match check(&text) {
        Ok(()) => text,
        Err(reason) => {
            section.fault_at(key, reason);
            default
        }
    }
}

fn check(text: &str) -> Result<(), String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [.., day_of_week] = fields.as_slice() else {
        return Err("is empty".to_owned());
    };
    if fields.len() != 5 {
        return Err(format!(
            "should have five fields (minute hour day month weekday), such as \"*/5 * * * *\", not {}",
            fields.len()
        ));
    }
    // Programs disagree on whether Sunday is 0, 1 or 7.
    if day_of_week.chars().any(|letter| letter.is_ascii_digit()) {
        return Err("name days of the week (mon,wed or mon-fri) instead of numbering them".to_owned());
    }
    cron::Schedule::from_str(&format!("0 {text}"))
        .map(drop)
        .map_err(|_| "is not a cron expression: write \"*/5 * * * *\" for every five minutes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_cron_expressions() {
        let Schedule {
            discover_sessions,
            evaluate_alerts,
            reconcile,
            prune_history,
        } = Schedule::default();
        for text in [discover_sessions, evaluate_alerts, reconcile, prune_history] {
            assert_eq!(check(&text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_cron_expression_of_five_fields_is_refused() {
        for text in ["", "*/5 * * *", "0 */5 * * * *", "99 * * * *", "often", "0 3 * * 1"] {
            assert!(check(text).is_err(), "{text}");
        }
        assert_eq!(check("0 3 * * mon-fri"), Ok(()));
    }
}
