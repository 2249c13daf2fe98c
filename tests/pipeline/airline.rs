//! The real airline sessions through the whole pipeline: every one gets its verdict with the offline classifier, with an
//! OpenAI-compatible server, and with the user's own readings.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use aftercall::{
    config::{Config, LlmConfig, PlaybookName, RecordsConfig, SourceConfig},
    db::Db,
    pipeline::Pipeline,
    sandbox::{
        language_model::{self, Reply, ScriptedModel},
        records::{self, Records},
    },
};
use serde_json::{Value, json};

use super::airline_judge;
use crate::{
    on_each_engine,
    support::{
        PATIENCE,
        state::{broken_promises, verdicts},
    },
};

on_each_engine! {
    every_airline_session_gets_a_verdict_with_the_offline_classifier,
    every_airline_session_gets_a_verdict_with_an_openai_compatible_server,
    every_airline_session_gets_a_verdict_with_the_users_own_readings,
}

/// As a user would set it up for sessions long over: no second looks, and every failure is diagnosed at once.
fn config(directory: &Path, bundle: &Path, records: &str) -> Config {
    let mut config = Config::default();
    config.database.path = directory.join("aftercall.db");
    config.sources = vec![SourceConfig::bundle(
        "calls",
        bundle,
        PlaybookName::BuiltIn("airline".to_owned()),
    )];
    config.records = vec![RecordsConfig {
        pace: Duration::from_millis(1),
        ..RecordsConfig::http("airline", records)
    }];
    config.verification.look_again = Vec::new();
    config.limits.diagnose_starts = 1_000;
    config
}

/// Runs all sessions; answers session, status and reason of each.
async fn judged(data: &Path, change: impl FnOnce(&mut Config, &Path)) -> Vec<(String, String, String)> {
    let directory = tempfile::tempdir().unwrap();
    let server = records::start(Records::load(data).unwrap().into()).await.unwrap();
    let mut config = config(directory.path(), &data.join("observations.jsonl"), &server.url());
    change(&mut config, directory.path());
    let db = Db::open(&config.database.location()).await.unwrap();
    let pipeline = Pipeline::start(&config, &db).await.unwrap();
    pipeline.look_now().await.unwrap();
    let state = pipeline.until_idle(Some(PATIENCE), |_| {}).await.unwrap();
    assert!(state.is_idle(), "work is left: {state:?}");
    pipeline.shutdown().await;
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    let verdicts = verdicts(&db).await;
    let errors: Vec<_> = verdicts.iter().filter(|(_, status, _)| status == "error").collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(verdicts.len() as u64, state.sessions);
    verdicts
}

fn sessions_of(data: &Path) -> usize {
    let labels = fs::read_to_string(data.join("labels.jsonl")).unwrap();
    labels.lines().count()
}

async fn every_airline_session_gets_a_verdict_with_the_offline_classifier() {
    let test = "every_airline_session_gets_a_verdict_with_the_offline_classifier";
    let Some(data) = airline_judge::directory(test) else {
        return;
    };
    let verdicts = judged(&data, |_, _| {}).await;
    assert_eq!(verdicts.len(), sessions_of(&data));
}

/// A reader that takes the first words of the caller for a change of a reservation.
fn model() -> ScriptedModel {
    ScriptedModel::new(|asked| {
        if asked.schema.as_deref() == Some("root_cause") {
            return Reply::Refusal("I would rather not say.".to_owned());
        }
        let first: Option<Value> = asked
            .text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line["speaker"] == "caller");
        let Some(first) = first else {
            return Reply::Text("There is nothing here.".to_owned());
        };
        let nothing = Value::Null;
        Reply::json(json!({
            "intent": "change", "confidence": 0.9, "summary": "The caller wants a change.", "details": [],
            "requests": [{
                "operation": "update", "record": "reservation", "subject": nothing, "id": nothing, "fields": [],
                "quote": first["text"], "turn": first["turn"], "withdrawn": nothing,
            }],
            "statements": [],
        }))
    })
}

async fn every_airline_session_gets_a_verdict_with_an_openai_compatible_server() {
    let test = "every_airline_session_gets_a_verdict_with_an_openai_compatible_server";
    let Some(data) = airline_judge::directory(test) else {
        return;
    };
    let server = language_model::start(model().into()).await.unwrap();
    let url = format!("{}/v1", server.url());
    let verdicts = judged(&data, |config, _| config.llm = Some(LlmConfig::new(url, "scripted"))).await;
    assert_eq!(verdicts.len(), sessions_of(&data));
    let read = verdicts
        .iter()
        .filter(|(_, _, reason)| reason != "unknown_intent")
        .count();
    assert_eq!(
        read,
        verdicts.len(),
        "the model's reading counts: it always names an intent"
    );
}

async fn every_airline_session_gets_a_verdict_with_the_users_own_readings() {
    let test = "every_airline_session_gets_a_verdict_with_the_users_own_readings";
    let Some(data) = airline_judge::directory(test) else {
        return;
    };
    let labels = fs::read_to_string(data.join("labels.jsonl")).unwrap();
    let labels: Vec<Value> = labels.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut lines = String::new();
    for label in &labels {
        let mut line = serde_json::to_value(airline_judge::perfect(label)).unwrap();
        line["session_id"] = label["session_id"].clone();
        writeln!(lines, "{line}").unwrap();
    }
    let verdicts = judged(&data, |config, directory| {
        let file = directory.join("readings.jsonl");
        fs::write(&file, &lines).unwrap();
        config.readings = Some(file);
    })
    .await;
    let mut disagree = Vec::new();
    for (session, status, reason) in &verdicts {
        let label = labels
            .iter()
            .find(|label| label["session_id"] == json!(session))
            .unwrap();
        let nothing_wrong = status == "pass" || ["nothing_to_verify", "declined"].contains(&reason.as_str());
        if label["db_state_correct"] != json!(nothing_wrong) {
            disagree.push(format!("{session}: {status}, {reason}"));
        }
    }
    assert!(disagree.len() <= 3, "{disagree:#?}");
}
