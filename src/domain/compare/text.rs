//! Folding of texts: what a person overlooks when two texts are compared.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Lower case, without diacritics and marks that nobody sees, white space squeezed, typographic quotes made plain.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    // Most text: nothing to take apart.
    if text.is_ascii() {
        let plain = |c: char| match c {
            '`' => '\'',
            c if c.is_ascii_control() => ' ',
            c => c.to_ascii_lowercase(),
        };
        folded.extend(text.chars().map(plain));
        return squeeze(&folded);
    }
    // Decomposed, so that a letter with its mark and a letter of its own are the same.
    for c in text.nfd() {
        match c {
            '’' | '‘' | 'ʼ' | '`' => folded.push('\''),
            '“' | '”' => folded.push('"'),
            '–' | '—' | '‑' => folded.push('-'),
            c if is_diacritic(c) || is_invisible(c) => {}
            c if c.is_whitespace() || c.is_control() => folded.push(' '),
            c => {
                for lower in c.to_lowercase() {
                    push_plain(&mut folded, lower);
                }
            }
        }
    }
    squeeze(&folded)
}

/// Nothing that anybody sees: what [`fold`] leaves nothing of.
pub(super) fn is_unseen(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_whitespace() || c.is_control() || is_diacritic(c) || is_invisible(c))
}

/// Marks that people leave out: accents, Hebrew points, Arabic vowels. Vowels of Indic scripts are marks as well, and letters.
fn is_diacritic(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c2}' | '\u{5c4}'..='\u{5c5}'
        | '\u{64b}'..='\u{65f}' | '\u{670}')
}

/// Direction marks, joiners, soft hyphens, the byte order mark.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A mark that belongs to the letter before it and parts no words.
pub(super) fn is_mark(c: char) -> bool {
    is_combining_mark(c)
}

/// White space squeezed to single blanks, none at the ends.
pub(crate) fn squeeze(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        squeezed.push_str(word);
    }
    squeezed
}

/// Letters that people write without what makes them another letter, where no mark can be taken off; others as they are.
fn push_plain(into: &mut String, c: char) {
    let plain = match c {
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ı' => "i",
        'ł' => "l",
        'ø' => "o",
        'ŧ' => "t",
        'þ' => "th",
        'æ' => "ae",
        'œ' => "oe",
        'ß' => "ss",
        'ς' => "σ",
        // What lower-casing leaves behind.
        c if is_diacritic(c) => "",
        other => {
            into.push(other);
            return;
        }
    };
    into.push_str(plain);
}
