//! `[record.lookup]` and `[search.lookup]` with their pages, and the `[system]` of a preset.

use std::collections::BTreeSet;

use super::{lookups::ReadLookup, words::one_of};
use crate::domain::{
    http_api::{HttpApi, PageBy, Pages},
    lookup::{ANSWER_VARIABLES, HttpLookup, HttpMethod, RecordLookup},
    playbook::{
        fault::suggestion,
        reader::{Placed, Table},
        template,
    },
};

/// In a template, what the configuration says of the system: `{{ system.subdomain }}`.
const SYSTEM: &str = "system";

/// Over HTTP.
pub(super) fn http_lookup(inner: &Table<'_, '_>) -> ReadLookup {
    let method = one_of(
        inner,
        "method",
        &[("GET", HttpMethod::Get), ("POST", HttpMethod::Post)],
        HttpMethod::Get,
    );
    let path = inner.required_text("path");
    if !path.value.is_empty() && !path.value.starts_with('/') {
        inner.fault(
            &path.at,
            "path",
            "must begin with `/`: the host is the configuration's alone",
        );
    }
    let body = inner.text("body");
    let select = inner.text("select");
    if let Some(select) = &select {
        // Compiled here only to report it; the adapter compiles its own.
        let _ = inner.path("select");
        debug_assert!(!select.value.contains('\0'));
    }
    let query = inner.table("query").map(|query| query.text_map()).unwrap_or_default();
    let optional = inner.texts("optional");
    for name in &optional {
        if !query.iter().any(|(parameter, _)| parameter.value == name.value) {
            let hint = suggestion(&name.value, query.iter().map(|(parameter, _)| parameter.value.as_str()));
            inner.fault(
                &name.at,
                "optional",
                format!("\"{}\" is no parameter of `query`{hint}", name.value),
            );
        }
    }
    let is_optional = |key: &str| optional.iter().any(|name| name.value == key);
    let mut needed = BTreeSet::new();
    let mut spared = BTreeSet::new();
    let texts = std::iter::once(("path", &path, false))
        .chain(body.iter().map(|body| ("body", body, false)))
        .chain(query.iter().map(|(name, value)| {
            let key = name.value.as_str();
            (key, value, is_optional(key))
        }));
    for (key, text, spare) in texts {
        match template::variables(&text.value) {
            Ok(found) if spare => spared.extend(found),
            Ok(found) => needed.extend(found),
            Err(reason) => inner.fault(&text.at, key, reason),
        }
    }
    needed.remove(SYSTEM);
    spared.remove(SYSTEM);
    let absent_when = condition(inner, "absent_when");
    let pages = inner.table("pages").and_then(|pages| read_pages(&pages));
    if let Some(pages) = &pages {
        refuse_another_start(inner, pages, &path, &query);
    }
    inner.finish();
    ReadLookup {
        lookup: RecordLookup::Http(HttpLookup {
            method,
            path: path.value,
            query: query
                .into_iter()
                .map(|(name, value)| (name.value, value.value))
                .collect(),
            body: body.map(|text| text.value),
            select: select.map(|text| text.value),
            absent_when,
            optional: optional.into_iter().map(|name| name.value).collect(),
            pages,
        }),
        optional: spared.difference(&needed).cloned().collect(),
        variables: needed.into_iter().chain(spared).collect(),
    }
}

/// A condition over an answer, as text: compiled here only to report it.
fn condition(table: &Table<'_, '_>, key: &'static str) -> Option<String> {
    let _ = table.expression(key, &ANSWER_VARIABLES);
    table.text(key).map(|text| text.value)
}

/// A path, as text: compiled here only to report it.
fn path_text(table: &Table<'_, '_>, key: &'static str) -> Option<String> {
    let _ = table.path(key);
    table.text(key).map(|text| text.value)
}

#[derive(Clone, Copy)]
enum By {
    Link,
    LinkHeader,
    Page,
    Offset,
    Cursor,
}

