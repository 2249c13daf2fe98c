//! `application/x-www-form-urlencoded`, as the URL standard has it.

/// Parameters that are read, at most: a status callback has some dozens.
const PAIRS_MOST: usize = 1_000;

/// Names and values, in their order; `None` where it is none, or has too many.
pub(super) fn pairs(body: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(body).ok()?;
    let parts = text.split('&').filter(|part| !part.is_empty());
    if parts.clone().nth(PAIRS_MOST).is_some() {
        return None;
    }
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}
