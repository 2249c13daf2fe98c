use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// Answers each connection with the next of these, and keeps what was asked. An empty one hangs up.
async fn answering(answers: &[&str]) -> (ApiClient, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (kept, answers) = (
        asked.clone(),
        answers.iter().map(ToString::to_string).collect::<Vec<_>>(),
    );
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 16_384];
            let read = stream.read(&mut request).await.unwrap_or_default();
            kept.lock()
                .unwrap()
                .push(String::from_utf8_lossy(&request[..read]).into_owned());
            // The client may hang up first.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (client(&url), asked)
}

fn settings(url: &str) -> ApiSettings {
    ApiSettings {
        url: url.to_owned(),
        token: Some(Secret::new("aftercall_1_hush")),
        allow_plain_http: false,
    }
}

fn client(url: &str) -> ApiClient {
    ApiClient::of(&settings(url)).unwrap()
}

fn answer(status: &str, media_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn ok(body: &Value) -> String {
    answer("200 OK", "application/json", &body.to_string())
}

fn problem(status: u16, code: &str, detail: &str) -> String {
    let body = json!({"status": status, "code": code, "detail": detail, "next_step": "do this"});
    answer(&format!("{status} X"), "application/problem+json", &body.to_string())
}

fn after(seconds: u32, answer: &str) -> String {
    answer.replacen("\r\n", &format!("\r\nRetry-After: {seconds}\r\n"), 1)
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let mut lines = request.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value)
}

async fn refusal(answers: &[&str]) -> ApiError {
    let (api, _) = answering(answers).await;
    api.get::<Vec<u32>>(&["queues"], &[]).await.unwrap_err()
}

#[test]
fn an_address_is_read_with_and_without_the_path_of_the_api() {
    for (given, shown) in [
        ("https://host", "https://host"),
        ("https://host/", "https://host"),
        ("https://host/api/v1/", "https://host"),
        ("http://127.0.0.1:7700/ops/api/v1", "http://127.0.0.1:7700/ops"),
    ] {
        assert_eq!(client(given).address(), shown);
    }
    for bad in ["host", "ftp://host", "https://", "https://host/?a=1", "https://host/#a"] {
        assert!(ApiClient::of(&settings(bad)).is_err(), "{bad}");
    }
    let refused = ApiClient::of(&settings("https://user:hunter2@host/")).unwrap_err();
    assert!(!refused.contains("hunter2"), "{refused}");
}

#[test]
fn a_token_goes_in_the_clear_to_this_machine_only_unless_that_was_said() {
    for fine in [
        "http://127.0.0.1:1",
        "http://localhost:1",
        "http://[::1]:1",
        "https://host",
    ] {
        assert!(ApiClient::of(&settings(fine)).is_ok(), "{fine}");
    }
    for open in [
        "http://host",
        "http://192.0.2.1",
        "http://localhost.host",
        "http://127.0.0.1.host",
    ] {
        let refused = ApiClient::of(&settings(open)).unwrap_err();
        assert!(refused.contains("--insecure-http"), "{refused}");
        let said = ApiSettings {
            allow_plain_http: true,
            ..settings(open)
        };
        assert!(ApiClient::of(&said).is_ok());
        let without = ApiSettings {
            token: None,
            ..settings(open)
        };
        assert!(ApiClient::of(&without).is_ok());
    }
}

#[test]
fn a_token_is_not_printed_and_one_that_is_none_is_not_repeated() {
    assert!(!format!("{:?} {:?}", settings("http://localhost"), client("http://localhost")).contains("hush"));
    let broken = ApiSettings {
        token: Some(Secret::new("se\ncret")),
        ..settings("http://localhost")
    };
    assert!(!ApiClient::of(&broken).unwrap_err().contains("cret"));
}

