//! Against a records server over a real socket.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    adapters::percent,
    domain::lookup::Fact,
    sandbox::{
        Server,
        records::{self, Fault, Records},
    },
};

mod absence;
mod assertion;
mod hostile;
mod limits;
mod lists;
mod nexhealth;
mod peer;
mod tokens;

fn by_id(path: &str) -> HttpLookup {
    HttpLookup {
        path: path.to_owned(),
        ..HttpLookup::default()
    }
}

fn lookup(id: Option<&str>) -> Lookup {
    Lookup {
        system: "airline".to_owned(),
        record: "reservation".to_owned(),
        id: id.map(str::to_owned),
        keys: BTreeMap::from([("session".to_owned(), "s/1".to_owned())]),
    }
}

fn asking(base_url: &str, how: HttpLookup) -> HttpRecords {
    let config = HttpRecordsConfig {
        headers: vec![("Authorization".to_owned(), Secret::new("Bearer sk-77"))],
        timeout: Duration::from_millis(500),
        max_bytes: 2_000,
        ..HttpRecordsConfig::new(base_url)
    };
    HttpRecords::new("airline", config, BTreeMap::from([("reservation".to_owned(), how)])).unwrap()
}

async fn served(known: Records) -> (Arc<Records>, Server, HttpRecords) {
    let known = Arc::new(known);
    let server = records::start(Arc::clone(&known)).await.unwrap();
    let system = asking(&server.url(), by_id("/{{ session }}/reservations/{{ id }}"));
    (known, server, system)
}

#[tokio::test]
async fn a_record_is_found_and_a_missing_one_is_absent() {
    let known = Records::new().with("s/1", "reservations", "A/B ü", json!({"cabin": "economy"}));
    let (_, _server, system) = served(known).await;
    let answer = system.look_up(&lookup(Some("A/B ü"))).await.unwrap();
    assert_eq!(
        answer.fact,
        Fact::Found {
            record: json!({"cabin": "economy"})
        }
    );
    assert_eq!(answer.request, "GET /s%2F1/reservations/A%2FB%20%C3%BC");
    assert_eq!(answer.status, Some(200));
    let answer = system.look_up(&lookup(Some("C"))).await.unwrap();
    assert_eq!(answer.fact, Fact::Absent);
}

#[tokio::test]
async fn a_value_that_would_leave_its_place_is_never_sent() {
    let (known, _server, system) = served(Records::new()).await;
    for id in [Some(".."), Some("."), Some(""), None] {
        let answer = system.look_up(&lookup(id)).await.unwrap();
        assert!(matches!(answer.fact, Fact::Unknown { .. }), "{id:?}: {:?}", answer.fact);
    }
    assert_eq!(known.requests(), 0);
    for id in [
        "../../users/x",
        "x?admin=1",
        "x#y",
        "%2e%2e",
        "..\\..",
        "a\r\nHost: evil",
    ] {
        let answer = system.look_up(&lookup(Some(id))).await.unwrap();
        assert_eq!(
            answer.request,
            format!("GET /s%2F1/reservations/{}", percent::encode(id))
        );
        assert_eq!(answer.fact, Fact::Absent);
    }
}

