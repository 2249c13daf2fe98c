//! How a JSON API behaves whatever it is asked: what one lookup does not say. Presets bring it (`[system]`), and a lookup may
//! say otherwise for itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What all lookups of one system have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpApi {
    /// Headers that every request carries; none is a secret.
    pub headers: BTreeMap<String, String>,
    /// Path below the base address that answers whatever the system holds; a template over `system`.
    pub probe: Option<String>,
    /// `JSONPath` to the codes in an answer that refuses. Codes are shown to people, so they are no free text.
    pub error_code: Option<String>,
    /// CEL over `status` and `body`: a 2xx that is no answer.
    pub error_when: Option<String>,
    /// CEL over `status` and `body`: there is no such record.
    pub absent_when: Option<String>,
    /// How lists go on, for lookups that do not say.
    pub pages: Option<Pages>,
}

/// How the rest of a list is asked for: `[record.lookup.pages]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// What leads from one page to the next.
    #[serde(flatten)]
    pub by: PageBy,
    /// `JSONPath`s to the list in an answer: the first that selects one. An answer without one is no page.
    pub items: Vec<String>,
    /// CEL over `status` and `body`: it is a page all the same, and empty.
    #[serde(default)]
    pub page_when: Option<String>,
}

/// What leads from one page to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum PageBy {
    /// The answer holds the next page's address.
    Link {
        /// `JSONPath` to it.
        next: String,
    },
    /// The answer's header `Link` holds it, with `rel="next"`.
    LinkHeader,
    /// A query parameter counts pages.
    Page {
        /// Its name.
        parameter: String,
        /// Number of the first page.
        first: u32,
        /// A page of fewer elements is the last; without it, an empty one is.
        size: Option<u32>,
    },
    /// A query parameter counts elements, from 0.
    Offset {
        /// Its name.
        parameter: String,
        /// A page of fewer elements is the last; without it, an empty one is.
        size: Option<u32>,
    },
    /// A query parameter takes a word that the last answer held.
    Cursor {
        /// Its name.
        parameter: String,
        /// `JSONPath` to the word; none is the end.
        next: String,
        /// `JSONPath` to whether there is more, where the word alone does not tell.
        more: Option<String>,
    },
}
