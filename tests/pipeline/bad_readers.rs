//! Language models that answer nonsense, or nothing: no session becomes an error of it, and none is lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aftercall::{
    db::Db,
    sandbox::language_model::{Asked, Reply, ScriptedModel},
};

use crate::{
    on_each_engine,
    support::{
        bakery::{self, ordered, vanished},
        state::{broken_promises, count, document, verdicts, waiting},
        until,
        world::{Plan, World, idle},
    },
};

on_each_engine! {
    a_model_that_answers_prose_is_asked_once_more_and_then_not_believed,
    a_model_whose_json_is_cut_is_not_believed,
    a_model_that_answers_another_schema_is_not_believed,
    a_model_that_refuses_is_not_asked_again,
    a_model_that_is_not_sure_at_all_gets_a_second_opinion,
    a_model_that_is_right_at_the_second_try_is_believed,
    a_model_that_is_in_trouble_is_waited_for,
    a_model_that_wants_money_or_another_key_is_waited_for,
    a_model_that_never_answers_is_waited_for,
    a_model_that_asks_for_a_pause_is_given_it,
    an_answer_is_believed_however_it_is_wrapped,
    a_number_above_its_maximum_is_asked_for_again_and_never_believed,
}

/// One session that fails and one that passes, with this model.
fn plan(model: ScriptedModel) -> Plan {
    Plan::of(&[vanished("s-fail"), ordered("s-pass")])
        .model(model)
        .set("verification", "look_again", "['50ms']")
}

async fn world(model: ScriptedModel) -> World {
    plan(model).start().await
}

async fn assert_right_verdicts(db: &Db, what: &str) {
    let found: Vec<(String, String)> = verdicts(db)
        .await
        .into_iter()
        .map(|(session, status, _)| (session, status))
        .collect();
    let expected =
        [("s-fail", "fail"), ("s-pass", "pass")].map(|(session, status)| (session.to_owned(), status.to_owned()));
    assert_eq!(found, expected, "{what}");
    assert_eq!(broken_promises(db).await, Vec::<String>::new(), "{what}");
}

/// Whatever it answers to the reader, for ever, the offline classifier reads in its place and the verdict says so.
async fn read_offline(what: &str, why: &str, reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
    let world = world(ScriptedModel::new(reply)).await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_right_verdicts(&db, what).await;
    let reader = document(&db, "s-fail").await["reader"].clone();
    assert_eq!(reader["kind"], "offline", "{what}: {reader}");
    assert!(reader["why"].as_str().unwrap().contains(why), "{what}: {reader}");
    // Each bad answer was bought once.
    let bought = count(&db, "SELECT COUNT(*) AS n FROM llm_answers").await;
    assert_eq!(world.model().requests(), bought, "{what}");
    assert_eq!(
        count(&db, "SELECT MAX(attempt) AS n FROM jobs").await,
        1,
        "{what}: an answer is no failed attempt"
    );
}

async fn a_model_that_answers_prose_is_asked_once_more_and_then_not_believed() {
    read_offline("prose", "could not be used", |_| {
        Reply::Text("I am sorry, here is a poem instead.".to_owned())
    })
    .await;
}

async fn a_model_whose_json_is_cut_is_not_believed() {
    read_offline("cut", "could not be used", |_| {
        Reply::Cut("{\"intent\": \"order\", \"confid".to_owned())
    })
    .await;
    read_offline("broken", "could not be used", |_| {
        Reply::Text("{\"intent\": \"order\", \"confid".to_owned())
    })
    .await;
}

async fn a_model_that_answers_another_schema_is_not_believed() {
    let answer = || Reply::json(serde_json::json!({"verdict": "pass", "score": 100}));
    read_offline("schema", "could not be used", move |_| answer()).await;
    let unknown =
        || Reply::json(serde_json::json!({"intent": "world peace", "confidence": 7, "requests": [], "statements": []}));
    read_offline("intent", "could not be used", move |_| unknown()).await;
}