#[tokio::test]
async fn what_stands_in_a_path_is_encoded_and_steps_between_folders_are_refused() {
    let (api, asked) = answering(&[&ok(&json!([1]))]).await;
    let query = [("a", "x&y".to_owned())];
    let read: Vec<u32> = api.get(&["sessions", "calls", "a/b?ü"], &query).await.unwrap();
    assert_eq!(read, [1]);
    let asked = asked.lock().unwrap()[0].clone();
    assert!(
        asked.starts_with("GET /api/v1/sessions/calls/a%2Fb%3F%C3%BC?a=x%26y "),
        "{asked}"
    );
    assert_eq!(header(&asked, "authorization"), "Bearer aftercall_1_hush");
    for step in ["", ".", ".."] {
        let refused = api
            .get::<Vec<u32>>(&["sessions", "calls", step], &[])
            .await
            .unwrap_err();
        assert_eq!(refused.fault, Fault::Usage);
    }
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_sent_again_under_the_same_key() {
    let under_way = after(0, &problem(409, "request_under_way", "it is done"));
    let (api, asked) = answering(&["", &under_way, &ok(&json!({"done": true}))]).await;
    let answered: Value = api
        .post(&["queues", "q", "pause"], &json!({"reason": "r"}))
        .await
        .unwrap();
    assert_eq!(answered, json!({"done": true}));
    let asked = asked.lock().unwrap().clone();
    let keys: BTreeSet<&str> = asked.iter().map(|request| header(request, "idempotency-key")).collect();
    assert_eq!((asked.len(), keys.len()), (3, 1), "{asked:?}");
    assert!(
        asked.iter().all(|request| request.ends_with(r#"{"reason":"r"}"#)),
        "{asked:?}"
    );
}

#[tokio::test]
async fn who_is_asked_too_often_is_asked_again_after_the_time_it_says() {
    let busy = "HTTP/1.1 429 X\r\nRetry-After: 0\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (api, asked) = answering(&[busy, busy, busy, busy, busy, &ok(&json!([7]))]).await;
    let read: Vec<u32> = api.get(&["queues"], &[]).await.unwrap();
    assert_eq!((read, asked.lock().unwrap().len()), (vec![7], 6));

    // Longer than anybody waits: said at once.
    let long = after(3_600, &problem(429, "too_many_requests", "often"));
    let error = refusal(&[&long]).await;
    assert_eq!(error.fault, Fault::Away);
    assert!(error.text.contains("too_many_requests"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&url).get::<Vec<u32>>(&["queues"], &[]).await.unwrap_err();
    assert_eq!(error.fault, Fault::Away);
    assert!(error.text.starts_with(&format!("{url} does not answer: ")), "{error}");
    assert!(error.text.contains("aftercall api"), "{error}");
}

#[tokio::test]
async fn a_refusal_shows_its_code_and_what_to_do() {
    let error = refusal(&[&problem(401, "invalid_token", "not good")]).await;
    assert_eq!(error.fault, Fault::Usage);
    for said in ["invalid_token", "not good", "AFTERCALL_TOKEN", "--token-file"] {
        assert!(error.text.contains(said), "{error}");
    }
    let error = refusal(&[&problem(403, "scope_too_small", "needs `operate`")]).await;
    assert_eq!(error.fault, Fault::Usage);
    assert!(
        error.text.contains("scope_too_small") && error.text.contains("do this"),
        "{error}"
    );
    let error = refusal(&[&problem(404, "unknown_queue", "no \u{1b}[2Jqueue\n`x`")]).await;
    assert_eq!(error.fault, Fault::Refused);
    assert_eq!(error.text, "no queue `x` (unknown_queue); do this");
    assert_eq!(error.code.as_deref(), Some("unknown_queue"));
}

#[tokio::test]
async fn what_is_not_aftercall_is_named_and_never_shown() {
    for page in [
        answer("200 OK", "text/html", "<html>log in, stranger</html>"),
        answer("404 Not Found", "text/html", "<html>log in, stranger</html>"),
        answer("403 Forbidden", "text/plain", "log in, stranger"),
    ] {
        let error = refusal(&[&page]).await;
        assert!(!error.text.contains("stranger"), "{error}");
        assert!(error.text.contains("not as aftercall does"), "{error}");
    }
    let elsewhere = "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n";
    let error = refusal(&[elsewhere]).await;
    assert_eq!(error.fault, Fault::Usage);
    assert!(error.text.contains("not followed"), "{error}");
}

#[tokio::test]
async fn versions_that_do_not_understand_each_other_are_both_named() {
    let ours = env!("CARGO_PKG_VERSION");
    let about = |version: &str| ok(&json!({"version": version, "now": "then"}));
    let strange = ok(&json!({"queues": []}));
    let error = refusal(&[&strange, &about("99.1.0")]).await;
    assert_eq!(error.fault, Fault::Away);
    for said in ["GET /api/v1/queues", "99.1.0", ours, "the same version"] {
        assert!(error.text.contains(said), "{said}: {error}");
    }
    let unknown = problem(404, "unknown_route", "nothing there");
    let error = refusal(&[&unknown, &about("0.0.1")]).await;
    assert!(
        error.text.contains("does not know this question") && error.text.contains("0.0.1"),
        "{error}"
    );
    let error = refusal(&[&unknown, &unknown]).await;
    assert!(error.text.contains("does not say its version"), "{error}");
    let error = refusal(&[&strange, &about(ours)]).await;
    assert!(error.text.contains("please report it"), "{error}");
}
