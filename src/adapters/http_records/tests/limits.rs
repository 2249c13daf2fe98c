//! Rate limits, answers that say "none" or "error" in their own way, optional parameters, the system's own values.

use super::{
    peer::{Peer, found, says, system, thing, unknown},
    *,
};

#[tokio::test]
async fn a_spent_budget_holds_the_next_request_back_and_tells_the_gate_until_when() {
    let peer = Peer::start(|_, _, _| {
        says(200, json!({"id": 1}))
            .with("ratelimit-remaining", "0")
            .with("ratelimit-reset", "600")
    })
    .await;
    let records = system(HttpRecordsConfig::new(&peer.url), by_id("/{{ id }}"));
    records.look_up(&thing("1")).await.unwrap();
    let error = records.look_up(&thing("1")).await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::RateLimited);
    let wait = error.retry_after.unwrap();
    assert!(
        wait > Duration::from_secs(500) && wait <= Duration::from_mins(10),
        "{wait:?}"
    );
    assert_eq!(peer.arrived().len(), 1);
}

#[tokio::test]
async fn too_many_requests_name_their_time_by_retry_after_or_by_the_limits_reset() {
    for (answer, seconds) in [
        (says(429, "{}").with("retry-after", "41"), 41),
        (
            says(429, "{}")
                .with("date", "Thu, 20 Aug 2026 10:00:30 GMT")
                .with("retry-after", "Thu, 20 Aug 2026 10:01:00 GMT"),
            30,
        ),
        (
            says(429, "{}")
                .with("x-ratelimit-remaining", "0")
                .with("x-ratelimit-reset", "12"),
            12,
        ),
    ] {
        let peer = Peer::start(move |_, _, _| answer.clone()).await;
        let records = system(HttpRecordsConfig::new(&peer.url), by_id("/{{ id }}"));
        let error = records.look_up(&thing("1")).await.unwrap_err();
        assert_eq!(error.reason, UpstreamReason::RateLimited);
        assert_eq!(error.retry_after, Some(Duration::from_secs(seconds)));
    }
}

#[tokio::test]
async fn an_api_may_say_none_with_any_status_and_body() {
    let how = HttpLookup {
        absent_when: Some(
            "status == 204 || body == null || has(body.error) && body.error.code == 'not_found'".to_owned(),
        ),
        ..by_id("/{{ id }}")
    };
    for (answer, is_absent) in [
        (says(200, ""), true),
        (says(200, "null"), true),
        (says(204, ""), true),
        (says(200, json!({"error": {"code": "not_found"}})), true),
        (says(400, json!({"error": {"code": "not_found"}})), true),
        (says(410, json!({"error": {"code": "gone"}})), true),
        (says(400, json!({"error": {"code": "malformed"}})), false),
    ] {
        let shown = format!("{answer:?}");
        let peer = Peer::start(move |_, _, _| answer.clone()).await;
        let records = system(HttpRecordsConfig::new(&peer.url), how.clone());
        let fact = records.look_up(&thing("1")).await.unwrap().fact;
        assert_eq!(fact == Fact::Absent, is_absent, "{shown}: {fact:?}");
    }
    for (answer, reason) in [
        // A page or a broken answer has no body that a condition could speak of.
        (says(200, "<html>none"), UpstreamReason::BadAnswer),
        (says(200, "{\"a\":"), UpstreamReason::BadAnswer),
        (says(500, ""), UpstreamReason::Unreachable),
        (says(401, ""), UpstreamReason::AuthInvalid),
    ] {
        let peer = Peer::start(move |_, _, _| answer.clone()).await;
        let records = system(HttpRecordsConfig::new(&peer.url), how.clone());
        assert_eq!(records.look_up(&thing("1")).await.unwrap_err().reason, reason);
    }
}

fn fhir(peer: &Peer, how: HttpLookup) -> HttpRecords {
    let config = HttpRecordsConfig {
        api: crate::domain::playbook::presets::api("fhir-r4").unwrap(),
        ..HttpRecordsConfig::new(&peer.url)
    };
    system(config, how)
}

fn outcome(code: &str) -> Value {
    json!({"resourceType": "OperationOutcome", "issue": [
        {"severity": "error", "code": code, "diagnostics": "Patient Ada Lind is not known"}]})
}

