//! `[[alert]]`: rules that are evaluated every minute, on a queue of their own.

use std::time::Duration;

use serde::Serialize;

use super::{duration, names, section::Section};

const MINUTE: Duration = Duration::from_mins(1);

/// One `[[alert]]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertRule {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub metric: AlertMetric,
    /// It fires when the metric is so much …
    pub op: Operator,
    /// … as this, from 0 to 1.
    pub threshold: f64,
    /// Over the verdicts of the last so long. Default 60m.
    #[serde(serialize_with = "duration::serialize")]
    pub look_back: Duration,
    /// Says nothing on fewer sessions than this. Default 5.
    pub min_sessions: u32,
    /// How loud. Default `warning`.
    pub severity: AlertSeverity,
    /// After it is resolved, it does not fire again for so long. Default 30m.
    #[serde(serialize_with = "duration::serialize")]
    pub cooldown: Duration,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertMetric {
    /// Share of `pass` among `pass`, `partial` and `fail`.
    FulfilmentRate,
    /// Share of `error` among all verdicts.
    ErrorRate,
}

impl AlertMetric {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FulfilmentRate => "fulfilment_rate",
            Self::ErrorRate => "error_rate",
        }
    }
}

/// How a metric is compared with the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Equal, to a millionth.
    Eq,
}

impl Operator {
    /// Whether `value` stands so to `threshold`.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Gt => value > threshold,
            Self::Gte => value >= threshold,
            Self::Lt => value < threshold,
            Self::Lte => value <= threshold,
            Self::Eq => (value - threshold).abs() < 1e-6,
        }
    }
}

/// How loud an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSeverity {
    /// Wake somebody.
    Critical,
    /// Look at it today.
    Warning,
    /// Good to know.
    Info,
}

impl AlertSeverity {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl AlertRule {
    /// The rules of a configuration that names none.
    pub fn defaults() -> Vec<Self> {
        vec![
            Self {
                threshold: 0.7,
                ..Self::new("fulfilment_low", AlertMetric::FulfilmentRate, Operator::Lt)
            },
            Self {
                threshold: 0.2,
                severity: AlertSeverity::Critical,
                ..Self::new("errors_high", AlertMetric::ErrorRate, Operator::Gt)
            },
        ]
    }

    fn new(name: &str, metric: AlertMetric, op: Operator) -> Self {
        Self {
            name: name.to_owned(),
            metric,
            op,
            threshold: 0.0,
            look_back: 60 * MINUTE,
            min_sessions: 5,
            severity: AlertSeverity::Warning,
            cooldown: 30 * MINUTE,
        }
    }

    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let name = names::read(&mut section, "alert");
        for (key, what) in [
            ("metric", "\"fulfilment_rate\" or \"error_rate\""),
            ("op", "\"gt\", \"gte\", \"lt\", \"lte\" or \"eq\""),
        ] {
            section.required_text(key, what);
        }
        let default = Self::new("", AlertMetric::FulfilmentRate, Operator::Lt);
        let read = Self {
            name: name.clone().unwrap_or_default(),
            metric: section.choice(
                "metric",
                default.metric,
                &[
                    ("fulfilment_rate", AlertMetric::FulfilmentRate),
                    ("error_rate", AlertMetric::ErrorRate),
                ],
            ),
            op: section.choice(
                "op",
                default.op,
                &[
                    ("gt", Operator::Gt),
                    ("gte", Operator::Gte),
                    ("lt", Operator::Lt),
                    ("lte", Operator::Lte),
                    ("eq", Operator::Eq),
                ],
            ),
            threshold: section.required_number("threshold", 0.0, 1.0),
            look_back: section.duration("look_back", default.look_back, Duration::from_secs(1)),
            min_sessions: section.whole("min_sessions", default.min_sessions, 1, 1_000_000),
            severity: section.choice(
                "severity",
                default.severity,
                &[
                    ("critical", AlertSeverity::Critical),
                    ("warning", AlertSeverity::Warning),
                    ("info", AlertSeverity::Info),
                ],
            ),
            cooldown: section.duration("cooldown", default.cooldown, Duration::ZERO),
        };
        section.finish();
        name.map(|_| read)
    }
}
