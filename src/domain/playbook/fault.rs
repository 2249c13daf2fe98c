//! What is wrong with a playbook, and where: `aftercall check` prints these.

use std::fmt;

/// One fault of a playbook file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaybookFault {
    /// The file, as it was named to us.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Which table and key: `[[claim]] book: when`.
    pub what: String,
    /// What is wrong with it, and what would be right where that is known.
    pub reason: String,
}

impl fmt::Display for PlaybookFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.what, self.reason)
    }
}

impl std::error::Error for PlaybookFault {}

/// ` (did you mean "x"?)` where a known name is near, else the list of known names when it is short, else nothing.
pub(crate) fn suggestion<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let near = known
        .iter()
        .map(|name| (distance(&wrong.to_lowercase(), &name.to_lowercase()), *name))
        .min();
    match near {
        Some((steps, name)) if steps <= (wrong.chars().count() / 3).max(1) + 1 => {
            format!(" (did you mean \"{name}\"?)")
        }
        _ if known.is_empty() => String::new(),
        _ if known.len() <= 14 => format!(" (known: {})", known.join(", ")),
        _ => String::new(),
    }
}

/// Levenshtein's distance, on texts cut to 64 characters: names are short, and a hostile one must not cost time.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(64).collect();
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(a != b)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_lists_what_is_known() {
        assert_eq!(suggestion("recrod", ["record", "claim"]), " (did you mean \"record\"?)");
        assert_eq!(suggestion("zzzzzzzz", ["record", "claim"]), " (known: record, claim)");
        assert_eq!(suggestion("x", []), "");
    }
}