#[tokio::test]
async fn trouble_of_the_system_is_an_error_and_a_refused_question_is_unknown() {
    let (known, _server, system) = served(Records::new()).await;
    let cases = [
        (Fault::Status(500), Some(UpstreamReason::Unreachable)),
        (Fault::Status(401), Some(UpstreamReason::AuthInvalid)),
        (Fault::Status(403), Some(UpstreamReason::AuthInvalid)),
        (Fault::Status(402), Some(UpstreamReason::BillingExhausted)),
        (Fault::RetryAfter(429, 41), Some(UpstreamReason::RateLimited)),
        (Fault::Html, Some(UpstreamReason::BadAnswer)),
        (Fault::Hang, Some(UpstreamReason::Unreachable)),
        (
            Fault::Body(200, "application/json", "{\"a\": [1".to_owned()),
            Some(UpstreamReason::BadAnswer),
        ),
        (
            Fault::Body(200, "application/json", format!("\"{}\"", "x".repeat(3_000))),
            Some(UpstreamReason::BadAnswer),
        ),
        (Fault::Status(302), Some(UpstreamReason::BadAnswer)),
        (Fault::Status(400), None),
        (Fault::Status(409), None),
        (Fault::Status(422), None),
        (Fault::Body(204, "application/json", String::new()), None),
    ];
    for (fault, expected) in cases {
        known.fail("", fault.clone(), 1);
        match (system.look_up(&lookup(Some("A"))).await, expected) {
            (Err(error), Some(reason)) => {
                assert_eq!(error.reason, reason, "{fault:?}");
                assert_eq!(error.upstream, "records:airline");
                assert!(!error.to_string().contains("sk-77"));
                if let Fault::RetryAfter(_, seconds) = fault {
                    assert_eq!(error.retry_after, Some(Duration::from_secs(seconds.into())));
                }
            }
            (Ok(answer), None) => assert!(matches!(answer.fact, Fact::Unknown { .. }), "{fault:?}"),
            (other, _) => panic!("{fault:?} gave {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_jsonpath_selects_the_record_and_nothing_selected_is_absent() {
    let known = Records::new().with(
        "s/1",
        "reservations",
        "A",
        json!({"entry": [{"n": 1}, {"n": 2}], "none": []}),
    );
    let (_, server, _) = served(known).await;
    for (select, expected) in [
        ("$.entry[0]", Some(json!({"n": 1}))),
        ("$.entry[*].n", Some(json!([1, 2]))),
        ("$.none[*]", None),
        ("$.none", None),
        ("$.missing", None),
    ] {
        let how = HttpLookup {
            select: Some(select.to_owned()),
            ..by_id("/{{ session }}/reservations/{{ id }}")
        };
        let answer = asking(&server.url(), how).look_up(&lookup(Some("A"))).await.unwrap();
        let expected = expected.map_or(Fact::Absent, |record| Fact::Found { record });
        assert_eq!(answer.fact, expected, "{select}");
    }
}

#[test]
fn values_in_queries_and_bodies_are_escaped_for_where_they_stand() {
    let how = HttpLookup {
        method: HttpMethod::Post,
        path: "/search".to_owned(),
        query: BTreeMap::from([("of kind".to_owned(), "{{ id }}".to_owned())]),
        body: Some(r#"{"name": {{ id }}}"#.to_owned()),
        ..HttpLookup::default()
    };
    let system = asking("http://127.0.0.1:1/api/", how);
    let question = system
        .question(&lookup(Some("a\"&b=1}")), &system.lookups["reservation"])
        .unwrap();
    assert_eq!(question.target, "/search?of%20kind=a%22%26b%3D1%7D");
    let body: Value = serde_json::from_str(question.body.as_deref().unwrap()).unwrap();
    assert_eq!(body, json!({"name": "a\"&b=1}"}));
}

#[test]
fn a_faulty_configuration_is_named() {
    let build = |base: &str, how: HttpLookup| {
        HttpRecords::new(
            "airline",
            HttpRecordsConfig::new(base),
            BTreeMap::from([("trip".to_owned(), how)]),
        )
        .unwrap_err()
        .to_string()
    };
    assert!(build("ftp://x", by_id("/x")).contains("base_url"));
    assert!(build("http://x?key=1", by_id("/x")).contains("query"));
    assert!(build("http://x", by_id("x")).contains("record `trip`: lookup.path"));
    assert!(build("http://x", by_id("/{{ id")).contains("lookup.path"));
    let select = HttpLookup {
        select: Some("$[".to_owned()),
        ..by_id("/x")
    };
    assert!(build("http://x", select).contains("lookup.select"));
}

/// Probes a server that answers every path but its base with the fault.
async fn probed(fault: Option<Fault>, how: HttpLookup) -> Result<Probe, UpstreamError> {
    let known = Arc::new(Records::new());
    let server = records::start(Arc::clone(&known)).await.unwrap();
    if let Some(fault) = fault {
        known.fail("", fault, u64::MAX);
    }
    let probe = asking(&server.url(), how).probe().await;
    for shown in [
        format!("{probe:?}"),
        format!("{:?}", probe.as_ref().map_err(ToString::to_string)),
    ] {
        assert!(!shown.contains("sk-77"), "{shown}");
    }
    probe
}

fn page(status: u16) -> Fault {
    Fault::Body(
        status,
        "text/html; charset=utf-8",
        "<html>Nothing here</html>".to_owned(),
    )
}

#[tokio::test]
async fn a_probe_asks_for_what_cannot_be_and_reads_the_answer_as_an_api_would_give_it() {
    let by_path = || by_id("/{{ session }}/reservations/{{ id }}");
    let answered = |fault: Option<Fault>| async move {
        let probe = probed(fault, by_path()).await.unwrap();
        assert!(probe.server_date.is_some());
        assert_eq!(probe.notes.len(), 1, "{probe:?}");
        probe.notes.into_iter().next().unwrap()
    };
    let json = |status, body: &str| Some(Fault::Body(status, "application/json", body.to_owned()));
    for (fault, says) in [
        (None, "has no `reservation` called aftercall-probe (404 Not Found)"),
        (json(200, "[]"), "has no `reservation` called aftercall-probe (200 OK)"),
        (json(422, "{}"), "is refused (422"),
    ] {
        let note = answered(fault).await;
        assert!(!note.warning && note.text.contains(says), "{}", note.text);
    }
    for (fault, says) in [
        (json(200, "{\"id\": 1}"), "which nobody made"),
        (json(200, "{\"id\": "), "not complete JSON"),
        (Some(page(200)), "page for people"),
        (Some(Fault::Html), "page for people"),
        (Some(page(404)), "not as an API does"),
        (
            Some(Fault::Body(404, "text/plain", "404 page not found\n".to_owned())),
            "not as an API does",
        ),
    ] {
        let note = answered(fault).await;
        assert!(note.warning && note.text.contains(says), "{}", note.text);
    }
}

#[tokio::test]
async fn a_probe_that_is_not_answered_says_why() {
    for (fault, reason) in [
        (Fault::Status(401), UpstreamReason::AuthInvalid),
        (Fault::Status(403), UpstreamReason::AuthInvalid),
        (Fault::Status(503), UpstreamReason::Unreachable),
        (Fault::RetryAfter(429, 9), UpstreamReason::RateLimited),
        (Fault::Hang, UpstreamReason::Unreachable),
    ] {
        let error = probed(Some(fault.clone()), by_id("/{{ session }}/reservations/{{ id }}"))
            .await
            .unwrap_err();
        assert_eq!(error.reason, reason, "{fault:?}");
    }
}

#[tokio::test]
async fn a_probe_sends_no_post() {
    let searching = HttpLookup {
        method: HttpMethod::Post,
        body: Some("{\"id\": {{ id }}}".to_owned()),
        ..by_id("/search")
    };
    let probe = probed(None, searching).await.unwrap();
    assert!(
        !probe.notes[0].warning && probe.notes[0].text.contains("by POST only"),
        "{probe:?}"
    );
}