async fn a_model_that_refuses_is_not_asked_again() {
    read_offline("refusal", "could not be used", |_| {
        Reply::Refusal("I cannot help with that.".to_owned())
    })
    .await;
    read_offline("filter", "could not be used", |_| Reply::Filtered).await;
}

async fn a_model_that_is_not_sure_at_all_gets_a_second_opinion() {
    for intent in ["question", "order", "unknown"] {
        let unsure = serde_json::json!({"intent": intent, "confidence": 0, "summary": "", "details": [],
            "requests": [], "statements": []});
        read_offline(intent, "confidence 0", move |_| Reply::json(unsure.clone())).await;
    }
}

async fn a_model_that_is_right_at_the_second_try_is_believed() {
    let sessions = [vanished("s-fail"), ordered("s-pass")];
    let world = world(ScriptedModel::new(move |asked| {
        let messages = asked.body["messages"].as_array().unwrap();
        if messages.iter().any(|message| message["role"] == "assistant") {
            bakery::answer(&sessions, asked)
        } else {
            Reply::Text("Sure! Here you go:".to_owned())
        }
    }))
    .await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_right_verdicts(&db, "repaired").await;
    let reader = document(&db, "s-fail").await["reader"].clone();
    assert_eq!((&reader["kind"], &reader["repaired"]), (&"llm".into(), &true.into()));
}

/// While the model is in this trouble the sessions wait with a reason that a person can read, no attempt is burnt, and they
/// are read as usual once it is over.
async fn waits_out(what: &str, reason: &str, trouble: Reply) {
    let sessions = [vanished("s-fail"), ordered("s-pass")];
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let hangs = matches!(trouble, Reply::Hang);
    let plan = plan(ScriptedModel::new(move |asked| {
        if is_down.load(Ordering::SeqCst) {
            trouble.clone()
        } else {
            bakery::answer(&sessions, asked)
        }
    }));
    let plan = if hangs {
        plan.set("llm", "timeout", "'1s'")
    } else {
        plan
    };
    let world = plan.start().await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("both sessions wait for the model, not for the first time", async || {
        let waits = waiting(&db).await;
        waits.len() == 2
            && waits
                .iter()
                .all(|(_, text)| text.starts_with("llm:default is not available") && text.contains(reason))
            && count(&db, "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome = 'snoozed'").await >= 4
    })
    .await;
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await,
        0,
        "{what}: an outage is no verdict"
    );
    down.store(false, Ordering::SeqCst);
    idle(&pipeline).await;
    pipeline.shutdown().await;

    assert_right_verdicts(&db, what).await;
    assert_eq!(document(&db, "s-pass").await["reader"]["kind"], "llm", "{what}");
    assert_eq!(
        count(&db, "SELECT MAX(attempt) AS n FROM jobs").await,
        1,
        "{what}: no attempt is burnt"
    );
    let others = "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome NOT IN ('snoozed', 'completed')";
    assert_eq!(count(&db, others).await, 0, "{what}");
    // The ledger has a row for each call, and says of each what came of it.
    let calls = count(&db, "SELECT COUNT(*) AS n FROM llm_calls").await;
    assert_eq!(calls, world.model().requests(), "{what}");
    let read =
        "SELECT COUNT(*) AS n FROM llm_calls WHERE state = 'answered' AND purpose = 'reading' AND prompt_tokens > 0";
    assert_eq!(count(&db, read).await, 2, "{what}: each reading is bought once");
    let answered = count(&db, "SELECT COUNT(*) AS n FROM llm_calls WHERE state = 'answered'").await;
    let kept = count(&db, "SELECT COUNT(*) AS n FROM llm_answers").await;
    assert_eq!(answered, kept, "{what}");
    let failed = "SELECT COUNT(*) AS n FROM llm_calls WHERE state = 'failed' AND detail LIKE 'llm:default is not%'
                  AND prompt_tokens = 0 AND cost_micros = 0";
    assert_eq!(count(&db, failed).await, calls - answered, "{what}");
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM llm_calls WHERE state = 'started'").await,
        0,
        "{what}"
    );
}

