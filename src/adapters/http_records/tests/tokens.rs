//! Tokens: fetched once, kept, fetched anew when refused, and never shown.

use base64::Engine as _;

use super::{
    peer::{Arrived, Peer, Says, found, says, system, thing},
    *,
};

const SECRET: &str = "very+hidden&secret";

fn client(peer: &Peer, in_body: bool) -> HttpRecordsConfig {
    HttpRecordsConfig {
        auth: HttpAuth::ClientCredentials {
            token_url: format!("{}/oauth/token", peer.url),
            client_id: Secret::new("after call"),
            client_secret: Secret::new(SECRET),
            scope: Some("system/*.read launch".to_owned()),
            in_body,
        },
        timeout: Duration::from_secs(5),
        ..HttpRecordsConfig::new(format!("{}/api", peer.url))
    }
}

fn is_token(arrived: &Arrived) -> bool {
    arrived.target == "/oauth/token"
}

#[expect(clippy::needless_pass_by_value, reason = "it is made for it")]
fn token(name: &str, expires_in: Value) -> Says {
    says(
        200,
        json!({"access_token": name, "token_type": "bearer", "expires_in": expires_in}),
    )
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_who_wait_for_it_and_kept() {
    let peer = Peer::start(|_, arrived, _| {
        if is_token(arrived) {
            token("t-1", json!(3600))
        } else {
            says(200, json!({"with": arrived.header("authorization")}))
        }
    })
    .await;
    let records = system(client(&peer, false), by_id("/things/{{ id }}"));
    let (left, right) = (thing("1"), thing("2"));
    let (one, two) = tokio::join!(records.look_up(&left), records.look_up(&right));
    let three = records.look_up(&thing("3")).await;
    for answer in [one, two, three] {
        assert_eq!(found(answer.unwrap()), json!({"with": "Bearer t-1"}));
    }
    let tokens: Vec<Arrived> = peer.arrived().into_iter().filter(is_token).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].method, "POST");
    assert_eq!(
        tokens[0].body,
        "grant_type=client_credentials&scope=system%2F%2A.read%20launch"
    );
    let basic = base64::engine::general_purpose::STANDARD.encode("after%20call:very%2Bhidden%26secret");
    assert_eq!(tokens[0].header("authorization"), format!("Basic {basic}"));
}

#[tokio::test]
async fn id_and_secret_may_go_into_the_body() {
    let peer = Peer::start(|_, arrived, _| {
        if is_token(arrived) {
            token("t-1", json!("3600"))
        } else {
            says(200, json!({"id": 1}))
        }
    })
    .await;
    system(client(&peer, true), by_id("/things/{{ id }}"))
        .look_up(&thing("1"))
        .await
        .unwrap();
    let sent = &peer.arrived()[0];
    assert_eq!(sent.header("authorization"), "");
    assert!(
        sent.body
            .ends_with("&client_id=after%20call&client_secret=very%2Bhidden%26secret"),
        "{}",
        sent.body
    );
}

#[tokio::test]
async fn a_token_that_is_over_at_once_is_fetched_for_each_call() {
    let peer = Peer::start(|_, arrived, before| {
        if is_token(arrived) {
            token(&format!("t-{before}"), json!(0))
        } else {
            says(200, json!({"with": arrived.header("authorization")}))
        }
    })
    .await;
    let records = system(client(&peer, false), by_id("/things/{{ id }}"));
    for expected in ["Bearer t-0", "Bearer t-2"] {
        let answer = records.look_up(&thing("1")).await.unwrap();
        assert_eq!(found(answer), json!({"with": expected}));
    }
}

#[tokio::test]
async fn a_refused_token_is_fetched_anew_once_and_then_the_gate_closes() {
    let peer = Peer::start(|_, arrived, before| match is_token(arrived) {
        true => token(&format!("t-{before}"), json!(3600)),
        false if arrived.target.ends_with("/old") && arrived.header("authorization") == "Bearer t-0" => says(401, "{}"),
        false if arrived.target.ends_with("/never") => says(401, "{}"),
        false => says(200, json!({"with": arrived.header("authorization")})),
    })
    .await;
    let records = system(client(&peer, false), by_id("/things/{{ id }}"));
    let answer = records.look_up(&thing("old")).await.unwrap();
    assert_eq!(found(answer), json!({"with": "Bearer t-2"}));

    let before = peer.arrived().len();
    let error = records.look_up(&thing("never")).await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::AuthInvalid);
    assert!(error.detail.contains("also with a token fetched just now"), "{error}");
    assert_eq!(
        peer.targets()[before..],
        ["/api/things/never", "/oauth/token", "/api/things/never"]
    );
}