fn read_pages(table: &Table<'_, '_>) -> Option<Pages> {
    const WORDS: [(&str, By); 5] = [
        ("link", By::Link),
        ("link_header", By::LinkHeader),
        ("page", By::Page),
        ("offset", By::Offset),
        ("cursor", By::Cursor),
    ];
    table.required_text("by");
    let by = one_of(table, "by", &WORDS, By::LinkHeader);
    // One after the other, so that all that is missing is reported at once.
    let parameter = match by {
        By::Page | By::Offset | By::Cursor => Some(table.required_text("parameter").value),
        By::Link | By::LinkHeader => None,
    };
    let next = match by {
        By::Link | By::Cursor => {
            table.required_text("next");
            path_text(table, "next")
        }
        By::LinkHeader | By::Page | By::Offset => None,
    };
    let size = match by {
        By::Page | By::Offset => table.count("size"),
        By::Link | By::LinkHeader | By::Cursor => None,
    };
    if size == Some(0) {
        table.fault(
            &table.at,
            "size",
            "must be at least 1: how many elements a full page has",
        );
    }
    let by = match by {
        By::Link => next.map(|next| PageBy::Link { next }),
        By::LinkHeader => Some(PageBy::LinkHeader),
        By::Page => Some(PageBy::Page {
            parameter: parameter.unwrap_or_default(),
            first: table.count("first").unwrap_or(1),
            size,
        }),
        By::Offset => Some(PageBy::Offset {
            parameter: parameter.unwrap_or_default(),
            size,
        }),
        By::Cursor => {
            let more = path_text(table, "more");
            next.map(|next| PageBy::Cursor {
                parameter: parameter.unwrap_or_default(),
                next,
                more,
            })
        }
    };
    let mut items = table.plain_texts("items");
    let _ = table.record_paths("items");
    if items.is_empty() {
        items.push("$".to_owned());
    }
    let page_when = condition(table, "page_when");
    table.finish();
    by.map(|by| Pages { by, items, page_when })
}

/// A list that the lookup itself starts elsewhere is not read whole, and nobody would see it.
fn refuse_another_start(
    lookup: &Table<'_, '_>,
    pages: &Pages,
    path: &Placed<String>,
    query: &[(Placed<String>, Placed<String>)],
) {
    let (parameter, start) = match &pages.by {
        PageBy::Page { parameter, first, .. } => (parameter, first.to_string()),
        PageBy::Offset { parameter, .. } => (parameter, "0".to_owned()),
        PageBy::Cursor { parameter, .. } => (parameter, String::new()),
        PageBy::Link { .. } | PageBy::LinkHeader => return,
    };
    let in_path = path.value.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let in_path = in_path.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name, value, &path.at, "path"))
    });
    let in_query = query
        .iter()
        .map(|(name, value)| (name.value.as_str(), value.value.as_str(), &value.at, "query"));
    for (_, value, at, key) in in_path.chain(in_query).filter(|(name, ..)| name == parameter) {
        if value == start {
            continue;
        }
        let reason = if start.is_empty() {
            format!("holds `{parameter}`, which leads from one page to the next: leave it out")
        } else {
            format!(
                "starts the list at {parameter} = \"{value}\", and its pages are counted from {start}: leave it out, or let `first` \
                 say the same"
            )
        };
        lookup.fault(at, key, reason);
    }
}

