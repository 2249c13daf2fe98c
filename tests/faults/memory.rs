//! A session of any size takes bounded memory: what is kept of it is cut, and what is kept of it is not held many times over.

use std::{fmt::Write as _, fs, process::Command};

use serde_json::{Value, json};

/// One session of long answers.
fn bundle(megabytes: usize) -> String {
    let mut lines = String::new();
    let answer = "The flight leaves at nine and arrives at noon. ".repeat(425);
    for step in 0..megabytes * 50 {
        let line = json!({
            "id": format!("o-{step}"), "traceId": format!("t-{step}"), "sessionId": "s-1", "type": "SPAN", "name": "turn",
            "isRootObservation": true, "startTime": format!("2026-03-02T{:02}:{:02}:{:02}.000Z", step / 3600, step / 60 % 60, step % 60),
            "input": format!("Question {step}?"), "output": format!("Answer {step}. {answer}"),
        });
        writeln!(lines, "{line}").unwrap();
    }
    lines
}

/// The most memory, in MB, that a process takes that judges it.
fn peak_mb(megabytes: usize) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("large.jsonl"), bundle(megabytes)).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_aftercall"))
        .args(["bench", "memory", "--of", "large.jsonl", "--db", "large.db"])
        .args(["--records", "http://127.0.0.1:9"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(said["done"], 1);
    said["peak_mb"].as_f64().unwrap()
}

#[test]
fn a_session_takes_memory_in_proportion_up_to_a_bound() {
    let (two, six, twenty) = (peak_mb(2), peak_mb(6), peak_mb(20));
    println!("2 MB: {two:.0} MB, 6 MB: {six:.0} MB, 20 MB: {twenty:.0} MB");
    let copies = (six - two) / 4.0;
    assert!(
        copies < 16.0,
        "each byte of a session is held {copies:.1} times at once"
    );
    // Kept are at most 8 MB of a session.
    assert!(twenty < six * 2.0, "20 MB take {twenty:.0} MB, 6 MB take {six:.0} MB");
}
