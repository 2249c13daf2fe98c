//! Pages: every row once, in order, while rows are added in between.

use aftercall::{db::Db, jobs::DiscoverSessions, queue};
use serde_json::Value;

use super::world::Served;
use crate::on_each_engine;

on_each_engine! {
    pages_of_jobs_hold_every_job_once_while_others_come,
    pages_of_sessions_hold_every_session_once_while_others_come,
    pages_of_the_audit_log_and_of_processes_end,
    a_cursor_that_no_list_gave_is_refused,
}

/// Walks through a list by pages of two, with something happening after each, and answers what `of` each item is.
async fn walk(served: &Served, path: &str, of: impl Fn(&Value) -> String, between: impl AsyncFn(usize)) -> Vec<String> {
    let mut seen = Vec::new();
    let mut after = String::new();
    for page in 0.. {
        let separator = if path.contains('?') { '&' } else { '?' };
        let answer = served.get(&format!("{path}{separator}limit=2{after}")).await.is(200);
        let items = answer["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{answer}");
        seen.extend(items.iter().map(&of));
        let Some(next) = answer["next"].as_str() else { break };
        assert_eq!(items.len(), 2, "only the last page is short");
        after = format!("&after={next}");
        between(page).await;
    }
    seen
}

async fn enqueue(db: &Db, source: &str) {
    let mut tx = db.begin().await.unwrap();
    let job = DiscoverSessions {
        source: source.to_owned(),
    };
    queue::enqueue(&mut tx, &job).await.unwrap();
    tx.commit().await.unwrap();
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn pages_of_jobs_hold_every_job_once_while_others_come() {
    let served = Served::start().await;
    for number in 0..7 {
        enqueue(&served.db, &format!("made-up-{number}")).await;
    }
    let path = "/jobs?queue=discover_sessions&state=available&key=made-up";
    let expected: Vec<String> = (0..7).rev().map(|number| format!("made-up-{number}")).collect();
    let later = async |page: usize| enqueue(&served.db, &format!("made-up-later-{page}")).await;
    let seen = walk(&served, path, |job| text(&job["unique_key"]), later).await;
    assert_eq!(seen, expected);
    let all = walk(&served, path, |job| text(&job["unique_key"]), async |_| {}).await;
    assert_eq!(all.len(), 10, "those that came first the next time: {all:?}");
    assert!(all[0].starts_with("made-up-later"), "{all:?}");
    served.stop().await;
}

async fn pages_of_sessions_hold_every_session_once_while_others_come() {
    let served = Served::start().await;
    // Three at the same moment, so that a page ends between them.
    for (id, at) in [("a", 9), ("b", 9), ("c/\"é", 9), ("d", 5), ("e", 5), ("f", 1)] {
        served.made_up_session(id, at).await;
    }
    let path = "/sessions?source=made-up&status=waiting";
    let later = async |page: usize| served.made_up_session(&format!("later-{page}"), 100).await;
    let seen = walk(&served, path, |line| text(&line["session_id"]), later).await;
    assert_eq!(seen, ["a", "b", "c/\"é", "d", "e", "f"]);
    let whole = walk(&served, "/sessions", |line| text(&line["session_id"]), async |_| {}).await;
    let at_once = served.get("/sessions?limit=500").await.is(200);
    let at_once: Vec<String> = at_once["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| text(&line["session_id"]))
        .collect();
    assert_eq!(whole, at_once);
    assert!(whole.len() >= 15, "{whole:?}");
    served.stop().await;
}

async fn pages_of_the_audit_log_and_of_processes_end() {
    let served = Served::start().await;
    for number in 0..5 {
        let body = serde_json::json!({"reason": format!("r-{number}")});
        served.post("/queues/reconcile/pause", body).await.is(200);
    }
    let again = async |_: usize| {
        served
            .post("/queues/reconcile/resume", serde_json::json!({}))
            .await
            .is(200);
    };
    let seen = walk(
        &served,
        "/audit?actor=operator&action=pause",
        |line| text(&line["detail"]),
        again,
    )
    .await;
    assert_eq!(seen, ["r-4", "r-3", "r-2", "r-1", "r-0"]);
    let roles = walk(&served, "/workers", |worker| text(&worker["role"]), async |_| {}).await;
    assert!(
        roles.contains(&"api".to_owned()) && roles.contains(&"run".to_owned()),
        "{roles:?}"
    );
    served.stop().await;
}

async fn a_cursor_that_no_list_gave_is_refused() {
    let served = Served::start().await;
    let page = served.get("/sessions?limit=1").await.is(200);
    let of_sessions = page["next"].as_str().unwrap();
    for list in ["/jobs", "/audit", "/workers"] {
        for cursor in [of_sessions, "x", "", "AAAA", "%00", "W10"] {
            let refused = served.get(&format!("{list}?after={cursor}")).await;
            refused.is_problem(400, "bad_cursor");
        }
    }
    served.stop().await;
}
