//! The document is valid OpenAPI 3.1, describes every route, and is shown to people without anything that acts.

use std::{collections::BTreeSet, fs};

use reqwest::Method;
use serde_json::Value;

use super::world::{Answer, Operation, Served};

/// Every `$ref` in it.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                found.push(reference.to_owned());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn handlers() -> usize {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/api");
    let mut handlers = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let code = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!code.contains(".route("), "a route that is not in the document");
        handlers += code.matches("#[utoipa::path(").count();
    }
    handlers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_whole_and_every_route_is_in_it() {
    let served = Served::start().await;
    let document = served.document().await;
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1."),
        "{}",
        document["openapi"]
    );
    let mut all = Vec::new();
    references(&document, &mut all);
    assert!(all.len() > 100, "{}", all.len());
    for reference in all {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let operations = Operation::all(&document);
    assert_eq!(operations.len(), handlers(), "a handler is in no route, or in two");
    let tags: BTreeSet<&str> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut ids = BTreeSet::new();
    for operation in &operations {
        let (path, described) = (&operation.path, &operation.described);
        assert!(
            ids.insert(described["operationId"].as_str().unwrap().to_owned()),
            "{path}"
        );
        assert!(tags.contains(described["tags"][0].as_str().unwrap()), "{path}");
        assert!(!described["summary"].as_str().unwrap().is_empty(), "{path}");
        let named: Vec<&str> = described["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let in_path: Vec<&str> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        assert_eq!(named, in_path, "{path}");
        assert_eq!(
            described["requestBody"].is_object(),
            operation.is_write() && operation.method != Method::DELETE,
            "{path}"
        );
        for (status, response) in described["responses"].as_object().unwrap() {
            assert!(!response["description"].as_str().unwrap().is_empty(), "{path} {status}");
            let is_problem = response["content"]["application/problem+json"].is_object();
            assert_eq!(is_problem, status.starts_with(['4', '5']), "{path} {status}");
        }
        let is_signed = described["security"][0]["signature"].is_array();
        for status in ["401", "429", "503"].into_iter().chain((!is_signed).then_some("403")) {
            assert!(described["responses"][status].is_object(), "{path} {status}");
        }

        // Each of them is there: what is not there says so by another code.
        let answer = Answer::of(operation.ask(&served).bearer_auth(&served.operate)).await;
        assert_ne!(answer.status, 405, "{path}: {answer}");
        let is_there = answer.status != 404 || answer.json()["code"] != "unknown_route";
        assert!(is_there, "{path}: {answer}");
        let described = described["responses"][answer.status.to_string()].is_object();
        assert!(described, "{path}: {answer}");
    }
    // And nothing else is.
    for path in [
        "",
        "/",
        "/nosuch",
        "/queues/",
        "/queues/x/y",
        "/jobs/x/y/z",
        "/sessions/calls",
    ] {
        served.get(path).await.is_problem(404, "unknown_route");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_is_a_page_on_which_nothing_acts() {
    let served = Served::start().await;
    let page = served.get("/docs").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    page.is_protected();
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("style-src 'sha256-") && !policy.contains("script-src"),
        "{policy}"
    );
    let html = &page.text;
    for acts in [
        "<script",
        "javascript:",
        "<link",
        "<img",
        "<iframe",
        "@import",
        "url(",
        " src=",
        " style=",
        " on",
    ] {
        let is_there = if acts == " on" {
            // An attribute such as onload, not the word in a sentence.
            html.contains(" onload") || html.contains(" onclick") || html.contains(" onerror")
        } else {
            html.contains(acts)
        };
        assert!(!is_there, "{acts}");
    }
    for operation in Operation::all(&served.document().await) {
        let shown = format!("{} /api/v1{}", operation.method, operation.path);
        assert!(html.contains(&shown), "{shown}");
    }
    assert!(html.contains("database_unavailable"));

    let printed = crate::support::child::Child::start(&served.world, &["api", "--openapi"], &[])
        .ended()
        .await;
    let printed: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(printed, served.document().await);
    served.stop().await;
}
