//! The rest of a list that comes in pages.
//!
//! An answer says where its next page is, and answers are somebody else's words: an address counts only below the base
//! address that the configuration names. Whatever keeps the list from being whole (a bound, a page that is none, an address
//! that leads away) makes the fact unknown: a list that is cut without a word would make records missing.

use std::{collections::BTreeSet, time::Duration};

use reqwest::{Url, header::HeaderMap};
use serde_json::{Value, json};
use serde_json_path::JsonPath;
use tokio::time::Instant;

use super::{
    Asked, HttpRecords, Lookups,
    answer::Answered,
    counted::Known,
    links::{below, next_link, with_parameter},
};
use crate::{
    adapters::client::{self, Reply},
    domain::{
        http_api::{PageBy, Pages},
        lookup::{Fact, HttpMethod, MOST_ELEMENTS},
        playbook::Expression,
    },
    ports::UpstreamError,
};

/// Longest time from the first page to the last.
const LONGEST: Duration = Duration::from_mins(2);

/// How the lists of a lookup go on, compiled.
#[derive(Debug)]
pub(super) struct PagesOf {
    by: By,
    items: Vec<JsonPath>,
    page_when: Option<Expression>,
}

#[derive(Debug)]
enum By {
    Link(JsonPath),
    LinkHeader,
    Page {
        parameter: String,
        first: u32,
        size: Option<u32>,
    },
    Offset {
        parameter: String,
        size: Option<u32>,
    },
    Cursor {
        parameter: String,
        next: JsonPath,
        more: Option<JsonPath>,
    },
}

impl PagesOf {
    pub(super) fn compile(pages: &Pages) -> Result<Self, String> {
        let path = |text: &str| JsonPath::parse(text).map_err(|error| format!("{error} in `{text}`"));
        let by = match pages.by.clone() {
            PageBy::Link { next } => By::Link(path(&next)?),
            PageBy::LinkHeader => By::LinkHeader,
            PageBy::Page { parameter, first, size } => By::Page { parameter, first, size },
            PageBy::Offset { parameter, size } => By::Offset { parameter, size },
            PageBy::Cursor { parameter, next, more } => By::Cursor {
                parameter,
                next: path(&next)?,
                more: more.as_deref().map(path).transpose()?,
            },
        };
        let items = pages.items.iter().map(|text| path(text)).collect::<Result<_, _>>()?;
        let page_when = pages.page_when.as_deref().map(super::compile_condition).transpose()?;
        Ok(Self { by, items, page_when })
    }

    /// Takes the elements of a page and leaves its list empty; `None` where it is no page.
    fn take(&self, status: u16, page: &mut Value) -> Option<(Option<String>, Vec<Value>)> {
        if let Some(pointer) = self.list_in(page) {
            let elements = take_list(page, &pointer);
            return Some((Some(pointer), elements));
        }
        let is_page = self.page_when.as_ref()?;
        is_page
            .holds(&json!({"status": status, "body": page}))
            .then(|| (None, Vec::new()))
    }

    /// Where the list is in an answer, as a JSON pointer.
    fn list_in(&self, answer: &Value) -> Option<String> {
        self.items.iter().find_map(|path| {
            let located = path.query_located(answer);
            let list = located.iter().find(|node| node.node().is_array())?;
            Some(list.location().to_json_pointer())
        })
    }

    /// The parameter that counts, where one does.
    fn counted(&self) -> Option<&str> {
        match &self.by {
            By::Page { parameter, .. } | By::Offset { parameter, .. } => Some(parameter),
            By::Link(_) | By::LinkHeader | By::Cursor { .. } => None,
        }
    }

