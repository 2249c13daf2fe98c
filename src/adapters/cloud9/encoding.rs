//! From bytes to text: what a declaration says is often not what was sent, so the bytes decide where they can.

use std::borrow::Cow;

/// Windows-1252's own characters from 0x80 to 0x9F; the five that it leaves open stand for themselves.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The text of an answer: by its byte order mark, as UTF-16 without one, as UTF-8 whatever it declares (a declaration of
/// UTF-16 over UTF-8 bytes is what .NET writes from a string), else as the Latin alphabet that it declares.
///
/// # Errors
/// When it is none of these.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        [b'<', 0, ..] => return utf16(bytes, u16::from_le_bytes),
        [0, b'<', ..] => return utf16(bytes, u16::from_be_bytes),
        _ => {}
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(Cow::Borrowed(text));
    }
    if declares_latin(bytes) {
        return Ok(Cow::Owned(bytes.iter().map(|byte| latin(*byte)).collect()));
    }
    Err("it is not UTF-8")
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'static, str>, &'static str> {
    const BROKEN: &str = "it is broken UTF-16";
    if !bytes.len().is_multiple_of(2) {
        return Err(BROKEN);
    }
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    text.map(Cow::Owned).map_err(|_| BROKEN)
}

fn declares_latin(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).to_ascii_lowercase();
    let declaration = head.split("?>").next().unwrap_or_default();
    declaration.contains("encoding")
        && ["iso-8859-1", "latin1", "windows-1252", "cp1252", "us-ascii"]
            .iter()
            .any(|name| declaration.contains(name))
}

fn latin(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<?xml version=\"1.0\" encoding=\"utf-16\"?><a>Zoë 日本</a>";

    #[test]
    fn the_bytes_decide_whatever_is_declared() {
        assert_eq!(decode(TEXT.as_bytes()).unwrap(), TEXT);
        assert_eq!(decode(format!("\u{feff}{TEXT}").as_bytes()).unwrap(), TEXT);
        let little: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decode(&little).unwrap(), TEXT);
        assert_eq!(decode(&big).unwrap(), TEXT);
        assert_eq!(decode(&[&[0xff, 0xfe], little.as_slice()].concat()).unwrap(), TEXT);
        assert_eq!(decode(&[&[0xfe, 0xff], big.as_slice()].concat()).unwrap(), TEXT);
    }

    #[test]
    fn latin_is_read_where_it_is_declared() {
        let mut bytes = b"<?xml version='1.0' encoding='Windows-1252'?><a>Zo\xeb \x80 \x92</a>".to_vec();
        assert!(decode(&bytes).unwrap().ends_with("<a>Zoë € ’</a>"));
        bytes.drain(..46);
        assert!(decode(&bytes).is_err());
        assert!(decode(&[0xff, 0xfe, 0]).is_err());
        assert!(decode(&[0xff, 0xfe, 0, 0xd8]).is_err());
    }
}
