//! Who may do what: by a loop over everything that the document describes, so that a new route without a rule fails.

use aftercall::{params, store::tokens};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::world::{Answer, Operation, Served, command, token};
use crate::{on_each_engine, support::until};

on_each_engine! {
    every_route_asks_for_a_token_and_for_its_scope,
    a_token_that_expired_or_was_revoked_is_refused_within_half_a_minute,
    a_token_says_when_it_was_used,
}

async fn every_route_asks_for_a_token_and_for_its_scope() {
    let served = Served::start().await;
    let operations = Operation::all(&served.document().await);
    assert!(operations.len() >= 43, "{}", operations.len());
    let wrong = format!("{}x", &served.operate[..served.operate.len() - 1]);
    for (number, operation) in operations.into_iter().enumerate() {
        let what = format!("{} {}", operation.method, operation.path);
        let rule = &operation.described["security"];
        if rule[0]["signature"].is_array() {
            assert_eq!(*rule, json!([{"signature": []}]), "{what}");
            assert!(operation.is_write(), "{what}");
            for token in [None, Some(served.operate.as_str()), Some(wrong.as_str()), Some("")] {
                let request = operation.ask(&served);
                let request = token.into_iter().fold(request, RequestBuilder::bearer_auth);
                let refused = Answer::of(request).await;
                refused.is_problem(401, "no_signature");
                let challenge = refused.header("www-authenticate");
                assert!(challenge.starts_with("Aftercall-Signature"), "{what}: {refused}");
            }
            let signed = operation.ask(&served).header("aftercall-timestamp", "1790000000");
            let signed = signed.header("aftercall-signature", format!("v1={}", "0".repeat(64)));
            Answer::of(signed).await.is_problem(401, "invalid_signature");
            continue;
        }
        let needed = rule[0]["token"][0]
            .as_str()
            .unwrap_or_else(|| panic!("{what} has no rule: {rule}"));
        assert_eq!(rule.as_array().unwrap().len(), 1, "{what}");
        let is_about_tokens = operation.path.starts_with("/tokens");
        let expected = if operation.is_write() || is_about_tokens {
            "operate"
        } else {
            "read"
        };
        assert_eq!(needed, expected, "{what}");

        let bare = Answer::of(operation.ask(&served)).await;
        bare.is_problem(401, "no_token");
        assert!(bare.header("www-authenticate").starts_with("Bearer"), "{what}: {bare}");
        // What looks like a token is hashed, and that may not be asked for too often: every other route.
        let wrong = Some(wrong.as_str()).filter(|_| number % 2 == 0);
        for token in ["", "aftercall_", "x"].into_iter().chain(wrong) {
            let refused = Answer::of(operation.ask(&served).bearer_auth(token)).await;
            refused.is_problem(401, "invalid_token");
        }
        let basic = Answer::of(operation.ask(&served).basic_auth("operator", Some(&served.operate))).await;
        basic.is_problem(401, "invalid_token");

        let reader = Answer::of(operation.ask(&served).bearer_auth(&served.read)).await;
        if needed == "operate" {
            reader.is_problem(403, "scope_too_small");
        } else {
            assert!([200, 404].contains(&reader.status), "{what}: {reader}");
        }
        let operator = Answer::of(operation.ask(&served).bearer_auth(&served.operate)).await;
        assert!([200, 404, 422].contains(&operator.status), "{what}: {operator}");
    }
    let changed = served.audit().await;
    let by_hand = changed
        .iter()
        .filter(|[actor, ..]| actor.ends_with("command line") || actor.ends_with("(command line)"));
    assert_eq!(
        by_hand.count(),
        changed.len(),
        "who was refused changed nothing: {changed:?}"
    );
    served.stop().await;
}

async fn a_token_that_expired_or_was_revoked_is_refused_within_half_a_minute() {
    let served = Served::start().await;
    let short = token(&served.world, "short", "read", &["--expires", "1h"]).await;
    let revoked = token(&served.world, "revoked", "read", &[]).await;
    let ask = |token: &str| Answer::of(served.bare(Method::GET, "/gates").bearer_auth(token));
    for token in [&short, &revoked] {
        ask(token).await.is(200);
    }
    let listed = tokens::list(&served.db).await.unwrap();
    let id = |name: &str| listed.iter().find(|line| line.name == name).unwrap().id.clone();
    // Its hour passes.
    let mut tx = served.db.begin().await.unwrap();
    let now = tx.now().await.unwrap();
    let passed = "-- passed\nUPDATE api_tokens SET expires_at = $1 WHERE id = $2";
    tx.execute(passed, &params![now, id("short")]).await.unwrap();
    tx.commit().await.unwrap();
    command(&served.world, &["token", "revoke", &id("revoked")]).await;
    for token in [&short, &revoked] {
        until("the token is refused", async || ask(token).await.status == 401).await;
        ask(token).await.is_problem(401, "invalid_token");
    }

    // The same over the API, and a second time.
    let made = served
        .post(
            "/tokens",
            json!({"name": "by-api", "scope": "read", "expires_in_days": 1.0}),
        )
        .await;
    let made = made.is(201);
    let own = made["token"].as_str().unwrap();
    ask(own).await.is(200);
    let path = format!("/tokens/{}", made["id"].as_str().unwrap());
    for _ in 0..2 {
        let gone = Answer::of(served.ask(Method::DELETE, &path)).await.is(200);
        assert!(gone["revoked_at"].is_string(), "{gone}");
    }
    until("it is refused", async || ask(own).await.status == 401).await;
    let [created, revoked] = ["create_token", "revoke_token"].map(|action| {
        [
            "operator".to_owned(),
            action.to_owned(),
            made["id"].as_str().unwrap().to_owned(),
        ]
    });
    let audit = served.audit().await;
    for line in [created, revoked] {
        assert_eq!(audit.iter().filter(|said| **said == line).count(), 1, "{audit:?}");
    }
    served.stop().await;
}

async fn a_token_says_when_it_was_used() {
    let served = Served::start().await;
    served.get("/gates").await.is(200);
    let used = async || {
        let listed = tokens::list(&served.db).await.unwrap();
        listed
            .into_iter()
            .map(|line| (line.name, line.last_used_at))
            .collect::<Vec<_>>()
    };
    let first = used().await;
    for (name, at) in &first {
        assert_eq!(at.is_some(), name == "operator", "{first:?}");
    }
    for _ in 0..5 {
        served.get("/gates").await.is(200);
    }
    assert_eq!(used().await, first, "at most once a minute");
    served.stop().await;
}
