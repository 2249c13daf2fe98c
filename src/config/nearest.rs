//! Finds the known word that a mistyped one was probably meant to be.

/// The known word nearest to `word`, if it is near enough to be worth naming.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // A third of the letters may differ: `heart_beat` finds `heartbeat`, `colour` does not find `poll`.
    let allowed = (word.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements that turn one word into the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for column in 0..to.len() {
            let replaced = diagonal + usize::from(letter != to[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_that_was_meant() {
        let known = ["lease", "heartbeat", "poll", "grace"];
        assert_eq!(nearest("heart_beat", known), Some("heartbeat"));
        assert_eq!(nearest("leese", known), Some("lease"));
        assert_eq!(nearest("Poll", known), Some("poll"));
    }

    #[test]
    fn a_word_that_is_near_to_nothing_finds_nothing() {
        assert_eq!(nearest("colour", ["lease", "poll"]), None);
        assert_eq!(nearest("x", ["op"]), None);
    }
}
