//! Percent-encoding of one path segment or query value: whatever a transcript says stays inside its place.

use std::fmt::Write as _;

/// Encodes everything but RFC 3986's unreserved characters, so that `/`, `?`, `#`, `%`, `\` and unicode cannot act.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Decodes one segment; `None` when it is not valid.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_can_act_and_everything_comes_back() {
        for text in [
            "HATHAT",
            "a/b",
            "..",
            "ä ö?x=1#y",
            "100%",
            "\\..\\",
            "日本\u{1b}[31m",
            "",
        ] {
            let encoded = encode(text);
            assert!(!encoded.contains(['/', '?', '#', '\\', ' ', '\u{1b}']), "{encoded}");
            assert_eq!(decode(&encoded).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_broken_escape_is_refused() {
        assert_eq!(decode("%4"), None);
        assert_eq!(decode("%zz"), None);
        assert_eq!(decode("%ff"), None);
    }
}
