//! Where nobody has a token: what this machine may ask, and what others may not, a page in a browser among them.

use reqwest::{Method, header::HOST};
use serde_json::json;

use super::world::{API, Answer, client, token};
use crate::{
    on_each_engine,
    support::{
        bakery,
        child::Child,
        world::{Plan, World},
    },
};

on_each_engine! {
    without_a_token_this_machine_may_look_and_nobody_else_until_there_is_one,
    where_strangers_reach_it_there_has_to_be_a_token_and_all_but_life_asks_for_it,
    what_only_our_machines_reach_answers_about_health_and_asks_for_tokens_otherwise,
}

async fn world() -> World {
    let world = Plan::of(&[bakery::ordered("s-1")]).start().await;
    world.db().await.close().await;
    world
}

async fn get(url: &str) -> Answer {
    Answer::of(client().get(url)).await
}

async fn without_a_token_this_machine_may_look_and_nobody_else_until_there_is_one() {
    let world = world().await;
    let api = Child::start(&world, &[&API[..], &["--host", "tools.internal"]].concat(), &[]);
    let url = api.url().await;
    let queues = format!("{url}/api/v1/queues");
    get(&queues).await.is(200);
    let ask = |name: &'static str, value: &'static str| Answer::of(client().get(&queues).header(name, value));
    for host in ["localhost", "127.0.0.1:1", "[::1]", "tools.internal"] {
        ask("host", host).await.is(200);
    }
    for host in ["evil.example", "localhost.evil.example", "192.0.2.1"] {
        ask("host", host).await.is_problem(403, "untrusted_host");
    }
    for passed_on in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
        ask(passed_on, "192.0.2.1").await.is_problem(401, "no_token");
    }
    // A page of another site learns nothing: no header lets it read.
    let page = Answer::of(client().get(&queues).header("origin", "https://evil.example")).await;
    page.is_protected();
    let preflight = client()
        .request(Method::OPTIONS, &queues)
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST");
    Answer::of(preflight).await.is_problem(405, "method_not_allowed");
    let change = client()
        .post(format!("{queues}/verify_session/pause"))
        .json(&json!({"reason": "x"}));
    Answer::of(change).await.is_problem(401, "no_token");
    get(&format!("{url}/api/v1/tokens")).await.is_problem(401, "no_token");

    let token = token(&world, "first", "read", &[]).await;
    get(&queues).await.is_problem(401, "no_token");
    // With a token it does not matter by which name it is asked.
    let asked = client().get(&queues).header(HOST, "api.example").bearer_auth(&token);
    Answer::of(asked).await.is(200);
    for open in ["healthz", "readyz", "metrics"] {
        assert_eq!(get(&format!("{url}/{open}")).await.status, 200, "{open}");
    }
}

/// Its address, as this machine reaches it.
fn here(url: &str) -> String {
    url.replace("0.0.0.0", "127.0.0.1")
}

async fn where_strangers_reach_it_there_has_to_be_a_token_and_all_but_life_asks_for_it() {
    let world = world().await;
    let public = ["api", "--listen", "0.0.0.0:0", "--json"];
    let expired = token(&world, "expired", "read", &["--expires", "1ms"]).await;
    let refused = Child::start(&world, &public, &[]).ended().await;
    assert_eq!(refused.status.code(), Some(2), "{refused}");
    for named in ["aftercall token create", "--listen-unprotected"] {
        assert!(refused.err.contains(named), "{refused}");
    }
    let token = token(&world, "good", "read", &[]).await;
    let api = Child::start(&world, &public, &[]);
    let url = here(&api.url().await);
    assert_eq!(get(&format!("{url}/healthz")).await.status, 200);
    for path in [
        "readyz",
        "metrics",
        "api/v1/queues",
        "api/v1/docs",
        "api/v1/openapi.json",
    ] {
        let url = format!("{url}/{path}");
        assert_eq!(get(&url).await.status, 401, "{path}");
        assert_eq!(
            Answer::of(client().get(&url).bearer_auth(&expired)).await.status,
            401,
            "{path}"
        );
        assert_eq!(
            Answer::of(client().get(&url).bearer_auth(&token)).await.status,
            200,
            "{path}"
        );
    }
}

async fn what_only_our_machines_reach_answers_about_health_and_asks_for_tokens_otherwise() {
    let world = world().await;
    for listen in ["0.0.0.0:0", "127.0.0.1:0"] {
        let api = Child::start(
            &world,
            &["api", "--listen", listen, "--listen-unprotected", "--json"],
            &[],
        );
        let url = here(&api.url().await);
        for open in ["healthz", "readyz", "metrics"] {
            assert_eq!(get(&format!("{url}/{open}")).await.status, 200, "{open}");
        }
        get(&format!("{url}/api/v1/queues")).await.is_problem(401, "no_token");
    }
}
