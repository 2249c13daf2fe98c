//! Lists in pages: whole, or not known.

use super::{
    peer::{Peer, found, says, system, thing, unknown},
    *,
};
use crate::domain::http_api::{PageBy, Pages};

type Script = Box<dyn Fn(&str, &peer::Arrived, usize) -> peer::Says + Send + Sync>;

fn list(by: PageBy, items: &[&str]) -> HttpLookup {
    HttpLookup {
        query: BTreeMap::from([("of".to_owned(), "{{ id }}".to_owned())]),
        pages: Some(Pages {
            by,
            items: items.iter().map(|item| (*item).to_owned()).collect(),
            page_when: None,
        }),
        ..by_id("/list")
    }
}

fn by_link() -> HttpLookup {
    let next = "$.link[?@.relation == 'next'].url".to_owned();
    list(PageBy::Link { next }, &["$.entry"])
}

fn config(peer: &Peer) -> HttpRecordsConfig {
    HttpRecordsConfig {
        max_pages: 4,
        timeout: Duration::from_secs(5),
        ..HttpRecordsConfig::new(format!("{}/fhir", peer.url))
    }
}

fn bundle(entries: &[u32], next: Option<String>) -> peer::Says {
    let links: Vec<Value> = next
        .into_iter()
        .map(|url| json!({"relation": "next", "url": url}))
        .collect();
    says(200, json!({"total": 5, "entry": entries, "link": links}))
}

#[tokio::test]
async fn next_links_are_followed_and_their_elements_are_one_list() {
    let peer = Peer::start(|url, arrived, _| match arrived.target.as_str() {
        "/fhir/list?of=a%26b" => bundle(&[1, 2], Some(format!("{url}/fhir?page=2"))),
        "/fhir?page=2" => bundle(&[3], Some("/fhir?page=3".to_owned())),
        _ => bundle(&[4, 5], None),
    })
    .await;
    let answer = system(config(&peer), by_link()).look_up(&thing("a&b")).await.unwrap();
    assert_eq!(answer.request, "GET /list?of=a%26b (3 pages)");
    let whole = found(answer);
    assert_eq!(whole["entry"], json!([1, 2, 3, 4, 5]));
    assert_eq!(whole["total"], 5, "the rest is the first answer's");
}

#[tokio::test]
async fn a_link_header_is_followed() {
    let peer = Peer::start(|_, arrived, _| match arrived.target.as_str() {
        "/fhir/list?of=1" => says(200, json!([1])).with("link", "</fhir/list?p=2>; rel=\"next\""),
        _ => says(200, json!([2])),
    })
    .await;
    let answer = system(config(&peer), list(PageBy::LinkHeader, &["$"]))
        .look_up(&thing("1"))
        .await;
    assert_eq!(found(answer.unwrap()), json!([1, 2]));
}

#[tokio::test]
async fn pages_and_offsets_are_counted_until_one_is_short_or_empty() {
    let rows = |arrived: &peer::Arrived| match arrived.target.rsplit_once('=').unwrap() {
        (_, "2") => json!({"rows": [3, 4]}),
        (_, "3" | "4") => json!({"rows": [5]}),
        (path, _) if path.ends_with("of") => json!({"rows": [1, 2]}),
        _ => json!({"rows": []}),
    };
    let page = |size| PageBy::Page {
        parameter: "page".to_owned(),
        first: 1,
        size,
    };
    let offset = PageBy::Offset {
        parameter: "offset".to_owned(),
        size: Some(2),
    };
    for (by, last) in [(page(Some(2)), "page=3"), (offset, "offset=4")] {
        let peer = Peer::start(move |_, arrived, _| says(200, rows(arrived))).await;
        let answer = system(config(&peer), list(by, &["$.rows"]))
            .look_up(&thing("9"))
            .await
            .unwrap();
        assert_eq!(found(answer)["rows"], json!([1, 2, 3, 4, 5]));
        let targets = peer.targets();
        assert_eq!(targets.len(), 3);
        assert!(targets[2].ends_with(last), "{targets:?}");
    }
    let peer =
        Peer::start(|_, _, before| says(200, json!({"rows": if before < 2 { vec![before] } else { vec![] }}))).await;
    let answer = system(config(&peer), list(page(None), &["$.rows"]))
        .look_up(&thing("9"))
        .await
        .unwrap();
    assert_eq!(found(answer)["rows"], json!([0, 1]));
    assert_eq!(peer.arrived().len(), 3, "without a size only an empty page is the last");
}

