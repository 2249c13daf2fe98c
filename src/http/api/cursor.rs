//! Pages as they are asked for: how many items, and behind what.

use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};
use crate::operate::page;
pub(super) use crate::operate::page::Page;

/// Items of a page, unless asked for more or fewer.
const USUAL: u32 = 50;
/// Items of a page, at most.
const MOST: u32 = 500;

/// How many items to answer.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked {
        None => Ok(USUAL),
        Some(limit @ 1..=MOST) => Ok(limit),
        Some(_) => Err(Problem::new(Code::BadQuery, format!("`limit` is 1 to {MOST}"))),
    }
}

/// Reads a cursor of this list.
pub(super) fn decode<P: DeserializeOwned>(kind: &str, cursor: Option<&str>) -> Result<Option<P>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let place = page::decode(kind, cursor);
    place
        .map(Some)
        .ok_or_else(|| Problem::new(Code::BadCursor, "`after` was not given by this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cursor_of_the_list_is_refused_and_none_is_its_beginning() {
        assert!(decode::<u32>("jobs", Some("W10")).is_err());
        assert_eq!(decode::<u32>("jobs", Some(&page::encode("jobs", &7))).unwrap(), Some(7));
        assert_eq!(decode::<u32>("jobs", None).unwrap(), None);
    }

    #[test]
    fn a_page_has_1_to_500_items() {
        assert!(limit(Some(0)).is_err() && limit(Some(501)).is_err());
        assert_eq!((limit(None).unwrap(), limit(Some(500)).unwrap()), (50, 500));
    }
}
