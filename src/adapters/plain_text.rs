//! Text from outside, made fit for a prompt, a log or a terminal: no control characters, no ANSI escapes, bounded.

/// Removes ANSI escape sequences, control characters (line ends and tabs stay) and invisible direction marks.
pub fn strip_controls(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\t' => clean.push(character),
            '\u{1b}' => match characters.peek() {
                // CSI: parameters up to a final byte. OSC: text up to BEL or another escape.
                Some('[') => {
                    characters.next();
                    while let Some(next) = characters.next_if(|next| !next.is_control()) {
                        if ('@'..='~').contains(&next) {
                            break;
                        }
                    }
                }
                Some(']') => {
                    while characters
                        .next_if(|next| !matches!(next, '\u{7}' | '\u{1b}' | '\n'))
                        .is_some()
                    {}
                }
                _ => {}
            },
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {}
            other if other.is_control() => {}
            other => clean.push(other),
        }
    }
    clean
}

/// One line of at most `limit` characters, for an error text.
pub fn one_line(text: &str, limit: usize) -> String {
    let clean = strip_controls(text);
    let words: Vec<&str> = clean.split_whitespace().collect();
    head(&words.join(" "), limit)
}

/// The first `limit` characters, marked where something was cut.
pub fn head(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_controls_and_direction_marks_are_removed() {
        assert_eq!(
            strip_controls("\u{1b}[31;1mred\u{1b}[0m \u{1b}]0;title\u{7}x\r\n\u{202e}y\u{0}"),
            "red x\ny"
        );
        assert_eq!(strip_controls("Zoë\t日本"), "Zoë\t日本");
        // An unfinished sequence must not swallow the text after the line end.
        assert_eq!(strip_controls("\u{1b}[12\nrest"), "\nrest");
    }

    #[test]
    fn one_line_is_bounded_by_characters() {
        assert_eq!(one_line("a\n b\u{7}  c", 10), "a b c");
        assert_eq!(one_line("ääää", 2), "ää…");
    }
}