fn counted(name: &str, size: Option<u32>) -> HttpLookup {
    let parameter = name.to_owned();
    let by = match name {
        "offset" => PageBy::Offset { parameter, size },
        _ => PageBy::Page {
            parameter,
            first: 1,
            size,
        },
    };
    list(by, &["$.rows"])
}

fn number(arrived: &peer::Arrived, parameter: &str) -> Option<usize> {
    let (_, query) = arrived.target.split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(parameter)?.strip_prefix('='))?
        .parse()
        .ok()
}

#[tokio::test]
async fn counting_ends_where_nothing_new_comes_however_the_server_says_so() {
    // Yii shows its last page again, Django has no such page, others an empty one.
    let again = |page: usize| match page {
        1 => says(200, json!({"rows": [{"id": 1}, {"id": 2}]})),
        _ => says(200, json!({"rows": [{"id": 3, "seen": page}]})),
    };
    let none = |page: usize| match page {
        1 => says(200, json!({"rows": [{"id": 1}, {"id": 2}]})),
        2 => says(200, json!({"rows": [{"id": 3, "seen": 2}]})),
        _ => says(404, json!({"detail": "Invalid page."})),
    };
    let empty = |page: usize| match page {
        1 => says(200, json!({"rows": [{"id": 1}, {"id": 2}]})),
        2 => says(200, json!({"rows": [{"id": 3, "seen": 2}]})),
        _ => says(200, json!({"rows": []})),
    };
    let ends: [fn(usize) -> peer::Says; 3] = [again, none, empty];
    for end in ends {
        let peer = Peer::start(move |_, arrived, _| end(number(arrived, "page").unwrap_or(1))).await;
        let answer = system(config(&peer), counted("page", None))
            .look_up(&thing("9"))
            .await
            .unwrap();
        assert_eq!(answer.request, "GET /list?of=9 (3 pages)");
        assert_eq!(
            found(answer)["rows"],
            json!([{"id": 1}, {"id": 2}, {"id": 3, "seen": 2}])
        );
    }
    // The same by offset, where a row moved on between two pages: it is one row.
    let peer = Peer::start(|_, arrived, _| match number(arrived, "offset").unwrap_or(0) {
        0 => says(200, json!({"rows": [{"id": 1}, {"id": 2}]})),
        2 => says(200, json!({"rows": [{"id": 2}, {"id": 3}]})),
        _ => says(200, json!({"rows": [{"id": 3}]})),
    })
    .await;
    let answer = system(config(&peer), counted("offset", None))
        .look_up(&thing("9"))
        .await
        .unwrap();
    assert_eq!(found(answer)["rows"], json!([{"id": 1}, {"id": 2}, {"id": 3}]));
    assert!(peer.targets()[2].ends_with("offset=4"), "{:?}", peer.targets());
}

