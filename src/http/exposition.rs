//! The text format that Prometheus reads, version 0.0.4.

use std::fmt::{self, Write as _};

/// Its media type.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the samples of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As it is now.
    Gauge,
    /// Only grows.
    Counter,
    /// How many were at most so long, and how long all were together. All three only grow.
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric: what it means, and its samples.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    labels: &'static [&'static str],
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    /// What stands behind the metric's name.
    suffix: &'static str,
    values: Vec<String>,
    /// The upper bound of a class.
    le: Option<f64>,
    value: f64,
}

impl Metric {
    fn new(name: &'static str, kind: Kind, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self {
            name,
            kind,
            help,
            labels,
            samples: Vec::new(),
        }
    }

    /// Something as it is now.
    pub(super) fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self::new(name, Kind::Gauge, help, labels)
    }

    /// Something that only grows, whatever is pruned. Its name ends in `_total`.
    pub(super) fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self::new(name, Kind::Counter, help, labels)
    }

    /// Lengths by class.
    pub(super) fn histogram(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self::new(name, Kind::Histogram, help, labels)
    }

    /// One sample, with a value for each label.
    pub(super) fn set<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        self.push("", labels, None, value);
    }

    /// The samples of a histogram: upper bounds, and how many were at most so long.
    pub(super) fn observe<const N: usize>(
        &mut self,
        labels: [&str; N],
        within: impl IntoIterator<Item = (f64, f64)>,
        (count, sum): (f64, f64),
    ) {
        for (bound, so_far) in within {
            self.push("_bucket", labels, Some(bound), so_far);
        }
        self.push("_bucket", labels, Some(f64::INFINITY), count);
        self.push("_sum", labels, None, sum);
        self.push("_count", labels, None, count);
    }

    fn push<const N: usize>(&mut self, suffix: &'static str, labels: [&str; N], le: Option<f64>, value: f64) {
        self.samples.push(Sample {
            suffix,
            values: labels.map(str::to_owned).to_vec(),
            le,
            value,
        });
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            kind,
            help,
            labels,
            samples,
        } = self;
        writeln!(f, "# HELP {name} {}", escaped(help, false))?;
        writeln!(f, "# TYPE {name} {}", kind.as_str())?;
        for sample in samples {
            write!(f, "{name}{}", sample.suffix)?;
            let mut opening = '{';
            for (label, text) in labels.iter().zip(&sample.values) {
                write!(f, "{opening}{label}=\"{}\"", escaped(text, true))?;
                opening = ',';
            }
            if let Some(le) = sample.le {
                write!(f, "{opening}le=\"{}\"", number(le))?;
                opening = ',';
            }
            if opening == ',' {
                f.write_char('}')?;
            }
            writeln!(f, " {}", number(sample.value))?;
        }
        Ok(())
    }
}

fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// A name that another program wrote into the database may hold anything: it must not end its label or its line.
fn escaped(text: &str, quoted: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quoted => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_says_what_it_is_and_no_label_ends_its_line() {
        let mut gauge = Metric::gauge("jobs", "Jobs\nof a \\queue.", &["queue", "state"]);
        gauge.set(["verify", "running"], 3.0);
        gauge.set(["a\"} 9\nb{x=\"\\", "é"], 0.25);
        assert_eq!(
            gauge.to_string(),
            "# HELP jobs Jobs\\nof a \\\\queue.\n# TYPE jobs gauge\njobs{queue=\"verify\",state=\"running\"} 3\n\
             jobs{queue=\"a\\\"} 9\\nb{x=\\\"\\\\\",state=\"é\"} 0.25\n"
        );
    }

    #[test]
    fn a_metric_without_labels_is_its_name_and_its_value() {
        let mut gauge = Metric::gauge("workers", "Workers.", &[]);
        gauge.set([], 2.0);
        gauge.set([], f64::INFINITY);
        assert!(gauge.to_string().ends_with("\nworkers 2\nworkers +Inf\n"), "{gauge}");
    }

    #[test]
    fn a_histogram_has_classes_a_sum_and_a_count() {
        let mut histogram = Metric::histogram("latency_seconds", "Latency.", &["system"]);
        histogram.observe(["till"], [(0.05, 1.0), (2.5, 3.0)], (4.0, 61.5));
        assert_eq!(
            histogram.to_string(),
            "# HELP latency_seconds Latency.\n# TYPE latency_seconds histogram\n\
             latency_seconds_bucket{system=\"till\",le=\"0.05\"} 1\n\
             latency_seconds_bucket{system=\"till\",le=\"2.5\"} 3\n\
             latency_seconds_bucket{system=\"till\",le=\"+Inf\"} 4\n\
             latency_seconds_sum{system=\"till\"} 61.5\nlatency_seconds_count{system=\"till\"} 4\n"
        );
        let counter = Metric::counter("calls_total", "Calls.", &[]);
        assert_eq!(
            counter.to_string(),
            "# HELP calls_total Calls.\n# TYPE calls_total counter\n"
        );
    }
}