async fn a_model_that_is_in_trouble_is_waited_for() {
    waits_out(
        "500",
        "status 500",
        Reply::Error(500, "server_error".to_owned(), "oops".to_owned()),
    )
    .await;
    waits_out(
        "503 page",
        "status 503",
        Reply::Raw(503, "text/html", "<html>Bad gateway</html>".to_owned()),
    )
    .await;
}

async fn a_model_that_wants_money_or_another_key_is_waited_for() {
    waits_out(
        "402",
        "billing_exhausted",
        Reply::Error(402, "insufficient_quota".to_owned(), "pay".to_owned()),
    )
    .await;
    waits_out(
        "401",
        "auth_invalid",
        Reply::Error(401, "invalid_api_key".to_owned(), "who?".to_owned()),
    )
    .await;
    waits_out(
        "404",
        "model_unavailable",
        Reply::Error(404, "model_not_found".to_owned(), "none".to_owned()),
    )
    .await;
}

async fn a_model_that_never_answers_is_waited_for() {
    waits_out("hang", "no complete answer within", Reply::Hang).await;
}

async fn a_model_that_asks_for_a_pause_is_given_it() {
    waits_out("429", "rate_limited", Reply::RateLimited(0)).await;
}

async fn an_answer_is_believed_however_it_is_wrapped() {
    type Wrap = fn(String) -> Reply;
    let parts: Wrap = |text| {
        let (first, second) = text.split_at(text.floor_char_boundary(20));
        let parts = serde_json::json!({
            "choices": [{"finish_reason": "stop", "message": {"content": [
                {"type": "text", "text": first}, {"type": "text", "text": second},
            ]}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9},
        });
        Reply::Raw(200, "application/json", parts.to_string())
    };
    let wraps: [(&str, Wrap); 5] = [
        ("stream", Reply::Stream),
        ("parts", parts),
        ("fence", |text| Reply::Text(format!("```json\n{text}\n```"))),
        ("thoughts", |text| {
            Reply::Text(format!("<think>Is it {{\"intent\": \"question\"}}?</think>\n{text}"))
        }),
        ("prose", |text| {
            Reply::Text(format!("Here it is:\n{text}\nAnything else?"))
        }),
    ];
    for (what, wrap) in wraps {
        let sessions = [vanished("s-fail"), ordered("s-pass")];
        let world = world(ScriptedModel::new(move |asked| {
            match bakery::answer(&sessions, asked) {
                Reply::Text(text) => wrap(text),
                other => other,
            }
        }))
        .await;
        let db = world.db().await;
        world.run_until_idle(&db).await;
        assert_right_verdicts(&db, what).await;
        let reader = document(&db, "s-fail").await["reader"].clone();
        assert_eq!(
            (&reader["kind"], &reader["repaired"]),
            (&"llm".into(), &false.into()),
            "{what}: {reader}"
        );
        let unpaid = "SELECT COUNT(*) AS n FROM llm_calls WHERE state <> 'answered' OR completion_tokens = 0";
        assert_eq!(count(&db, unpaid).await, 0, "{what}");
        let readings = "SELECT COUNT(*) AS n FROM llm_calls WHERE purpose = 'reading'";
        assert_eq!(count(&db, readings).await, 2, "{what}");
    }
}

async fn a_number_above_its_maximum_is_asked_for_again_and_never_believed() {
    let sessions = [vanished("s-fail"), ordered("s-pass")];
    read_offline("95 of 1", "could not be used", move |asked| {
        match bakery::answer(&sessions, asked) {
            Reply::Text(text) => {
                let mut reading: serde_json::Value = serde_json::from_str(&text).unwrap();
                reading["confidence"] = 95.into();
                Reply::json(reading)
            }
            other => other,
        }
    })
    .await;
}