#[tokio::test]
async fn rows_that_share_an_id_are_not_taken_for_one() {
    // Lines of two orders: their `id` is the order's.
    let peer = Peer::start(|_, arrived, _| match number(arrived, "page").unwrap_or(1) {
        1 => says(200, json!({"rows": [{"id": 7, "line": 1}, {"id": 7, "line": 2}]})),
        2 => says(200, json!({"rows": [{"id": 7, "line": 3}]})),
        _ => says(200, json!({"rows": []})),
    })
    .await;
    let answer = system(config(&peer), counted("page", None))
        .look_up(&thing("9"))
        .await
        .unwrap();
    assert_eq!(found(answer)["rows"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_parameter_that_the_server_does_not_heed_does_not_cut_the_list() {
    for (size, rows) in [(None, json!([1, 2])), (Some(2), json!([1, 2]))] {
        let peer = Peer::start(move |_, _, _| says(200, json!({"rows": rows}))).await;
        let answer = system(config(&peer), counted("page", size))
            .look_up(&thing("9"))
            .await
            .unwrap();
        let reason = unknown(&answer);
        assert!(reason.contains("page 2 of the list is page 1 again"), "{reason}");
        assert!(reason.contains("`page`") && reason.contains("size"), "{reason}");
        assert_eq!(peer.arrived().len(), 2);
    }
    // A page that is not full is the last, whatever the server would show next.
    let peer = Peer::start(|_, _, _| says(200, json!({"rows": [1, 2]}))).await;
    let answer = system(config(&peer), counted("page", Some(3)))
        .look_up(&thing("9"))
        .await
        .unwrap();
    assert_eq!(found(answer)["rows"], json!([1, 2]));
}

#[tokio::test]
async fn counting_is_bounded_in_pages_and_bytes_and_stops_at_what_is_not_the_apis() {
    let cases: [(Script, usize, &str); 2] = [
        (
            Box::new(|_, _, before| says(200, json!({"rows": [before]}))),
            4,
            "longer than 4 pages",
        ),
        (
            Box::new(|_, _, before| says(200, json!({"rows": [format!("{before}{}", "x".repeat(60_000))]}))),
            2,
            "longer than 100000 bytes",
        ),
    ];
    for (script, requests, words) in cases {
        let peer = Peer::start(script).await;
        let config = HttpRecordsConfig {
            max_list_bytes: 100_000,
            ..config(&peer)
        };
        let answer = system(config, counted("page", None))
            .look_up(&thing("1"))
            .await
            .unwrap();
        assert!(unknown(&answer).contains(words), "{words}: {answer:?}");
        assert_eq!(peer.arrived().len(), requests, "{words}");
    }
    // A page of somebody else's in the middle of a list is trouble, and waited for.
    let peer = Peer::start(|_, _, before| match before {
        0 => says(200, json!({"rows": [1]})),
        _ => says(404, "<html>nothing here"),
    })
    .await;
    let error = system(config(&peer), counted("page", None))
        .look_up(&thing("1"))
        .await
        .unwrap_err();
    assert_eq!(error.reason, UpstreamReason::BadAnswer);
    assert_eq!(peer.arrived().len(), 2);
}

#[tokio::test]
async fn a_cursor_is_followed_while_there_is_more_also_by_post() {
    let peer = Peer::start(|_, arrived, _| {
        let (rows, cursor) = if arrived.target.contains("after=") {
            (json!([2]), json!({"end": "c2", "more": false}))
        } else {
            (json!([1]), json!({"end": "c 1", "more": true}))
        };
        says(200, json!({"data": {"patients": rows}, "page_info": cursor}))
    })
    .await;
    let by = PageBy::Cursor {
        parameter: "after".to_owned(),
        next: "$.page_info.end".to_owned(),
        more: Some("$.page_info.more".to_owned()),
    };
    let how = HttpLookup {
        method: HttpMethod::Post,
        body: Some("{\"id\": {{ id }}}".to_owned()),
        ..list(by, &["$.rows", "$.data.patients"])
    };
    let answer = system(config(&peer), how).look_up(&thing("9")).await.unwrap();
    assert_eq!(found(answer)["data"]["patients"], json!([1, 2]));
    let arrived = peer.arrived();
    assert_eq!(arrived[1].target, "/fhir/list?of=9&after=c%201");
    assert_eq!(
        (arrived[1].method.as_str(), arrived[1].body.as_str()),
        ("POST", "{\"id\": \"9\"}")
    );
}

#[tokio::test]
async fn an_answer_without_a_list_is_no_page() {
    let peer = Peer::start(|_, _, _| says(200, json!({"resourceType": "Patient", "id": "1"}))).await;
    let answer = system(config(&peer), by_link()).look_up(&thing("1")).await.unwrap();
    assert_eq!(answer.request, "GET /list?of=1");
    assert_eq!(found(answer)["id"], "1");
}

#[tokio::test]
async fn a_page_without_its_list_may_be_an_empty_one_that_goes_on() {
    let empty = |next: Value| says(200, json!({"resourceType": "Bundle", "link": next}));
    let script = move |url: &str, _: &peer::Arrived, before: usize| {
        let next = |page: u32| json!([{"relation": "next", "url": format!("{url}/fhir?page={page}")}]);
        match before {
            0 => empty(next(2)),
            1 => says(200, json!({"resourceType": "Bundle", "link": next(3), "entry": [1, 2]})),
            _ => empty(json!([])),
        }
    };
    let peer = Peer::start(script).await;
    let api = crate::domain::playbook::presets::api("fhir-r4").unwrap();
    let config = HttpRecordsConfig { api, ..config(&peer) };
    let answer = system(config, by_id("/list")).look_up(&thing("1")).await.unwrap();
    assert_eq!(answer.request, "GET /list (3 pages)");
    assert_eq!(found(answer)["entry"], json!([1, 2]));
}

#[tokio::test]
async fn a_list_that_does_not_come_whole_is_unknown_and_says_why() {
    let next = |url: &str, page: usize| Some(format!("{url}/fhir?page={page}"));
    let cases: [(Script, usize, &str); 8] = [
        (
            Box::new(move |url, _, before| bundle(&[1], next(url, before))),
            4,
            "longer than 4 pages",
        ),
        (
            Box::new(move |url, _, _| bundle(&[1], next(url, 2))),
            2,
            "leads back to one before it",
        ),
        (
            Box::new(move |url, _, before| match before {
                0 => bundle(&[1], next(url, 2)),
                _ => says(404, "{}"),
            }),
            2,
            "page 2 of the list is not there (404 Not Found)",
        ),
        (
            Box::new(move |url, _, before| match before {
                0 => bundle(&[1], next(url, 2)),
                _ => says(200, json!({"resourceType": "OperationOutcome"})),
            }),
            2,
            "page 2 of the list holds no list",
        ),
        (
            Box::new(|_, _, _| bundle(&[1], Some("http://127.0.0.1:1/fhir?page=2".to_owned()))),
            1,
            "not below base_url",
        ),
        (
            Box::new(|_, _, _| bundle(&[1], Some("/admin?page=2".to_owned()))),
            1,
            "not below base_url",
        ),
        (
            Box::new(move |url, _, before| bundle(&[7; 1500], next(url, before))),
            2,
            "longer than 2000 elements",
        ),
        (
            Box::new(move |url, _, before| {
                let long = "x".repeat(60_000);
                let links = json!([{"relation": "next", "url": next(url, before)}]);
                says(200, json!({"entry": [long], "link": links}))
            }),
            2,
            "longer than 100000 bytes",
        ),
    ];
    for (script, requests, words) in cases {
        let peer = Peer::start(script).await;
        let config = HttpRecordsConfig {
            max_list_bytes: 100_000,
            ..config(&peer)
        };
        let answer = system(config, by_link()).look_up(&thing("1")).await.unwrap();
        assert!(unknown(&answer).contains(words), "{words}: {answer:?}");
        assert_eq!(peer.arrived().len(), requests, "{words}");
    }
}

#[tokio::test]
async fn trouble_on_a_later_page_is_trouble_of_the_system() {
    let peer = Peer::start(|url, _, before| match before {
        0 => bundle(&[1], Some(format!("{url}/fhir?page=2"))),
        _ => says(503, "{}"),
    })
    .await;
    let error = system(config(&peer), by_link()).look_up(&thing("1")).await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::Unreachable);
}
