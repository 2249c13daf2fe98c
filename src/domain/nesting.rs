//! How deep JSON may be nested to be stored.
//!
//! The parser refuses more than 128 levels. What a session or a system of record says is stored inside documents of ours, some
//! levels further down: taken in at the parser's own limit, it could be written and never be read again.

use serde_json::Value;

/// Levels that a value from outside may have.
pub const MOST_LEVELS: usize = 100;

/// Whether a value is nested too deep to be stored inside another. The parser's limit bounds the recursion.
pub fn is_too_deep(value: &Value) -> bool {
    deeper_than(value, MOST_LEVELS)
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| deeper_than(item, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|field| deeper_than(field, levels - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_in_can_be_read_again_from_inside_a_document_of_ours() {
        let nested = |levels: usize| -> Value {
            serde_json::from_str(&format!("{}1{}", "[".repeat(levels), "]".repeat(levels))).unwrap()
        };
        assert!(!is_too_deep(&nested(MOST_LEVELS)));
        assert!(is_too_deep(&nested(MOST_LEVELS + 1)));
        let mut document = nested(MOST_LEVELS);
        for _ in 0..20 {
            document = serde_json::json!({ "inside": document });
        }
        assert!(serde_json::from_str::<Value>(&document.to_string()).is_ok());
    }
}