    /// The address of the page after this one; `None` at the end.
    fn next(&self, page: &Page<'_>) -> Result<Option<Url>, String> {
        let with = |parameter: &str, value: &str| Some(with_parameter(page.first_address, parameter, value));
        let is_last = |size: Option<u32>| page.on_it == 0 || size.is_some_and(|size| page.on_it < size as usize);
        Ok(match &self.by {
            By::Link(path) => {
                let found = path.query(page.answer).all();
                match found.into_iter().find_map(Value::as_str) {
                    Some(link) => Some(below(page.base, page.address, link)?),
                    None => None,
                }
            }
            By::LinkHeader => match next_link(page.headers) {
                Some(link) => Some(below(page.base, page.address, &link)?),
                None => None,
            },
            By::Page { size, .. } | By::Offset { size, .. } if is_last(*size) => None,
            By::Page { parameter, first, .. } => with(parameter, &(u64::from(*first) + page.pages as u64).to_string()),
            By::Offset { parameter, .. } => with(parameter, &page.received.to_string()),
            By::Cursor { parameter, next, more } => {
                let goes_on = more
                    .as_ref()
                    .is_none_or(|more| more.query(page.answer).all().first().is_some_and(|more| is_yes(more)));
                let cursor = next.query(page.answer).all().into_iter().find_map(as_word);
                match (goes_on, cursor) {
                    (true, Some(cursor)) => with(parameter, &cursor),
                    (true, None) if more.is_some() => {
                        return Err("an answer says that there is more, and not where".to_owned());
                    }
                    _ => None,
                }
            }
        })
    }
}

/// What is known when the next page is looked for.
struct Page<'p> {
    base: &'p Url,
    first_address: &'p Url,
    address: &'p Url,
    answer: &'p Value,
    headers: &'p HeaderMap,
    /// Elements on this page.
    on_it: usize,
    /// Elements on this page and those before it, as they came.
    received: usize,
    /// Pages read.
    pages: usize,
}

/// A list as far as it was read.
struct List {
    /// The first answer that has a list, now empty, and where in it.
    holder: Option<(Value, String)>,
    elements: Vec<Value>,
    /// How many came, those included that had come before.
    received: usize,
    pages: usize,
    bytes: usize,
    /// Addresses of its pages.
    seen: BTreeSet<String>,
    started: Instant,
}

/// Why a list was not read to its end.
enum Stop {
    /// It is not known what else is on it.
    Unknown(String),
    /// The system cannot answer now.
    Outage(UpstreamError),
}

impl From<UpstreamError> for Stop {
    fn from(outage: UpstreamError) -> Self {
        Self::Outage(outage)
    }
}

impl List {
    /// Whether one page more may be read.
    fn check_bounds(&self, records: &HttpRecords) -> Result<(), Stop> {
        let bound = if self.pages >= records.max_pages {
            format!("{} pages", records.max_pages)
        } else if self.started.elapsed() >= LONGEST {
            format!("what can be read in {} s", LONGEST.as_secs())
        } else {
            return self.check_size(records);
        };
        Err(too_long(&bound))
    }

    /// All elements in the first answer that has a list.
    fn into_answer(self) -> Option<Value> {
        let (mut answer, pointer) = self.holder?;
        if let Some(Value::Array(place)) = answer.pointer_mut(&pointer) {
            *place = self.elements;
        }
        Some(answer)
    }

    fn check_size(&self, records: &HttpRecords) -> Result<(), Stop> {
        if self.elements.len() > MOST_ELEMENTS {
            return Err(too_long(&format!("{MOST_ELEMENTS} elements")));
        }
        if self.bytes > records.max_list_bytes {
            return Err(too_long(&format!("{} bytes", records.max_list_bytes)));
        }
        Ok(())
    }
}

fn too_long(bound: &str) -> Stop {
    Stop::Unknown(format!("the list is longer than {bound}: narrow the lookup"))
}

/// What came of the rest of a list.
pub(super) struct Whole {
    /// The first answer with the elements of all pages in its list, or why that is not known.
    pub(super) answer: Result<Value, Fact>,
    /// Pages read.
    pub(super) pages: usize,
}

