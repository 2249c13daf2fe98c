//! Which spans of time certainly had a moment in common.

use std::collections::BTreeMap;

/// How many of them are named.
const NAMED: usize = 5;

/// Something from its beginning to its end.
pub(super) struct Span<'a, T> {
    pub(super) from: i64,
    /// `i64::MAX`: it has not ended.
    pub(super) to: i64,
    pub(super) what: &'a T,
}

/// More of them at once than may be.
pub(super) struct Crowd<'a, T> {
    /// When the last of them had begun.
    pub(super) at: i64,
    pub(super) count: usize,
    /// Some of them, the last to begin at the end.
    pub(super) some: Vec<&'a T>,
}

/// Every beginning of a span at which more than `most` were there for certain. Each time may be off by less than `clock`, to
/// the past: one that began in the tick in which another ended may have begun after it.
///
/// Two spans certainly overlap when each one's beginning, as late as it may have been, is no later than the other's end.
/// Then all spans of which that holds pairwise have a moment in common. A sweep by beginning finds them in n log n.
pub(super) fn crowds<'a, T>(spans: &mut [Span<'a, T>], most: usize, clock: i64) -> Vec<Crowd<'a, T>> {
    let clock = clock.max(1);
    spans.sort_by_key(|span| (span.from, span.to));
    let mut crowds = Vec::new();
    let mut there: BTreeMap<(i64, usize), &Span<'a, T>> = BTreeMap::new();
    for (index, span) in spans.iter().enumerate() {
        let begun = span.from + clock;
        while there.first_key_value().is_some_and(|((to, _), _)| *to < begun) {
            there.pop_first();
        }
        // One that is over within a tick may have ended before those that began in that tick.
        let is_short = span.to < begun;
        let surely = |other: &&&Span<'a, T>| !is_short || other.from + clock <= span.to;
        let others = if is_short {
            there.values().filter(surely).count()
        } else {
            there.len()
        };
        if others >= most {
            let mut some: Vec<&T> = there
                .values()
                .filter(surely)
                .take(NAMED - 1)
                .map(|span| span.what)
                .collect();
            some.push(span.what);
            crowds.push(Crowd {
                at: span.from,
                count: others + 1,
                some,
            });
        }
        there.insert((span.to, index), span);
    }
    crowds
}
