//! The API against its own document, by somebody else's program: schemathesis, of PyPI, asks for everything that the document
//! allows and much that it does not. Nothing may be answered that is not described, and nothing may be a fault of ours.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use super::world::Served;
use crate::on_each_engine;

on_each_engine! {
    the_api_answers_as_its_document_says,
}

/// Cases of an operation beside those that every bound of the document gives.
const EXAMPLES: &str = "15";
/// The same cases each time.
const SEED: &str = "20260820";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program, or why it is not there.
fn program() -> Result<String, String> {
    let Output { status, stdout, stderr } = Command::new(root().join("scripts/schemathesis")).output().unwrap();
    let said = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    if status.success() {
        Ok(said(stdout))
    } else {
        Err(said(stderr))
    }
}

/// What there is in this world, for parameters that the document only calls texts: what the hooks beside this file take in turn.
async fn known(served: &Served) -> Value {
    let jobs = served.get("/jobs?limit=4").await.is(200);
    let jobs = jobs["items"].as_array().unwrap().iter();
    let jobs: Vec<Value> = jobs.map(|job| job["id"].clone()).chain([Value::Null]).collect();
    json!({
        "/api/v1/queues/": {"queue": ["verify_session", null, "reconcile"]},
        "/api/v1/limits/": {"key": ["verify_session%2Fkitchen", null, "diagnose_session"]},
        "/api/v1/gates/": {"key": ["llm:default%2Fcalls", null, "records:till"]},
        "/api/v1/jobs/": {"id": jobs},
        "/api/v1/sources/": {"source": ["calls", null]},
        "/api/v1/sessions/": {"source": ["calls"], "id": ["c%2F%C3%A9%20100%25", "s-half", null]},
    })
}

async fn the_api_answers_as_its_document_says() {
    let program = match tokio::task::spawn_blocking(program).await.unwrap() {
        Ok(program) => program,
        Err(why) => {
            println!("SKIPPED http::schemathesis::the_api_answers_as_its_document_says: {why}");
            return;
        }
    };
    let served = Served::start().await;
    let known = known(&served).await;
    let mut command = Command::new(program);
    command
        .current_dir(served.world.directory())
        .env("SCHEMATHESIS_HOOKS", root().join("tests/http/schemathesis_hooks.py"))
        .env("AFTERCALL_KNOWN", known.to_string())
        .env("NO_COLOR", "1")
        .arg("run")
        .arg(format!("{}/api/v1/openapi.json", served.url))
        .args(["--header", &format!("Authorization: Bearer {}", served.operate)])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--seed", SEED])
        // How many of its made-up values it throws away itself says nothing about the API.
        .args(["--suppress-health-check", "filter_too_much,too_slow"])
        // Below what one token may ask.
        .args(["--rate-limit", "45/s", "--request-timeout", "30"]);
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let (tested, log) = (said.contains("Tested: 43"), served.api.err());
    assert!(
        ran.status.success() && tested,
        "{said}\n{}\n{log}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(!log.contains("ERROR"), "{log}");
    served.stop().await;
}