#[tokio::test]
async fn an_operation_outcome_shows_its_code_and_not_its_words() {
    for (answer, reason) in [
        (says(500, outcome("exception")), Some(UpstreamReason::Unreachable)),
        (says(403, outcome("exception")), Some(UpstreamReason::AuthInvalid)),
        (says(200, outcome("exception")), Some(UpstreamReason::BadAnswer)),
        (says(400, outcome("exception")), None),
    ] {
        let peer = Peer::start(move |_, _, _| answer.clone()).await;
        let records = fhir(&peer, by_id("/Patient/{{ id }}"));
        let said = match (records.look_up(&thing("1")).await, reason) {
            (Err(error), Some(reason)) => {
                assert_eq!(error.reason, reason);
                error.detail
            }
            (Ok(answer), None) => unknown(&answer).to_owned(),
            (other, _) => panic!("{other:?}"),
        };
        assert!(said.contains("exception") && !said.contains("Ada"), "{said}");
        let sent = &peer.arrived()[0];
        assert_eq!(sent.header("accept"), "application/fhir+json");
        assert_eq!(sent.header("prefer"), "handling=strict");
    }
    let peer = Peer::start(|_, _, _| says(500, outcome("Ada Lind 555-0102"))).await;
    let error = fhir(&peer, by_id("/{{ id }}")).look_up(&thing("1")).await.unwrap_err();
    assert_eq!(error.detail, "the server is in trouble (status 500)", "that is no code");
}

#[tokio::test]
async fn a_preset_is_probed_where_its_api_describes_itself() {
    for (answer, warns) in [
        (says(200, json!({"resourceType": "CapabilityStatement"})), false),
        (says(404, "{}"), true),
        (says(200, "<html>"), true),
    ] {
        let peer = Peer::start(move |_, _, _| answer.clone()).await;
        let probe = fhir(&peer, by_id("/Patient/{{ id }}")).probe().await.unwrap();
        assert_eq!(peer.targets(), ["/metadata"]);
        assert_eq!(probe.notes[0].warning, warns, "{probe:?}");
    }
    let peer = Peer::start(|_, _, _| says(401, "{}")).await;
    assert!(fhir(&peer, by_id("/{{ id }}")).probe().await.is_err());
}

#[tokio::test]
async fn an_optional_parameter_is_left_out_and_a_needed_one_is_not() {
    let peer = Peer::start(|_, _, _| says(200, json!({"id": 1}))).await;
    let how = HttpLookup {
        query: BTreeMap::from([
            ("birthdate".to_owned(), "{{ birth_date }}".to_owned()),
            ("name".to_owned(), "{{ name }}".to_owned()),
        ]),
        optional: vec!["birthdate".to_owned()],
        ..by_id("/Patient")
    };
    let records = system(HttpRecordsConfig::new(&peer.url), how);
    let mut lookup = thing("1");
    lookup.keys.insert("name".to_owned(), "Ada".to_owned());
    records.look_up(&lookup).await.unwrap();
    lookup.keys.insert("birth_date".to_owned(), "2016-05-04".to_owned());
    records.look_up(&lookup).await.unwrap();
    assert_eq!(
        peer.targets(),
        ["/Patient?name=Ada", "/Patient?birthdate=2016-05-04&name=Ada"]
    );
    lookup.keys.remove("name");
    let answer = records.look_up(&lookup).await.unwrap();
    assert!(unknown(&answer).contains("query.name needs a value"), "{answer:?}");
}

#[tokio::test]
async fn what_the_configuration_says_of_a_system_is_its_own() {
    let how = HttpLookup {
        query: BTreeMap::from([("subdomain".to_owned(), "{{ system.subdomain }}".to_owned())]),
        ..by_id("/{{ id }}")
    };
    let peer = Peer::start(|_, _, _| says(200, json!({"id": 1}))).await;
    let config = HttpRecordsConfig {
        values: BTreeMap::from([("subdomain".to_owned(), "demo & co".to_owned())]),
        ..HttpRecordsConfig::new(&peer.url)
    };
    let records = system(config, how.clone());
    let mut lookup = thing("1");
    // A session cannot stand in for the configuration.
    lookup.keys.insert("system".to_owned(), "evil".to_owned());
    assert_eq!(found(records.look_up(&lookup).await.unwrap()), json!({"id": 1}));
    assert_eq!(peer.targets(), ["/1?subdomain=demo%20%26%20co"]);
    let error = HttpRecords::new(
        "ehr",
        HttpRecordsConfig::new(&peer.url),
        BTreeMap::from([("thing".to_owned(), how)]),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("subdomain = \"…\" into [records.values]"),
        "{error}"
    );
}
