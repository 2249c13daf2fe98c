//! Everything that came from a session is hostile: it may hold escape sequences that clear a screen, rename its window or
//! write the clipboard, and marks that make text read backwards. None of them leaves the program raw: `curl` prints to a
//! terminal, too.

use std::fmt::Write as _;

/// JSON as text: what JSON itself lets through is escaped as JSON escapes it (`\u202e`), so that it reads back the same.
pub fn json(text: &str) -> String {
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

/// Characters that act on a terminal, or on the eye, instead of being seen. Joiners stay: scripts and emoji need them.
pub fn is_treacherous(letter: char) -> bool {
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
