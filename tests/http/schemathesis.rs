//! The API against its own document, by somebody else's program: schemathesis, of PyPI, asks for everything that the document
//! allows and much that it does not. Nothing may be answered that is not described, and nothing may be a fault of ours.

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use super::world::{ODD, Served};
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

/// What there is in this world, for parameters that the document only calls texts.
async fn settings(served: &Served) -> String {
    let jobs = served.get("/jobs?limit=3").await.is(200);
    let jobs: Vec<&str> = jobs["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_str().unwrap())
        .collect();
    let mut toml = "[parameters]\n".to_owned();
    for (name, values) in [
        ("path.source", &["calls", "calls", "nosuch"][..]),
        ("path.queue", &["verify_session", "reconcile", "nosuch"]),
        (
            "path.key",
            &[
                "verify_session/kitchen",
                "diagnose_session",
                "llm:default/calls",
                "records:till",
                "nosuch",
            ],
        ),
    ] {
        writeln!(toml, "\"{name}\" = {}", Value::from(values.to_vec())).unwrap();
    }
    for (path, values) in [
        ("/api/v1/jobs/{id}", jobs.clone()),
        ("/api/v1/jobs/{id}/retry", jobs.clone()),
        ("/api/v1/jobs/{id}/cancel", jobs),
        ("/api/v1/sessions/{source}/{id}", vec![ODD, "nosuch"]),
        ("/api/v1/sessions/{source}/{id}/reprocess", vec![ODD, "nosuch"]),
    ] {
        writeln!(
            toml,
            "\n[[operations]]\ninclude-path = \"{path}\"\nparameters = {{ \"path.id\" = {} }}",
            Value::from(values)
        )
        .unwrap();
    }
    toml
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
    let settings = settings(&served).await;
    std::fs::write(served.world.path("schemathesis.toml"), &settings).unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(served.world.directory())
        .env("SCHEMATHESIS_HOOKS", root().join("tests/http/schemathesis_hooks.py"))
        .env("NO_COLOR", "1")
        .args(["--config-file", "schemathesis.toml", "run"])
        .arg(format!("{}/api/v1/openapi.json", served.url))
        .args(["--header", &format!("Authorization: Bearer {}", served.operate)])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--seed", SEED])
        // Below what one token may ask.
        .args(["--rate-limit", "45/s", "--request-timeout", "30"]);
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let (tested, log) = (said.contains("Tested: 24"), served.api.err());
    assert!(
        ran.status.success() && tested,
        "{settings}\n{said}\n{}\n{log}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(!log.contains("ERROR"), "{log}");
    served.stop().await;
}
