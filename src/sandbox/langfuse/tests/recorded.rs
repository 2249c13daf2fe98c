//! What real servers answered (tests/fixtures/langfuse-recorded-shapes), asked of this one: the same status, the same keys,
//! the same types, the same number of rows, and to the letter what they say of a mistake.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{PUBLIC_KEY, SECRET_KEY, Version},
    BOUNDS, Client, exchange, seed,
};

#[derive(Deserialize)]
struct Exchange {
    name: String,
    method: String,
    path: String,
    auth: String,
    sent: Value,
    status: u16,
    rows: Option<usize>,
    body: Value,
}

fn exchanges(file: &str) -> Vec<Exchange> {
    let path = format!(
        "{}/tests/fixtures/langfuse-recorded-shapes/{file}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Exchange {
    /// Asks the same, with the keys that the recorder had.
    async fn ask(&self, client: &Client) -> (u16, Value) {
        let url = format!("{}{}", client.server.url(), self.path);
        let mut request = client.client.request(self.method.parse().unwrap(), url);
        request = match (self.name.as_str(), self.auth.as_str()) {
            ("auth_bearer_public", _) => request.bearer_auth(PUBLIC_KEY),
            ("auth_wrong_public", _) => request.basic_auth("pk-of-another", Some(SECRET_KEY)),
            (_, "wrong") => request.basic_auth(PUBLIC_KEY, Some("sk-of-another")),
            (_, "none") => request,
            _ => request.basic_auth(PUBLIC_KEY, Some(SECRET_KEY)),
        };
        request = match &self.sent {
            Value::Null => request,
            Value::String(text) => request.body(text.clone()),
            body => request.json(body),
        };
        let reply = exchange("langfuse", request, BOUNDS).await.unwrap();
        let body = serde_json::from_slice(&reply.body)
            .unwrap_or_else(|_| json!(String::from_utf8(reply.body.clone()).unwrap()));
        (reply.status, body)
    }

    /// What differs from the recording, by path.
    fn differences(&self, (status, body): &(u16, Value)) -> Vec<String> {
        let mut found = Vec::new();
        if *status != self.status {
            found.push(format!("status {status} instead of {}", self.status));
        }
        let counted = !OTHER_COUNTS.contains(&self.name.as_str());
        if let (Some(rows), true) = (self.rows, counted) {
            let given = body["data"].as_array().map(Vec::len);
            if given != Some(rows) {
                found.push(format!("{given:?} rows instead of {rows}"));
            }
        }
        compare("", &self.body, body, &mut found);
        found.retain(|line| counted || !line.starts_with(".meta.total"));
        found.into_iter().map(|line| format!("{}: {line}", self.name)).collect()
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Where the recorded server held more than its answers show: sessions and scores of earlier recordings, and scores that were
/// not visible yet.
const OTHER_COUNTS: [&str; 5] = [
    "sessions",
    "sessions_from",
    "scores3_after_post",
    "scores3_default",
    "scores3_by_name",
];
/// What an application sent freely: its keys are not the server's.
const FREE: [&str; 6] = [
    "input",
    "output",
    "metadata",
    "modelParameters",
    "usageDetails",
    "costDetails",
];
/// What is equal whoever answers.
const EQUAL: [&str; 11] = [
    "message",
    "error",
    "status",
    "version",
    "page",
    "limit",
    "totalItems",
    "totalPages",
    "type",
    "dataType",
    "subject",
];

fn compare(path: &str, recorded: &Value, given: &Value, found: &mut Vec<String>) {
    let name = path.rsplit('.').next().unwrap_or_default();
    if type_of(recorded) != type_of(given) {
        found.push(format!("{path} is {} instead of {}", type_of(given), type_of(recorded)));
        return;
    }
    if path == ".error" || EQUAL.contains(&name) && !path.contains("data[].version") {
        // A version of an observation is the application's.
        if recorded != given && !(name == "version" && path != ".version") {
            found.push(format!("{path} is {given} instead of {recorded}"));
        }
        return;
    }
    match (recorded, given) {
        (Value::Object(recorded), Value::Object(given)) if !FREE.contains(&name) => {
            for key in recorded.keys().filter(|key| !given.contains_key(*key)) {
                found.push(format!("{path}.{key} is missing"));
            }
            for key in given.keys().filter(|key| !recorded.contains_key(*key)) {
                found.push(format!("{path}.{key} is not there in the recording"));
            }
            for (key, recorded) in recorded {
                if let Some(given) = given.get(key) {
                    compare(&format!("{path}.{key}"), recorded, given, found);
                }
            }
        }
        (Value::Array(recorded), Value::Array(given)) if !FREE.contains(&name) => {
            if recorded.is_empty() != given.is_empty() {
                found.push(format!("{path} has {} elements", given.len()));
            }
            // Servers give what is inside of a trace in any order: what has the same type and name is compared.
            for recorded in recorded {
                let same = |given: &&Value| ["type", "name"].iter().all(|key| given.get(key) == recorded.get(key));
                if let Some(given) = given.iter().find(same) {
                    compare(&format!("{path}[]"), recorded, given, found);
                }
            }
        }
        _ => {}
    }
}

async fn check(file: &str, client: &Client) {
    let mut found = Vec::new();
    for exchange in exchanges(file) {
        let answer = exchange.ask(client).await;
        found.extend(exchange.differences(&answer));
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// The scores that were there before the recording.
async fn score(client: &Client, scores: &[(&str, Value)]) {
    for (id, score) in scores {
        let mut score = score.clone();
        score["id"] = json!(id);
        assert_eq!(client.post("/scores", &score).await.0, 200);
    }
}

fn earlier_scores() -> [(&'static str, Value); 3] {
    [
        (
            "score-0",
            json!({"traceId": "trace-000", "name": "helpful", "value": 0.75, "comment": "numeric"}),
        ),
        (
            "score-1",
            json!({"traceId": "trace-000", "observationId": "gen-000", "name": "intent", "value": "billing"}),
        ),
        (
            "score-2",
            json!({"traceId": "trace-001", "name": "ok", "value": 1, "dataType": "BOOLEAN"}),
        ),
    ]
}

#[tokio::test]
async fn it_answers_as_v2_did() {
    let client = Client::of(&seed::old(Version::V2)).await;
    score(&client, &earlier_scores()).await;
    check("v2", &client).await;
}

#[tokio::test]
async fn it_answers_as_v4_in_dual_mode_did() {
    let client = Client::of(&seed::old(Version::V4Dual)).await;
    score(&client, &earlier_scores()).await;
    check("v4-dual", &client).await;
}

#[tokio::test]
async fn it_answers_as_v4_did() {
    let client = Client::of(&seed::new(Version::V4)).await;
    check("v4", &client).await;
}

#[tokio::test]
async fn it_answers_as_v4_did_when_asked_for_what_it_no_longer_has() {
    let client = Client::of(&seed::new(Version::V4)).await;
    check("v4-old-endpoints", &client).await;
}