#[tokio::test]
async fn a_refused_header_of_the_configuration_is_not_tried_twice() {
    let peer = Peer::start(|_, _, _| says(401, "{}")).await;
    let config = HttpRecordsConfig {
        auth: HttpAuth::Bearer(Secret::new("fixed")),
        ..HttpRecordsConfig::new(&peer.url)
    };
    let error = system(config, by_id("/{{ id }}"))
        .look_up(&thing("1"))
        .await
        .unwrap_err();
    assert_eq!(error.reason, UpstreamReason::AuthInvalid);
    assert_eq!(peer.arrived().len(), 1);
    assert_eq!(peer.arrived()[0].header("authorization"), "Bearer fixed");
}

#[tokio::test]
async fn what_a_token_server_says_is_read_as_what_it_means_and_not_repeated() {
    let echo =
        json!({"error_description": format!("client after call with {SECRET} is unknown"), "error": "invalid_client"});
    let cases = [
        (says(401, &echo), UpstreamReason::AuthInvalid, "invalid_client"),
        (says(400, &echo), UpstreamReason::AuthInvalid, "invalid_client"),
        (
            says(400, json!({"error": SECRET})),
            UpstreamReason::AuthInvalid,
            "gives no token",
        ),
        (says(404, "{}"), UpstreamReason::AuthInvalid, "status 404"),
        (
            says(429, "{}").with("retry-after", "7"),
            UpstreamReason::RateLimited,
            "too many",
        ),
        (says(503, &echo), UpstreamReason::Unreachable, "in trouble"),
        (
            says(302, "").with("location", "http://127.0.0.1:1/"),
            UpstreamReason::BadAnswer,
            "redirect",
        ),
        (says(200, "<html>"), UpstreamReason::BadAnswer, "without a token"),
        (
            says(200, json!({"access_token": ""})),
            UpstreamReason::BadAnswer,
            "without a token",
        ),
        (
            says(200, json!({"access_token": "a\nb"})),
            UpstreamReason::BadAnswer,
            "cannot be sent",
        ),
        (
            says(200, json!({"access_token": "t", "token_type": "mac"})),
            UpstreamReason::BadAnswer,
            "no bearer",
        ),
        (
            says(200, json!({"access_token": "t", "pad": "x".repeat(70_000)})),
            UpstreamReason::BadAnswer,
            "larger than",
        ),
    ];
    for (answer, reason, words) in cases {
        let shown = format!("{answer:?}");
        let told = answer.clone();
        let peer = Peer::start(move |_, _, _| told.clone()).await;
        let records = system(client(&peer, true), by_id("/{{ id }}"));
        let error = records.look_up(&thing("1")).await.unwrap_err();
        assert_eq!(error.reason, reason, "{shown}: {error}");
        assert!(error.detail.contains(words), "{shown}: {error}");
        assert!(error.detail.contains("auth.token_url"), "{error}");
        assert!(!format!("{error:?}{records:?}").contains("hidden"), "{error:?}");
        assert_eq!(peer.arrived().len(), 1, "nothing is asked without a token");
        if reason == UpstreamReason::RateLimited {
            assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        }
    }
}

#[tokio::test]
async fn an_api_key_is_exchanged_for_a_token() {
    let peer = Peer::start(|_, arrived, _| match arrived.target.as_str() {
        "/authenticates" => says(200, json!({"code": true, "data": {"token": "jwt"}, "error": []})),
        _ => says(200, json!({"with": arrived.header("authorization")})),
    })
    .await;
    let mut config = HttpRecordsConfig {
        auth: HttpAuth::ApiKey {
            token_url: format!("{}/authenticates", peer.url),
            api_key: Secret::new("key-1"),
            token: "$.data.token".to_owned(),
            lifetime: Duration::from_hours(1),
        },
        headers: vec![("X-Other".to_owned(), Secret::new("other-secret"))],
        ..HttpRecordsConfig::new(&peer.url)
    };
    config.api.headers = BTreeMap::from([("Nex-Api-Version".to_owned(), "v20240412".to_owned())]);
    let records = system(config, by_id("/{{ id }}"));
    for _ in 0..2 {
        let answer = records.look_up(&thing("1")).await.unwrap();
        assert_eq!(found(answer), json!({"with": "Bearer jwt"}));
    }
    let arrived = peer.arrived();
    assert_eq!(arrived.len(), 3);
    assert_eq!(
        (arrived[0].method.as_str(), arrived[0].header("authorization")),
        ("POST", "key-1")
    );
    assert_eq!(arrived[0].header("nex-api-version"), "v20240412");
    assert_eq!(arrived[0].header("x-other"), "", "other secrets are the system's alone");
}
