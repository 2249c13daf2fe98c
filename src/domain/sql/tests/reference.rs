//! How each database tells what is quoted from what is not, written down a second time from its manual, a sign at a time.
//!
//! PostgreSQL 4.1 "Lexical Structure", with `standard_conforming_strings`; MySQL 9.1 "Literal Values", 9.2 and 9.7 "Comments";
//! SQLite's `tokenize.c`.

use super::Dialect;

/// In place of what is quoted: no letter, which would become a part of the word beside it.
const QUOTED: u8 = b'.';

pub(super) enum Seen {
    Read {
        /// `:name` outside of all quotes and comments, with where it stands.
        parameters: Vec<(usize, String)>,
        /// How many statements there are.
        statements: usize,
    },
    /// A quote or a comment does not end.
    Open,
}

pub(super) fn look(dialect: Dialect, text: &str) -> Seen {
    let Some(plain) = unquoted(dialect, text.as_bytes()) else {
        return Seen::Open;
    };
    let mut parameters = Vec::new();
    let mut at = 0;
    while at < plain.len() {
        if plain[at] != b':' {
            at += 1;
        } else if plain.get(at + 1) == Some(&b':') {
            at += 2;
        } else {
            let name: String = plain[at + 1..]
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
                .map(|byte| char::from(*byte))
                .collect();
            if name.starts_with(|first: char| !first.is_ascii_digit()) {
                parameters.push((at, name.clone()));
            }
            at += 1 + name.len();
        }
    }
    let pieces = plain.split(|byte| *byte == b';');
    let statements = pieces.filter(|piece| piece.iter().any(|byte| !byte.is_ascii_whitespace()));
    Seen::Read {
        parameters,
        statements: statements.count(),
    }
}

/// The text with blanks in place of comments, and a full stop in place of each byte that is quoted.
fn unquoted(dialect: Dialect, text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = text.to_vec();
    let mut at = 0;
    while at < text.len() {
        let (end, filler) = match (dialect, text[at]) {
            (_, b'\'' | b'"') => (string(text, at, dialect == Dialect::MySql)?, QUOTED),
            (Dialect::MySql | Dialect::Sqlite, b'`') => (string(text, at, false)?, QUOTED),
            (Dialect::Sqlite, b'[') => (find(text, at, b"]")? + 1, QUOTED),
            (Dialect::Postgres, b'$') => (dollar(text, at)?, QUOTED),
            (Dialect::Postgres, b'-') if text[at..].starts_with(b"--") => (line(text, at, b"\n\r"), b' '),
            (Dialect::Sqlite, b'-') if text[at..].starts_with(b"--") => (line(text, at, b"\n"), b' '),
            (Dialect::MySql, b'-')
                if text[at..].starts_with(b"--") && text.get(at + 2).is_none_or(u8::is_ascii_whitespace) =>
            {
                (line(text, at, b"\n"), b' ')
            }
            (Dialect::MySql, b'#') => (line(text, at, b"\n"), b' '),
            // What is in it is a part of the statement.
            (Dialect::MySql, b'/') if text[at..].starts_with(b"/*!") || text[at..].starts_with(b"/*M!") => {
                (at + 3, b' ')
            }
            (Dialect::Postgres, b'/') if text[at..].starts_with(b"/*") => (nested(text, at)?, b' '),
            (_, b'/') if text[at..].starts_with(b"/*") => (find(text, at + 2, b"*/")? + 2, b' '),
            (_, letter) if is_letter(letter) => {
                let end = at
                    + text[at..]
                        .iter()
                        .take_while(|byte| is_letter(**byte) || **byte == b'$' || byte.is_ascii_digit())
                        .count();
                let is_escape = dialect == Dialect::Postgres && matches!(&text[at..end], b"e" | b"E");
                if is_escape && text.get(end) == Some(&b'\'') {
                    (string(text, end, true)?, QUOTED)
                } else {
                    at = end;
                    continue;
                }
            }
            _ => {
                at += 1;
                continue;
            }
        };
        plain[at..end].fill(filler);
        at = end;
    }
    Some(plain)
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// Up to the quote that closes it; one that is doubled, or has a backslash before it where these escape, does not.
fn string(text: &[u8], from: usize, escapes: bool) -> Option<usize> {
    let quote = text[from];
    let mut at = from + 1;
    loop {
        let next = *text.get(at)?;
        if next == b'\\' && escapes {
            at += 2;
        } else if next != quote {
            at += 1;
        } else if text.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
}

fn find(text: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    (from..text.len()).find(|at| text[*at..].starts_with(what))
}

fn line(text: &[u8], from: usize, ends: &[u8]) -> usize {
    (from..text.len())
        .find(|at| ends.contains(&text[*at]))
        .unwrap_or(text.len())
}

fn nested(text: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = from;
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

fn dollar(text: &[u8], from: usize) -> Option<usize> {
    let tag = text[from + 1..]
        .iter()
        .take_while(|byte| is_letter(**byte) || byte.is_ascii_digit())
        .count();
    let is_number = text.get(from + 1).is_some_and(u8::is_ascii_digit);
    let end = from + 1 + tag;
    if is_number || text.get(end) != Some(&b'$') {
        return Some(from + 1);
    }
    let quote = &text[from..=end];
    Some(find(text, end + 1, quote)? + quote.len())
}
