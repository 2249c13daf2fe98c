//! A token's secret is shown once, and stands nowhere else: not in the database, not in a log, not in another answer.

use reqwest::Method;
use serde_json::json;

use super::world::{Answer, Served};
use crate::on_each_engine;

on_each_engine! {
    a_secret_is_shown_once_and_stands_nowhere,
}

async fn a_secret_is_shown_once_and_stands_nowhere() {
    let served = Served::with(&["-vvv", "--log", "trace"]).await;
    let request = || {
        let body = json!({"name": "made", "scope": "operate"});
        served
            .ask(Method::POST, "/tokens")
            .header("idempotency-key", "k")
            .json(&body)
    };
    let made = Answer::of(request()).await.is(201)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let again = Answer::of(request()).await.is(201);
    assert!(again["token"].is_null(), "{again}");
    Answer::of(served.bare(Method::GET, "/gates").bearer_auth(&made))
        .await
        .is(200);
    let wrong = format!("{}x", &made[..made.len() - 1]);
    let refused = Answer::of(served.bare(Method::GET, "/gates").bearer_auth(&wrong)).await;
    refused.is_problem(401, "invalid_token");

    let secret = |token: &str| token["aftercall_0123456789abcdef_".len()..].to_owned();
    let secrets: Vec<String> = [&made, &wrong, &served.operate, &served.read]
        .map(|token| secret(token))
        .into();
    let mut places = vec![
        ("log".to_owned(), served.api.err()),
        ("output".to_owned(), served.api.out()),
    ];
    for path in ["/tokens", "/audit", "/queues", "/docs", "/openapi.json"] {
        places.push((path.to_owned(), served.get(path).await.text));
    }
    for (table, sql) in [
        (
            "tokens",
            "-- all\nSELECT id || name || secret_hash || created_by AS text FROM api_tokens",
        ),
        (
            "keys",
            "-- all\nSELECT key || fingerprint || COALESCE(answer, '') AS text FROM api_idempotency",
        ),
        (
            "audit",
            "-- all\nSELECT actor || action || subject || COALESCE(detail, '') AS text FROM audit_log",
        ),
    ] {
        let rows = served.db.fetch_all(sql, &[]).await.unwrap();
        assert!(!rows.is_empty(), "{table}");
        for row in rows {
            places.push((table.to_owned(), row.get("text").unwrap()));
        }
    }
    for (place, text) in &places {
        for secret in &secrets {
            assert_eq!(secret.len(), 43);
            assert!(!text.contains(secret.as_str()), "{place}");
        }
        let shows_hash = text.contains("$argon2id$");
        assert_eq!(shows_hash, place == "tokens", "{place}");
    }
    assert!(served.api.err().contains("serving"), "it logs");
    served.stop().await;
}
