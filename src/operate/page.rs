//! Pages of a list: a cursor is the place of the last item, so that rows that come or go in between neither repeat nor hide
//! others.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Letters of a cursor, at most: longer than any that was given.
const LONGEST: usize = 4_000;

/// Some items of a list, and where the next ones begin.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T: utoipa::ToSchema> {
    /// The items.
    pub items: Vec<T>,
    /// What to pass as `after` for the items that follow; null: these were the last.
    pub next: Option<String>,
}

impl<T: utoipa::ToSchema> Page<T> {
    /// All there are.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    /// A page whose list says itself where it goes on.
    pub fn going_on<P: Serialize>(kind: &str, items: Vec<T>, next: Option<P>) -> Self {
        let next = next.map(|place| encode(kind, &place));
        Self { items, next }
    }

    /// At most `limit` of these, where one more shows that others follow.
    pub fn of<P: Serialize>(kind: &str, mut items: Vec<T>, limit: u32, place: impl Fn(&T) -> P) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more);
        let next = last.map(|last| encode(kind, &place(last)));
        Self { items, next }
    }
}

/// Writes a place as a cursor of this list.
pub fn encode<P: Serialize>(kind: &str, place: &P) -> String {
    let place = serde_json::to_string(&(kind, place)).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(place)
}

/// Reads a cursor of this list; `None`: it is none.
pub fn decode<P: DeserializeOwned>(kind: &str, cursor: &str) -> Option<P> {
    if cursor.len() > LONGEST {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (of, place): (String, P) = serde_json::from_slice(&bytes).ok()?;
    (of == kind).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_by_the_list_that_gave_it_alone() {
        let cursor = encode("jobs", &(1, "a/b\u{0}"));
        let read: Option<(u32, String)> = decode("jobs", &cursor);
        assert_eq!(read, Some((1, "a/b\u{0}".to_owned())));
        assert!(decode::<(u32, String)>("sessions", &cursor).is_none());
        assert!(decode::<u32>("jobs", &cursor).is_none());
        for garbage in ["", "x", "null", "W10", &"A".repeat(5_000), "ä"] {
            assert!(decode::<(u32, String)>("jobs", garbage).is_none(), "{garbage}");
        }
    }

    #[test]
    fn a_page_has_a_next_one_only_when_one_more_was_there() {
        let page = |items: Vec<u32>| Page::of("n", items, 2, |item| *item);
        assert_eq!(page(vec![1, 2]).next, None);
        let cut = page(vec![1, 2, 3]);
        assert_eq!((cut.items, decode("n", &cut.next.unwrap())), (vec![1, 2], Some(2_u32)));
    }
}
