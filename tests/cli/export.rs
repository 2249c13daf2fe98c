//! `export`: verdicts, findings and evidence in each format.

use std::fs::File;

use aftercall::{
    db::{Db, Location, Tx},
    params,
};
use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::{Field, Row},
};
use serde_json::{Value, json};

use super::program::Program;
use crate::{program_on_each_engine, support::bakery};

program_on_each_engine! {
    every_format_holds_the_same_rows,
    more_sessions_than_a_page_are_exported_once_each,
}

/// Judged: one got their cake, one another, one none.
fn judged(program: &Program) {
    program.write_bakery(&[
        bakery::ordered("got"),
        bakery::other_cake("other"),
        bakery::vanished("=none()"),
    ]);
    program.judge_bakery(&program.serve_records());
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn as_json(row: &Row) -> Value {
    let cells = row.get_column_iter().map(|(name, field)| {
        let value = match field {
            Field::Null => Value::Null,
            Field::Str(text) => json!(text),
            Field::Long(number) => json!(number),
            Field::Double(number) => json!(number),
            Field::Bool(flag) => json!(flag),
            Field::TimestampMicros(micros) => json!(micros),
            other => panic!("{name}: {other}"),
        };
        (name.clone(), value)
    });
    Value::Object(cells.collect())
}

fn every_format_holds_the_same_rows() {
    let program = Program::new();
    judged(&program);
    let verdicts = lines(&program.run(&["export"]).exits(0).stdout);
    assert_eq!(verdicts.len(), 3);
    let of = |id: &str| verdicts.iter().find(|row| row["session_id"] == id).unwrap();
    assert_eq!(of("got")["status"], "pass");
    assert_eq!(of("other")["reason"], "fields_wrong");
    assert_eq!(of("=none()")["severity"], "critical");
    assert_eq!(of("got")["playbook_version"], 1);

    let findings = lines(&program.run(&["export", "findings", "--status", "fail"]).exits(0).stdout);
    let wrong = findings
        .iter()
        .find(|row| row["field"] == "cake" && row["session_id"] == "other")
        .unwrap();
    assert_eq!((&wrong["expected"], &wrong["actual"]), (&json!("plum"), &json!("nut")));

    let evidence = lines(&program.run(&["export", "evidence"]).exits(0).stdout);
    assert_eq!(evidence.len(), 3);
    let found = evidence.iter().find(|row| row["session_id"] == "got").unwrap();
    assert_eq!(
        (&found["fact"], &found["look"], &found["status"]),
        (&json!("found"), &json!(1), &json!(200))
    );
    assert_eq!(found["request"], "GET /got/orders/o-got");

    for (what, rows) in [
        ("verdicts", &verdicts),
        ("findings", &findings),
        ("evidence", &evidence),
    ] {
        let filter: &[&str] = if what == "findings" { &["--status", "fail"] } else { &[] };
        let export = |file: &str| {
            program
                .run(&[&["export", what, "--output", file][..], filter].concat())
                .exits(0);
            program.path().join(file)
        };
        let mut csv = csv::Reader::from_path(export("out.csv")).unwrap();
        let heads: Vec<String> = csv.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(rows[0].as_object().unwrap().len(), heads.len(), "{what}");
        let records: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), rows.len(), "{what}");

        let reader = SerializedFileReader::new(File::open(export("out.parquet")).unwrap()).unwrap();
        let stored: Vec<Value> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| as_json(&row.unwrap()))
            .collect();
        assert_eq!(stored.len(), rows.len(), "{what}");
        for (at, row) in rows.iter().enumerate() {
            for name in &heads {
                let column = heads.iter().position(|head| head == name).unwrap();
                let cell = &records[at][column];
                let (own, packed) = (&row[name], &stored[at][name]);
                match own {
                    Value::Null => assert_eq!((cell, packed), ("", &Value::Null), "{what} {name}"),
                    Value::String(text) if !text.starts_with('=') && !name.ends_with("_at") => {
                        // JSON in a text column is written as JSON.
                        let texts = [text.clone(), own.to_string()];
                        assert!(texts.contains(&cell.to_owned()), "{what} {name}: {cell} {text}");
                        assert!(
                            texts.iter().any(|text| packed == text),
                            "{what} {name}: {packed} {text}"
                        );
                    }
                    Value::Number(number) => {
                        assert_eq!(cell, number.to_string(), "{what} {name}");
                        assert_eq!(*packed, *own, "{what} {name}");
                    }
                    _ => {}
                }
            }
        }
        let hostile = records.iter().find(|record| record[1].contains("none()"));
        if let Some(record) = hostile {
            assert_eq!(&record[1], "'=none()", "a spreadsheet would take it for a formula");
        }
    }

    let nothing = program.run(&["export", "--status", "error"]).exits(0);
    assert_eq!(nothing.stdout, "");
    let text = program.run(&["export", "--format", "parquet"]).exits(2).stderr;
    assert!(text.contains("--output"), "{text}");
    let waiting = program.run(&["export", "--status", "waiting"]).exits(2).stderr;
    assert!(waiting.contains("no verdict"), "{waiting}");
    let nowhere = program
        .run(&["export", "--output", "no/such/folder/out.csv"])
        .exits(3)
        .stderr;
    assert!(nowhere.contains("cannot write no/such/folder/out.csv"), "{nowhere}");
}

fn more_sessions_than_a_page_are_exported_once_each() {
    let program = Program::new();
    judged(&program);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let location = match program.location() {
            Location::Sqlite { .. } => Location::sqlite(program.path().join("aftercall-data/aftercall.db")),
            server @ Location::Postgres(_) => server,
        };
        let db = Db::open(&location).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        for number in 0..450 {
            let id = format!("s-{number:03}");
            for table in ["sessions", "verdicts", "monitoring_results"] {
                copy(&mut tx, table, &id).await;
            }
        }
        tx.commit().await.unwrap();
        db.close().await;
    });
    let rows = lines(&program.run(&["export"]).exits(0).stdout);
    assert_eq!(rows.len(), 453);
    let mut ids: Vec<&str> = rows.iter().map(|row| row["session_id"].as_str().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 453);
}

/// Another session that is as `got` is.
async fn copy(tx: &mut Tx, table: &str, id: &str) {
    let columns = match table {
        "sessions" => {
            "state, generation, environment, first_activity_at, last_activity_at, observation_count, trace_count, digest, \
             digest_since, open_since, ended, incomplete, discovered_at, updated_at"
        }
        "verdicts" => {
            "generation, status, reason, severity, intent, confidence, summary, playbook, playbook_version, playbook_hash, \
             document, created_at"
        }
        _ => "generation, intent_type, intent_confidence, verification_status, verdict_summary, analyzed_at",
    };
    let sql = format!(
        "-- copy\nINSERT INTO {table} (source, session_id, {columns}) SELECT source, $1, {columns} FROM {table} WHERE session_id = 'got'"
    );
    assert_eq!(tx.execute(&*sql.leak(), &params![id]).await.unwrap(), 1);
}
