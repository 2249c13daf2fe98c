//! What a session says is data, and the same that the command line shows.

use serde_json::{Value, json};

use super::world::{Answer, ODD, Served, command};
use crate::on_each_engine;

on_each_engine! {
    a_session_is_shown_as_the_command_line_shows_it_whatever_its_id,
    what_a_caller_says_stays_data,
    lists_are_filtered_as_on_the_command_line,
}

/// Of any text, one part of a path.
fn encoded(text: &str) -> String {
    let letters = text.bytes().map(|byte| format!("%{byte:02X}"));
    letters.collect()
}

async fn a_session_is_shown_as_the_command_line_shows_it_whatever_its_id() {
    let served = Served::start().await;
    // No path, and no query.
    let odd = "../?a=b#c%2F\"<b>&;\\ d";
    served.made_up_session(odd, 7).await;
    for (source, id) in [("calls", "s-half"), ("calls", ODD), ("made-up", odd)] {
        let path = format!("/sessions/{source}/{}", encoded(id));
        let mut shown = served.get(&path).await.is(200);
        let mut on_the_command_line = command(&served.world, &["show", id]).await;
        // Until now, where it has no end yet.
        for answer in [&mut shown, &mut on_the_command_line] {
            answer["totals"]["since_last_activity_us"].take();
        }
        assert_eq!(shown, on_the_command_line);
        assert_eq!((&shown["session_id"], &shown["source"]), (&json!(id), &json!(source)));
        assert_eq!(shown["verdict"].is_object(), source == "calls", "{shown}");
        let again = served.post(&format!("{path}/reprocess"), json!({})).await.is(202);
        assert_eq!(again, json!({"source": source, "session_id": id, "generation": 2}));
    }
    let reprocessed = ["operator".to_owned(), "reprocess".to_owned(), format!("calls/{ODD}")];
    assert!(served.audit().await.contains(&reprocessed));
    served.stop().await;
}

async fn what_a_caller_says_stays_data() {
    let served = Served::start().await;
    let hostile = "</script><script>alert(1)</script>\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{200b}\u{e0041}";
    let mut tx = served.db.begin().await.unwrap();
    let changed = tx
        .execute(
            "-- hostile\nUPDATE monitoring_results SET verdict_summary = $1 WHERE session_id = $2",
            &aftercall::params![hostile, ODD],
        )
        .await
        .unwrap();
    assert_eq!(changed, 1);
    tx.commit().await.unwrap();
    let path = format!("/sessions/calls/{}", encoded(ODD));
    for path in [path.as_str(), "/sessions?limit=500"] {
        let answer = served.get(path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/json")
        );
        answer.is_protected();
        let raw = answer.text.trim_end().chars().find(|letter| {
            letter.is_control() || matches!(letter, '\u{200b}' | '\u{202a}'..='\u{202e}' | '\u{e0000}'..='\u{e007f}')
        });
        assert_eq!(raw, None, "{path}");
        let text = answer.json().to_string();
        assert!(text.contains("alert(1)"), "{text}");
        let found = find(&answer.json(), hostile);
        assert!(found, "it reads back as it was: {path}");
    }
    // What is asked for comes back as data as well.
    let answer = served.get(&format!("/queues/{}", encoded(hostile))).await;
    answer.is_problem(404, "unknown_queue");
    assert!(!answer.text.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{answer}");
    served.stop().await;
}

fn find(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(items) => items.iter().any(|value| find(value, text)),
        Value::Object(fields) => fields.values().any(|value| find(value, text)),
        _ => false,
    }
}

async fn lists_are_filtered_as_on_the_command_line() {
    let served = Served::start().await;
    let items = |answer: Answer| answer.is(200)["items"].clone();
    for (path, shown) in [
        ("/sessions?limit=500", &["sessions", "--limit", "500"][..]),
        (
            "/sessions?status=fail,partial",
            &["sessions", "--status", "fail", "--status", "partial"],
        ),
        (
            "/sessions?status=&source=calls&limit=500",
            &["sessions", "--source", "calls", "--limit", "500"],
        ),
        ("/sessions?status=waiting", &["sessions", "--status", "waiting"]),
        ("/queues", &["queues"]),
        ("/gates", &["gate", "list"]),
        ("/coverage?cycles=2", &["coverage", "--cycles", "2"]),
        ("/tokens", &["token", "list"]),
    ] {
        let mut answered = items(served.get(path).await);
        let mut on_the_command_line = command(&served.world, shown).await;
        if shown[0] == "sessions" {
            on_the_command_line = on_the_command_line["sessions"].take();
        }
        // The pace of the last minutes is another a moment later, and so is what stands in a window of a second.
        for list in [&mut answered, &mut on_the_command_line] {
            for item in list.as_array_mut().unwrap() {
                if item["pace"].is_object() {
                    item["pace"].take();
                }
                for limit in item["limits"].as_array_mut().into_iter().flatten() {
                    limit["rate_used"].take();
                }
            }
        }
        assert_eq!(answered, on_the_command_line, "{path}");
        let is_waiting = path.ends_with("waiting") || path == "/gates";
        assert!(is_waiting || !answered.as_array().unwrap().is_empty(), "{path}");
    }
    let jobs = items(
        served
            .get("/jobs?queue=analyze_session&state=completed&limit=500")
            .await,
    );
    let listed = command(
        &served.world,
        &["jobs", "list", "--queue", "analyze_session", "--limit", "500"],
    )
    .await;
    assert_eq!(jobs.as_array().unwrap().len(), listed["jobs"].as_array().unwrap().len());
    let id = jobs[0]["id"].as_str().unwrap();
    let job = served.get(&format!("/jobs/{id}")).await.is(200);
    assert_eq!(job, command(&served.world, &["jobs", "show", id]).await);
    assert_eq!(job["attempts"][0]["outcome"], "completed");
    let since = served.get("/sessions?since=2999-01-01T00:00:00Z").await;
    assert_eq!(items(since), json!([]));
    let sources = items(served.get("/sources").await);
    assert_eq!(sources[0]["name"], "calls");
    assert_eq!(
        (&sources[0]["kind"], &sources[0]["scanned"]),
        (&json!("bundle"), &json!("on"))
    );
    let workers = items(served.get("/workers").await);
    let api = workers
        .as_array()
        .unwrap()
        .iter()
        .find(|worker| worker["role"] == "api")
        .unwrap();
    assert_eq!(api["lives"], true);
    served.stop().await;
}
