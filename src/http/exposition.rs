//! The text format that Prometheus reads, version 0.0.4.

use std::fmt::{self, Write as _};

/// Its media type.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metric: what it means, and its samples.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gauge {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    samples: Vec<(Vec<String>, f64)>,
}

impl Gauge {
    pub(super) fn new(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self {
            name,
            help,
            labels,
            samples: Vec::new(),
        }
    }

    /// One sample, with a value for each label.
    pub(super) fn set<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        self.samples.push((labels.map(str::to_owned).to_vec(), value));
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            help,
            labels,
            samples,
        } = self;
        writeln!(f, "# HELP {name} {}", escaped(help, false))?;
        writeln!(f, "# TYPE {name} gauge")?;
        for (values, value) in samples {
            f.write_str(name)?;
            let mut opening = '{';
            for (label, text) in labels.iter().zip(values) {
                write!(f, "{opening}{label}=\"{}\"", escaped(text, true))?;
                opening = ',';
            }
            if opening == ',' {
                f.write_char('}')?;
            }
            if *value == f64::INFINITY {
                writeln!(f, " +Inf")?;
            } else {
                writeln!(f, " {value}")?;
            }
        }
        Ok(())
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
        let mut gauge = Gauge::new("jobs", "Jobs\nof a \\queue.", &["queue", "state"]);
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
        let mut gauge = Gauge::new("workers", "Workers.", &[]);
        gauge.set([], 2.0);
        gauge.set([], f64::INFINITY);
        assert!(gauge.to_string().ends_with("\nworkers 2\nworkers +Inf\n"), "{gauge}");
    }
}
