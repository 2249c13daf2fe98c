//! What SQLite would not find by a text.
//!
//! Values are bound as texts, and SQLite compares a text with a number as the same only where what it is compared with has a type
//! that says so: to a column without a type, or an expression such as `data ->> 'id'`, `12` and `'12'` differ. What is there would
//! be taken for absent. So a statement that finds nothing is asked again with each value that is a number bound as one.
//!
//! Rows that are found in this way alone are not taken, since other comparisons change their meaning as well (`code > 5` holds for
//! every text): the statement has to say by a CAST what it compares. Only a value that is written as SQLite writes that number is
//! bound as one, so that where a text is compared nothing changes: `0123` is never 123.

/// A value as it is bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound<'v> {
    Text(&'v str),
    Whole(i64),
    Real(f64),
}

/// Most uses of numbers in a statement, each of which may be compared as a text or as a number: 63 ways beside the first.
pub(super) const MOST_USES: usize = 6;

/// Digits that SQLite writes of a number.
const DIGITS: usize = 15;

/// The number that is written exactly like this.
fn number(text: &str) -> Option<Bound<'static>> {
    if let Ok(whole) = text.parse::<i64>() {
        return (whole.to_string() == text).then_some(Bound::Whole(whole));
    }
    let (whole, fraction) = text.split_once('.')?;
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_canonical = is_digits(unsigned)
        && is_digits(fraction)
        && (unsigned == "0" || !unsigned.starts_with('0'))
        && (fraction == "0" || !fraction.ends_with('0'))
        && unsigned.len() + fraction.len() <= DIGITS;
    let real: f64 = text.parse().ok()?;
    // Below, it is written with an exponent; and there is no negative zero.
    (is_canonical && (real.abs() >= 1e-4 || text == "0.0")).then_some(Bound::Real(real))
}

/// All ways to bind these values but the one with texts alone; `None` where there are too many.
pub(super) fn other_ways<'v>(values: &[&'v str]) -> Option<Vec<Vec<Bound<'v>>>> {
    let numbers: Vec<(usize, Bound<'static>)> = values
        .iter()
        .enumerate()
        .filter_map(|(at, value)| Some((at, number(value)?)))
        .collect();
    if numbers.len() > MOST_USES {
        return None;
    }
    let ways = (1..1_usize << numbers.len()).map(|way| {
        let mut bound: Vec<Bound<'v>> = values.iter().map(|value| Bound::Text(value)).collect();
        for (bit, (at, number)) in numbers.iter().enumerate() {
            if way & (1 << bit) != 0 {
                bound[*at] = *number;
            }
        }
        bound
    });
    Some(ways.collect())
}

/// Why the rows that were found by a number are not taken.
pub(super) fn advice<'n>(parameters: impl Iterator<Item = &'n str>, way: &[Bound<'_>]) -> String {
    let mut names: Vec<String> = Vec::new();
    for (name, bound) in parameters.zip(way) {
        let name = format!("`:{name}`");
        if !matches!(bound, Bound::Text(_)) && !names.contains(&name) {
            names.push(name);
        }
    }
    format!(
        "the value for {} is compared with a column or expression without a type, to which a number and its digits differ: say in \
         lookup.sql what is meant, CAST(… AS TEXT) = :id, or … = CAST(:id AS INTEGER)",
        names.join(" and ")
    )
}

/// Why nobody knows.
pub(super) fn too_many_ways() -> String {
    format!(
        "more than {MOST_USES} uses of parameters hold numbers, too many to look for each of them as a text and as a number: name \
         every value once, as in WITH asked AS (SELECT CAST(:id AS TEXT) AS id) SELECT …"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_that_is_written_as_sqlite_writes_it() {
        for (text, expected) in [
            ("0", Some(Bound::Whole(0))),
            ("-12", Some(Bound::Whole(-12))),
            ("9223372036854775807", Some(Bound::Whole(i64::MAX))),
            ("12.5", Some(Bound::Real(12.5))),
            ("-0.25", Some(Bound::Real(-0.25))),
            ("20.0", Some(Bound::Real(20.0))),
            ("0.0", Some(Bound::Real(0.0))),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
        for text in [
            "",
            "0123",
            "+5",
            "-0",
            "-0.0",
            "12.50",
            "1e3",
            " 12",
            "12 ",
            "0x10",
            "9223372036854775808",
            "NaN",
            "inf",
            "1.",
            ".5",
            "00.5",
            "0.00001",
            "1234567890.1234567",
            "1_000",
            "\u{661}",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn each_use_is_a_text_or_a_number_whatever_the_others_are() {
        assert_eq!(other_ways(&["a", "0123"]), Some(Vec::new()));
        let (text, number) = (Bound::Text("12"), Bound::Whole(12));
        let b = Bound::Text("b");
        assert_eq!(
            other_ways(&["12", "b", "12"]),
            Some(vec![
                vec![number, b, text],
                vec![text, b, number],
                vec![number, b, number]
            ])
        );
        assert_eq!(other_ways(&["1"; MOST_USES]).map(|ways| ways.len()), Some(63));
        assert_eq!(other_ways(&["1"; MOST_USES + 1]), None);
    }
}
