//! How measurements are spread.

use serde::Serialize;

/// What half, all but 5 % and all but 1 % of the measurements stay within, and the ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Distribution {
    /// How many there are.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// The middle.
    pub p50: f64,
    /// 95 % are at most this.
    pub p95: f64,
    /// 99 % are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Distribution {
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let place = (values.len() * share).div_ceil(100).max(1) - 1;
            values.get(place).copied().unwrap_or_default()
        };
        Self {
            count: values.len(),
            min: values.first().copied().unwrap_or_default(),
            p50: at(50),
            p95: at(95),
            p99: at(99),
            max: values.last().copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Distribution;

    #[test]
    fn a_percentile_is_the_smallest_value_that_so_many_stay_within() {
        let spread = Distribution::of((1..=100).rev().map(f64::from).collect());
        let found = (spread.min, spread.p50, spread.p95, spread.p99, spread.max);
        assert_eq!(found, (1.0, 50.0, 95.0, 99.0, 100.0));
        assert_eq!(Distribution::of(vec![7.0]).p99.to_bits(), 7.0_f64.to_bits());
        assert_eq!(Distribution::of(Vec::new()), Distribution::default());
    }
}
