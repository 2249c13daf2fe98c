//! JSON inside texts: tools and frameworks wrap arguments and answers in strings, sometimes twice.

use serde_json::Value;

/// Strings inside strings deeper than this stay texts.
const LAYERS: u8 = 4;

/// The value with every text that holds a JSON object, list or quoted text replaced by what it holds.
pub(super) fn decode(value: &Value) -> Value {
    unwrap(value, LAYERS)
}

fn unwrap(value: &Value, layers: u8) -> Value {
    match value {
        Value::String(text) if layers > 0 && looks_like_json(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner) => unwrap(&inner, layers - 1),
            Err(_) => value.clone(),
        },
        Value::Array(items) => Value::Array(items.iter().map(|item| unwrap(item, layers)).collect()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, member)| (name.clone(), unwrap(member, layers)))
                .collect(),
        ),
        _ => value.clone(),
    }
}

fn looks_like_json(text: &str) -> bool {
    let text = text.trim();
    matches!(
        (text.as_bytes().first(), text.as_bytes().last()),
        (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')) | (Some(b'"'), Some(b'"'))
    ) && text.len() > 1
}
