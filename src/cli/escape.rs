//! Everything that came from a session is hostile: it may hold escape sequences that clear the screen, rename the window or
//! write the clipboard, and marks that make text read backwards. Nothing of the kind reaches a terminal; what was there is
//! shown instead.

use std::fmt::Write as _;

/// One line: line ends and tabs are shown as `\n` and `\t`, too.
pub(crate) fn visible(text: &str) -> String {
    escape(text, |letter| match letter {
        '\n' => Some("\\n"),
        '\t' => Some("\\t"),
        _ => None,
    })
}

/// Several lines: line ends stay, tabs become blanks.
pub(crate) fn visible_lines(text: &str) -> String {
    escape(text, |letter| match letter {
        '\n' => Some("\n"),
        '\t' => Some("    "),
        _ => None,
    })
}

/// JSON as text: what JSON itself lets through is escaped as JSON escapes it (`\u202e`), so that it reads back the same.
pub(crate) fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        // Outside of strings JSON has none of these but line ends, which pretty-printing put there.
        if letter != '\n' && is_treacherous(letter) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(letter);
        }
    }
    safe
}

fn escape(text: &str, known: impl Fn(char) -> Option<&'static str>) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if let Some(replacement) = known(letter) {
            safe.push_str(replacement);
        } else if is_treacherous(letter) {
            let code = u32::from(letter);
            let _ = match code {
                0..=0xff => write!(safe, "\\x{code:02x}"),
                _ => write!(safe, "\\u{{{code:x}}}"),
            };
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Characters that act on a terminal, or on the eye, instead of being seen. Joiners stay: scripts and emoji need them.
fn is_treacherous(letter: char) -> bool {
    letter.is_control() // C0 with ESC, DEL, C1 with CSI and OSC
        || matches!(
            letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}'        // soft hyphen, direction mark, vowel separator
            | '\u{200b}' | '\u{200e}' | '\u{200f}'   // zero width, direction marks
            | '\u{2028}'..='\u{202e}'                // line and paragraph ends, direction overrides
            | '\u{2060}'..='\u{206f}'                // isolates and invisible operators
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'   // byte order mark, annotations
            | '\u{e0000}'..='\u{e007f}'              // tags: invisible ASCII
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_is_left() {
        let hostile =
            "\u{1b}[2J\u{1b}]0;owned\u{7} \u{9b}31m a\rb\u{8} \u{202e}txt.exe\u{2066} \u{200b}\u{e0041}\u{7f}";
        for safe in [visible(hostile), visible_lines(hostile), json(hostile)] {
            assert!(!safe.chars().any(is_treacherous), "{safe:?}");
        }
        assert_eq!(visible("a\u{1b}[31mb\u{202e}c\nd"), "a\\x1b[31mb\\u{202e}c\\nd");
        assert_eq!(visible_lines("a\nb\tc"), "a\nb    c");
    }

    #[test]
    fn honest_text_stays_as_it_is() {
        for text in ["Zoë Müller, 日本, 👩‍👧 — 100 %", "नमस्ते"] {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn escaped_json_reads_back_the_same() {
        let value = serde_json::json!({ "text": "\u{202e}\u{7f}\u{9b}\u{e0041}\n\u{1b}[1m\"\\" });
        let text = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(
            !text.chars().any(|letter| letter != '\n' && is_treacherous(letter)),
            "{text:?}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
