//! Tokens: fetched once, kept, fetched anew when refused, and never shown.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{Json, Router};
use base64::Engine as _;
use tokio::{net::TcpListener, sync::Semaphore};

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

/// A token server that answers only as often as it is let.
struct Slow {
    url: String,
    asked: Arc<AtomicUsize>,
    answers: Arc<Semaphore>,
}

impl Slow {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counted, let_go) = (Arc::clone(&asked), Arc::clone(&answers));
        let router = Router::new().fallback(move || {
            let (counted, let_go) = (Arc::clone(&counted), Arc::clone(&let_go));
            async move {
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                let_go.acquire().await.unwrap().forget();
                Json(json!({"access_token": format!("t-{number}"), "token_type": "Bearer", "expires_in": 3600}))
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked, answers }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn records(&self, peer: &Peer, timeout: Duration) -> HttpRecords {
        let mut config = client(peer, true);
        if let HttpAuth::ClientCredentials { token_url, .. } = &mut config.auth {
            *token_url = format!("{}/token", self.url);
        }
        system(HttpRecordsConfig { timeout, ..config }, by_id("/things/{{ id }}"))
    }
}

async fn echoing() -> Peer {
    Peer::start(|_, arrived, _| says(200, json!({"with": arrived.header("authorization")}))).await
}

#[tokio::test]
async fn all_who_wait_for_a_token_share_one_request_and_its_failure_and_a_later_call_tries_afresh() {
    let (slow, peer) = (Slow::start().await, echoing().await);
    let records = slow.records(&peer, Duration::from_millis(300));
    let things: Vec<Lookup> = (0..8).map(|id| thing(&id.to_string())).collect();
    let answers = futures::future::join_all(things.iter().map(|thing| records.look_up(thing))).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.reason, UpstreamReason::Unreachable);
        assert!(error.detail.contains("no token from auth.token_url"), "{error}");
    }
    assert_eq!(slow.asked(), 1, "one request for all eight");
    assert_eq!(peer.arrived().len(), 0);
    // One answer for the request that nobody waits for any more, one for the next.
    slow.answers.add_permits(2);
    let answer = records.look_up(&thing("later")).await.unwrap();
    assert_eq!(found(answer), json!({"with": "Bearer t-2"}));
    assert_eq!(slow.asked(), 2);
}

#[tokio::test]
async fn who_goes_away_takes_the_token_from_nobody() {
    let (slow, peer) = (Slow::start().await, echoing().await);
    let records = slow.records(&peer, Duration::from_secs(20));
    let (one, two) = (thing("1"), thing("2"));
    let mut first = Box::pin(records.look_up(&one));
    let mut second = Box::pin(records.look_up(&two));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    slow.answers.add_permits(1);
    assert_eq!(found(second.await.unwrap()), json!({"with": "Bearer t-1"}));
    assert_eq!(slow.asked(), 1);

    // Nobody waits any more: what was asked for is not finished in a later call's name.
    let records = slow.records(&peer, Duration::from_secs(20));
    let mut gone = Box::pin(records.look_up(&one));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    slow.answers.add_permits(2);
    let answer = found(records.look_up(&two).await.unwrap());
    assert!(answer["with"].as_str().unwrap().starts_with("Bearer t-"), "{answer}");
}

#[tokio::test]
async fn calls_whose_token_is_refused_at_once_fetch_one_new_token_for_all() {
    let peer = Peer::start(|_, arrived, before| match is_token(arrived) {
        true => token(&format!("t-{before}"), json!(3600)),
        false if arrived.header("authorization") == "Bearer t-0" => says(401, "{}"),
        false => says(200, json!({"with": arrived.header("authorization")})),
    })
    .await;
    let records = system(client(&peer, false), by_id("/things/{{ id }}"));
    let things: Vec<Lookup> = (0..6).map(|id| thing(&id.to_string())).collect();
    let answers = futures::future::join_all(things.iter().map(|thing| records.look_up(thing))).await;
    for answer in answers {
        assert_ne!(found(answer.unwrap()), json!({"with": "Bearer t-0"}));
    }
    let tokens = peer.arrived().into_iter().filter(is_token).count();
    assert_eq!(tokens, 2, "the first, and one in its place");
    assert!(!format!("{records:?}").contains("t-0") && !format!("{records:?}").contains("t-7"));
}