/// `[system]` of a preset.
pub(in crate::domain::playbook) fn system(root: &Table<'_, '_>) -> HttpApi {
    let Some(table) = root.table("system") else {
        return HttpApi::default();
    };
    let headers = table
        .table("headers")
        .map(|headers| headers.text_map())
        .unwrap_or_default();
    let api = HttpApi {
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.value, value.value))
            .collect(),
        probe: table.text("probe").map(|text| text.value),
        error_code: path_text(&table, "error_code"),
        error_when: condition(&table, "error_when"),
        absent_when: condition(&table, "absent_when"),
        pages: table.table("pages").and_then(|pages| read_pages(&pages)),
    };
    table.finish();
    api
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::playbook::Playbook;

    fn search(lookup: &str) -> Result<Playbook, Vec<String>> {
        let text = format!(
            "[playbook]\nname = \"x\"\nversion = 1\n[[record]]\nkind = \"patient\"\nsystem = \"s\"\n\
             [[search]]\nname = \"found\"\nrecord = \"patient\"\nsystem = \"s\"\nkeys = {{ name = \"subject\", born = \"fields.born\" }}\n\
             [search.lookup]\npath = \"/patients\"\n{lookup}"
        );
        Playbook::parse("x.toml", &text).map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_list_goes_on_as_its_table_says() {
        for (pages, expected) in [
            (
                "by = \"link\"\nnext = \"$.next\"\nitems = [\"$.a\", \"$.b\"]",
                Pages {
                    by: PageBy::Link {
                        next: "$.next".to_owned(),
                    },
                    items: vec!["$.a".to_owned(), "$.b".to_owned()],
                    page_when: None,
                },
            ),
            (
                "by = \"link_header\"",
                Pages {
                    by: PageBy::LinkHeader,
                    items: vec!["$".to_owned()],
                    page_when: None,
                },
            ),
            (
                "by = \"page\"\nparameter = \"p\"\nfirst = 0\nsize = 50",
                Pages {
                    by: PageBy::Page {
                        parameter: "p".to_owned(),
                        first: 0,
                        size: Some(50),
                    },
                    items: vec!["$".to_owned()],
                    page_when: None,
                },
            ),
        ] {
            let playbook = search(&format!("[search.lookup.pages]\n{pages}\n")).unwrap();
            let Some(RecordLookup::Http(lookup)) = playbook.searches[0].lookup.clone() else {
                panic!("it is over HTTP")
            };
            assert_eq!(lookup.pages, Some(expected));
        }
    }

    #[test]
    fn a_lookup_may_say_itself_where_its_list_starts() {
        for lookup in [
            "query = { p = \"0\" }\n[search.lookup.pages]\nby = \"page\"\nparameter = \"p\"\nfirst = 0\n",
            "query = { skip = \"0\" }\n[search.lookup.pages]\nby = \"offset\"\nparameter = \"skip\"\n",
        ] {
            assert!(search(lookup).is_ok(), "{:?}", search(lookup));
        }
    }

    #[test]
    fn what_only_optional_parameters_need_ends_no_search() {
        let playbook = search(
            "query = { name = \"{{ name }}\", born = \"{{ born }}\", site = \"{{ system.site }}\" }\noptional = [\"born\"]\n",
        )
        .unwrap();
        let search = &playbook.searches[0];
        assert_eq!(search.optional, BTreeSet::from(["born".to_owned()]));
        assert!(!search.names_session);
    }

    #[test]
    fn faults_of_a_lookup_are_reported_where_they_stand() {
        for (lookup, says) in [
            (
                "absent_when = \"staus == 200\"",
                "x.toml:14: [[search]] found: lookup: absent_when: CEL variable \"staus\" does not exist here (did you mean \"status\"?)",
            ),
            (
                "optional = [\"born\"]",
                "lookup: optional: \"born\" is no parameter of `query`",
            ),
            (
                "[search.lookup.pages]\nby = \"lnk\"",
                "lookup: pages: by: unknown value \"lnk\" (did you mean \"link\"?)",
            ),
            (
                "[search.lookup.pages]\nby = \"cursor\"",
                "lookup: pages: parameter: is missing",
            ),
            (
                "[search.lookup.pages]\nby = \"cursor\"",
                "lookup: pages: next: is missing",
            ),
            (
                "[search.lookup.pages]\nby = \"link\"\nnext = \"$[\"",
                "lookup: pages: next: not a JSONPath",
            ),
            (
                "[search.lookup.pages]\nby = \"link_header\"\nnext = \"$.a\"",
                "lookup: pages: unknown key \"next\"",
            ),
            (
                "[search.lookup.pages]\nby = \"page\"\nparameter = \"p\"\nsize = 0",
                "lookup: pages: size: must be at least 1",
            ),
            (
                "[search.lookup.pages]\nby = \"page\"\nparameter = \" \"",
                "lookup: pages: parameter: must not be empty",
            ),
            (
                "query = { p = \"3\" }\n[search.lookup.pages]\nby = \"page\"\nparameter = \"p\"",
                "x.toml:14: [[search]] found: lookup: query: starts the list at p = \"3\", and its pages are counted from 1",
            ),
            (
                "query = { skip = \"{{ name }}\" }\n[search.lookup.pages]\nby = \"offset\"\nparameter = \"skip\"",
                "lookup: query: starts the list at skip",
            ),
            (
                "query = { after = \"x\" }\n[search.lookup.pages]\nby = \"cursor\"\nparameter = \"after\"\nnext = \"$.a\"",
                "lookup: query: holds `after`, which leads from one page to the next",
            ),
            (
                "[search.lookup.pages]\nby = \"link_header\"\nitems = \"$[\"",
                "lookup: pages: items: not a JSONPath",
            ),
        ] {
            let faults = search(&format!("{lookup}\n")).unwrap_err();
            assert!(
                faults.iter().any(|fault| fault.contains(says)),
                "{says}\nin {faults:#?}"
            );
        }
    }
}
