//! Everything that came from a session is hostile: it may hold escape sequences that clear the screen, rename the window or
//! write the clipboard, and marks that make text read backwards. Nothing of the kind reaches a terminal; what was there is
//! shown instead.

use std::fmt::Write as _;

use crate::operate::plain::is_treacherous;
pub(crate) use crate::operate::plain::json;

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
