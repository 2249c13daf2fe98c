//! The evaluation of the real airline sessions with readings made from the labels (a perfect reader): how far the verdicts agree,
//! which records they name, and whether they turn when a record is changed behind the agent's back.

use std::{fmt::Write as _, fs};

use aftercall::{
    domain::playbook::Playbook,
    eval::{self, Naive, Share},
};
use serde_json::Value;

use super::airline_judge::{directory, perfect};

/// How many records are changed, at most.
const MUTANTS: usize = 600;

fn at_least(what: &str, share: Share, wanted: f64) {
    println!("{what}: {}", share.words());
    assert!(
        share.share.unwrap() >= wanted,
        "{what}: {}, wanted {wanted}",
        share.words()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_perfect_reader_verdicts_agree_with_the_labels_and_turn_with_the_records() {
    let Some(data) = directory("with_a_perfect_reader_verdicts_agree_with_the_labels_and_turn_with_the_records") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let readings = folder.path().join("readings.jsonl");
    let mut lines = String::new();
    let labels = fs::read_to_string(data.join("labels.jsonl")).unwrap();
    for line in labels.lines() {
        let label: Value = serde_json::from_str(line).unwrap();
        let mut reading = serde_json::to_value(perfect(&label)).unwrap();
        reading["session_id"] = label["session_id"].clone();
        writeln!(lines, "{reading}").unwrap();
    }
    fs::write(&readings, lines).unwrap();

    let report = eval::verify(eval::Plan {
        bundle: data.join("observations.jsonl"),
        labels: data.join("labels.jsonl"),
        records: data.clone(),
        readings: Some(readings),
        playbook: Playbook::built_in("airline").unwrap(),
        also_compared: vec!["reservation.cabin".to_owned()],
        mutants: MUTANTS,
    })
    .await
    .unwrap();
    println!("{}", report.text());

    let summary = &report.summary;
    at_least("agreement", summary.score.agreement, 0.97);
    let also = summary.also_compared.as_ref().unwrap();
    at_least("agreement with the cabin compared", also.agreement, 0.95);
    at_least("records named, recall", summary.score.recall_of_records, 0.95);
    at_least("records named, precision", summary.score.precision_of_records, 0.85);
    at_least("records named as what they are", summary.score.kind_of_records, 0.9);
    assert_eq!(
        summary.score.kind_of_records.of, summary.score.recall_of_records.count,
        "every record that both name has a kind"
    );
    let mutants = summary.mutants.as_ref().unwrap();
    // Mutants of one session are much alike: they have to be of many.
    assert!(mutants.sessions >= 20, "{} sessions", mutants.sessions);
    at_least("sessions all of whose mutants are named", mutants.sessions_named, 0.9);
    let counted: u64 = mutants.by_session.iter().map(|one| one.mutants).sum();
    assert_eq!(counted, mutants.named.of);
    assert!(mutants.named.of >= 200, "{} mutants", mutants.named.of);
    at_least("mutants named", mutants.named, 0.99);
    at_least("verdicts that stay", mutants.unchanged, 1.0);

    // Whoever does not look at the record cannot notice that it was changed, and whoever only asks whether it is there hardly can.
    let [verdict, naive @ ..] = &summary.judges[..] else {
        panic!("there is no judge")
    };
    assert_eq!(naive.len(), Naive::ALL.len());
    let noticed = |judge: &eval::Judge| judge.mutants_noticed.unwrap().share.unwrap();
    for (kind, judge) in Naive::ALL.into_iter().zip(naive) {
        match kind {
            Naive::RecordExists => assert!(noticed(judge) < 0.1, "{judge:?}"),
            _ => assert!(noticed(judge).abs() < f64::EPSILON, "{judge:?}"),
        }
    }
    assert!(noticed(verdict) >= 0.99, "{verdict:?}");
}
