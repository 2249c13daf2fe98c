//! What a counted list brought already. Who counts pages or elements finds the end by stepping over it, and some servers
//! show their last page there, again and again; a row that moves on between two questions is on two pages.

use std::collections::HashSet;

use serde_json::Value;

/// The elements of the pages so far.
#[derive(Debug, Default)]
pub(super) struct Known {
    elements: HashSet<String>,
    /// Ids of the last page, where each of its elements has one.
    last_ids: Option<Vec<String>>,
}

impl Known {
    /// The elements of the next page that did not come before: none where it is the page before once more.
    pub(super) fn new_of(&mut self, page: Vec<Value>) -> Vec<Value> {
        let texts: Vec<String> = page.iter().map(Value::to_string).collect();
        // An id alone does not make two elements one: the lines of an order may bear the order's. All ids of a page do.
        let ids: Option<Vec<String>> = page.iter().map(id_of).collect();
        let repeats = ids.is_some() && ids == self.last_ids;
        let is_known = |text: &String| self.elements.contains(text);
        let new = if repeats || texts.iter().all(is_known) {
            Vec::new()
        } else {
            // Rows without an id may be equal and two.
            let came = |(element, text): &(Value, &String)| id_of(element).is_some() && is_known(text);
            let each = page.into_iter().zip(&texts);
            each.filter(|pair| !came(pair)).map(|(element, _)| element).collect()
        };
        self.last_ids = ids;
        self.elements.extend(texts);
        new
    }
}

fn id_of(element: &Value) -> Option<String> {
    match element.get("id")? {
        id @ (Value::String(_) | Value::Number(_)) => Some(id.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn new_of(known: &mut Known, page: Value) -> Value {
        let Value::Array(page) = page else { panic!("{page}") };
        known.new_of(page).into()
    }

    #[test]
    fn a_page_once_more_brings_nothing_and_one_that_overlaps_brings_the_rest() {
        let mut known = Known::default();
        assert_eq!(
            new_of(&mut known, json!([{"id": 1}, {"id": 2}])),
            json!([{"id": 1}, {"id": 2}])
        );
        assert_eq!(new_of(&mut known, json!([{"id": 2}, {"id": 3}])), json!([{"id": 3}]));
        let changed = json!([{"id": 2, "at": 9}, {"id": 3, "at": 9}]);
        assert_eq!(new_of(&mut known, changed), json!([]), "the same ids once more");
        assert_eq!(new_of(&mut known, json!([{"id": 1}])), json!([]));
        assert_eq!(new_of(&mut known, json!([])), json!([]));
    }

    #[test]
    fn an_id_that_rows_share_takes_none_away_and_rows_without_one_may_be_equal() {
        let mut known = Known::default();
        new_of(&mut known, json!([{"id": 7, "line": 1}, {"id": 8, "line": 1}]));
        let lines = json!([{"id": 8, "line": 2}, {"id": 9, "line": 1}]);
        assert_eq!(new_of(&mut known, lines.clone()), lines);
        let mut known = Known::default();
        assert_eq!(new_of(&mut known, json!(["9:00", "9:00"])), json!(["9:00", "9:00"]));
        assert_eq!(new_of(&mut known, json!(["9:00", "9:30"])), json!(["9:00", "9:30"]));
        assert_eq!(new_of(&mut known, json!(["9:30"])), json!([]));
    }
}