impl HttpRecords {
    /// Reads the pages after the first one and puts their elements into its list.
    pub(super) async fn read_on(
        &self,
        lookup: &Lookups,
        asked: &Asked,
        reply: &Reply,
        mut answer: Value,
    ) -> Result<Whole, UpstreamError> {
        let how = lookup.pages.as_ref().or(self.pages.as_ref());
        let Some((how, (pointer, elements))) = how.and_then(|how| Some((how, how.take(reply.status, &mut answer)?)))
        else {
            return Ok(Whole {
                answer: Ok(answer),
                pages: 1,
            });
        };
        let mut list = List {
            holder: pointer.map(|pointer| (answer.clone(), pointer)),
            received: elements.len(),
            elements,
            pages: 1,
            bytes: reply.body.len(),
            seen: BTreeSet::from([asked.address.to_string()]),
            started: Instant::now(),
        };
        let read = self.read_pages(lookup, how, asked, (reply, &answer), &mut list).await;
        let pages = list.pages;
        let answer = match read {
            Ok(()) => Ok(list.into_answer().unwrap_or(answer)),
            Err(Stop::Unknown(reason)) => Err(Fact::Unknown { reason }),
            Err(Stop::Outage(outage)) => return Err(outage),
        };
        Ok(Whole { answer, pages })
    }

    async fn read_pages(
        &self,
        lookup: &Lookups,
        how: &PagesOf,
        asked: &Asked,
        (first, answer): (&Reply, &Value),
        list: &mut List,
    ) -> Result<(), Stop> {
        let mut page = answer.clone();
        let mut on_it = list.elements.len();
        let mut headers = first.headers.clone();
        let mut address = asked.address.clone();
        let mut known = Known::default();
        if how.counted().is_some() {
            known.new_of(list.elements.clone());
        }
        loop {
            let next = how.next(&Page {
                base: &self.base,
                first_address: &asked.address,
                address: &address,
                answer: &page,
                headers: &headers,
                on_it,
                received: list.received,
                pages: list.pages,
            });
            let Some(next) = next.map_err(Stop::Unknown)? else {
                return list.check_size(self);
            };
            address = next;
            if !list.seen.insert(address.to_string()) {
                let words = format!("page {} of the list leads back to one before it", list.pages);
                return Err(Stop::Unknown(words));
            }
            list.check_bounds(self)?;
            tokio::time::sleep(self.pace).await;
            // A link leads by GET; a parameter goes where the first question went.
            let is_linked = matches!(how.by, By::Link(_) | By::LinkHeader);
            let again = Asked {
                method: if is_linked { HttpMethod::Get } else { asked.method },
                address: address.clone(),
                body: asked.body.clone().filter(|_| !is_linked),
            };
            let reply = self.send(&again).await?;
            list.pages += 1;
            list.bytes += reply.body.len();
            let number = list.pages;
            page = match self.read(&reply, lookup)? {
                Answered::Json(page) => page,
                // Whoever counts finds the end by stepping over it, and some servers have no page there.
                Answered::Fact(Fact::Absent) if how.counted().is_some() => return list.check_size(self),
                Answered::Fact(_) => {
                    let status = client::status_name(reply.status);
                    let words = format!("page {number} of the list is not there ({status})");
                    return Err(Stop::Unknown(words));
                }
            };
            let Some((pointer, mut more)) = how.take(reply.status, &mut page) else {
                return Err(Stop::Unknown(format!("page {number} of the list holds no list")));
            };
            if let (None, Some(pointer)) = (&list.holder, pointer) {
                list.holder = Some((page.clone(), pointer));
            }
            on_it = more.len();
            headers = reply.headers;
            list.received += on_it;
            let Some(parameter) = how.counted() else {
                list.elements.append(&mut more);
                continue;
            };
            let mut new = known.new_of(more);
            if !new.is_empty() {
                list.elements.append(&mut new);
                continue;
            }
            // The second page is the first: there may be no other, or the server counts by another name.
            if number == 2 && on_it > 0 {
                return Err(Stop::Unknown(format!(
                    "page 2 of the list is page 1 again, so that nobody knows whether there is more: check that the system heeds \
                     `{parameter}`, and say in `size` how many elements a full page has"
                )));
            }
            return list.check_size(self);
        }
    }
}

fn take_list(answer: &mut Value, pointer: &str) -> Vec<Value> {
    match answer.pointer_mut(pointer) {
        Some(Value::Array(list)) => std::mem::take(list),
        _ => Vec::new(),
    }
}

fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::String(text) => text == "true",
        _ => false,
    }
}

fn as_word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
