//! Against real files.

use std::io::Write as _;

use serde_json::json;

use super::*;
use crate::ports::SeenSession;

fn line(session: Option<&str>, trace: &str, id: &str, second: u32) -> Value {
    let mut line = json!({
        "id": id, "traceId": trace, "type": "TOOL", "name": "look", "level": "",
        "startTime": format!("2026-08-20T10:00:{second:02}.000Z"), "endTime": null, "input": "hello", "output": "",
    });
    if let Some(session) = session {
        line["sessionId"] = json!(session);
    }
    line
}

fn session(id: &str) -> SessionRef {
    SessionRef {
        session_id: id.to_owned(),
        trace_ids: Vec::new(),
        first_activity: at_any_time(),
        last_activity: at_any_time(),
    }
}

/// A file has no use for the clock.
fn at_any_time() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

struct Written {
    folder: tempfile::TempDir,
}

impl Written {
    fn new(lines: &[Value]) -> Self {
        let written = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        written.append(lines);
        written
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("bundle.jsonl")
    }

    fn append(&self, lines: &[Value]) {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.to_string());
            text.push('\n');
        }
        self.append_bytes(text.as_bytes());
    }

    fn append_bytes(&self, bytes: &[u8]) {
        let mut file = File::options().create(true).append(true).open(self.path()).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn config(&self) -> BundleConfig {
        BundleConfig::new("bundle", self.path())
    }
}

/// Scans to the end, as discovery does: a new adapter for each slice where `restarting`.
async fn scan_all(
    config: &BundleConfig,
    from: Option<Value>,
    restarting: bool,
) -> (Vec<SeenSession>, Vec<SourceFault>, Value) {
    let mut bundle = Bundle::new(config.clone());
    let (mut sessions, mut faults, mut watermark) = (Vec::new(), Vec::new(), from);
    for _ in 0..1_000 {
        let slice = bundle.scan(watermark.as_ref(), at_any_time()).await.unwrap();
        sessions.extend(slice.sessions);
        faults.extend(slice.faults);
        watermark = Some(slice.watermark.clone());
        if !slice.more {
            return (sessions, faults, slice.watermark);
        }
        if restarting {
            bundle = Bundle::new(config.clone());
        }
    }
    panic!("the scan does not end");
}

fn ids(sessions: &[SeenSession]) -> Vec<&str> {
    sessions.iter().map(|session| session.session_id.as_str()).collect()
}

#[tokio::test]
async fn a_whole_file_gives_each_session_once_ended_and_with_the_digest_that_reading_gives() {
    let written = Written::new(&[
        line(Some("a/ü"), "t1", "2", 5),
        line(Some("b"), "t2", "3", 6),
        line(Some("a/ü"), "t1", "1", 1),
        line(Some("a/ü"), "t3", "4", 9),
    ]);
    let (sessions, faults, _) = scan_all(&written.config(), None, false).await;
    assert_eq!(ids(&sessions), ["a/ü", "b"]);
    assert!(faults.is_empty());
    let seen = &sessions[0];
    assert!(seen.ended);
    assert_eq!((seen.observations, seen.traces), (3, 2));
    assert_eq!(seen.first_activity.to_rfc3339(), "2026-08-20T10:00:01+00:00");
    assert_eq!(seen.last_activity.to_rfc3339(), "2026-08-20T10:00:09+00:00");

    let bundle = Bundle::new(written.config());
    let (snapshot, digest) = bundle.read(&session("a/ü")).await.unwrap().unwrap();
    assert_eq!(digest, seen.digest);
    let order: Vec<&str> = snapshot.observations.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(order, ["1", "2", "4"]);
    assert_eq!(snapshot.cut, None);
    assert!(bundle.read(&session("nobody")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_rests_from_the_latest_end_of_any_observation_on() {
    let mut long = line(Some("s"), "t", "1", 1);
    long["endTime"] = json!("2026-08-20T10:00:40.000Z");
    let mut short = line(Some("s"), "t", "2", 9);
    short["endTime"] = json!("2026-08-20T10:00:10.000Z");
    let (sessions, _, _) = scan_all(&Written::new(&[long, short]).config(), None, false).await;
    assert_eq!(sessions[0].last_activity.to_rfc3339(), "2026-08-20T10:00:40+00:00");
}

#[tokio::test]
async fn small_slices_and_restarts_between_them_change_nothing() {
    let mut lines = Vec::new();
    for turn in 0..3 {
        for session in 0..7 {
            lines.push(line(
                Some(&format!("s{session}")),
                &format!("t{session}"),
                &format!("{session}-{turn}"),
                turn,
            ));
        }
    }
    let written = Written::new(&lines);
    let (at_once, _, _) = scan_all(&written.config(), None, false).await;
    let small = BundleConfig {
        slice_bytes: 300,
        slice_sessions: 2,
        ..written.config()
    };
    for restarting in [false, true] {
        let (sessions, _, _) = scan_all(&small, None, restarting).await;
        assert_eq!(sessions, at_once);
        let idle = BundleConfig {
            settle: BundleSettle::Idle,
            ..small.clone()
        };
        let (sessions, _, _) = scan_all(&idle, None, restarting).await;
        let mut last: std::collections::BTreeMap<String, SeenSession> = std::collections::BTreeMap::new();
        for session in sessions {
            assert!(!session.ended);
            last.insert(session.session_id.clone(), session);
        }
        for session in &at_once {
            assert_eq!(last[&session.session_id].digest, session.digest);
        }
    }
}

#[tokio::test]
async fn lines_that_cannot_be_read_are_reported_by_number_and_the_others_go_on() {
    let written = Written::new(&[line(Some("a"), "t", "1", 1)]);
    written.append_bytes(b"{\"id\": \"secret words\", \"traceId\n");
    written.append_bytes(b"{\"id\": \"x\" \"secret\"}\n\n");
    written.append_bytes(b"[\"secret\"]\n\"secret\"\n{\"id\": \"\xff\"}\n");
    written.append_bytes(b"{\"data\": [], \"meta\": {}}\n");
    for missing in ["id", "traceId", "startTime"] {
        let mut broken = line(Some("a"), "t", "2", 2);
        broken[missing] = Value::Null;
        written.append(&[broken]);
    }
    let mut odd = line(Some("a"), "t", "3", 3);
    odd["startTime"] = json!("secret");
    let mut unknown = line(Some("a"), "t", "4", 4);
    unknown["type"] = json!("TELEPATHY");
    unknown["level"] = json!("PANIC");
    unknown["endTime"] = json!("never");
    written.append(&[odd, unknown, line(None, "nobody's", "5", 5)]);
    written.append_bytes(&[b'x'; 5_000]);
    let config = BundleConfig {
        max_line_bytes: 4_000,
        ..written.config()
    };
    let (sessions, faults, _) = scan_all(&config, None, false).await;
    assert_eq!(sessions[0].observations, 2);
    let told: Vec<String> = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.position, fault.reason))
        .collect();
    let expected = [
        "line 2: the JSON breaks off",
        "line 3: not valid JSON at column",
        "line 5: not a JSON object",
        "line 6: not a JSON object",
        "line 7: not valid UTF-8",
        "line 8: a whole answer of the API",
        "line 9: no `id`",
        "line 10: no `traceId`",
        "line 11: no `startTime`",
        "line 12: `startTime` is not a time",
        "line 15: the line is longer than 4000 bytes",
        "line 14: no session id",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
    let (snapshot, _) = Bundle::new(config).read(&session("a")).await.unwrap().unwrap();
    assert_eq!(snapshot.observations[1].kind, "TELEPATHY");
    assert_eq!(snapshot.observations[1].level, "PANIC");
}

#[tokio::test]
async fn input_and_output_are_json_where_they_parse_and_an_empty_text_is_none() {
    let mut one = line(Some("a"), "t", "1", 1);
    one["input"] = json!("{\"n\": 1}");
    one["output"] = json!("{\"n\": ");
    one["statusMessage"] = json!("");
    one["userId"] = json!("");
    let mut two = line(Some("a"), "t", "2", 2);
    two["input"] = json!({"n": [2]});
    two["output"] = json!("42");
    let written = Written::new(&[one, two]);
    let (snapshot, _) = Bundle::new(written.config())
        .read(&session("a"))
        .await
        .unwrap()
        .unwrap();
    let [one, two] = &snapshot.observations[..] else {
        panic!()
    };
    assert_eq!((&one.input, &one.output), (&json!({"n": 1}), &json!("{\"n\": ")));
    assert_eq!((&one.status_message, &one.user_id), (&None, &None));
    assert_eq!((&two.input, &two.output), (&json!({"n": [2]}), &json!("42")));
}

#[tokio::test]
async fn a_huge_native_json_field_is_cut_without_being_decoded_and_a_deep_one_stays_text() {
    let mut huge = line(Some("a"), "t", "1", 1);
    huge["input"] = json!(vec![1; 200_000]);
    huge["output"] = json!({"kept": "}{\",\u{e9}"});
    huge["metadata"] = json!({"m": "x".repeat(2_000_000)});
    let written = Written::new(&[huge]);
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let two = line(Some("a"), "t", "2", 2).to_string().replace("\"hello\"", &deep);
    written.append_bytes(format!("  {two}\r\n").as_bytes());
    let config = BundleConfig {
        session_bytes: 10_000,
        ..written.config()
    };
    let (snapshot, _) = Bundle::new(config).read(&session("a")).await.unwrap().unwrap();
    let [one, two] = &snapshot.observations[..] else {
        panic!()
    };
    assert!(one.input.as_str().unwrap().starts_with("[1,1,1,"));
    assert_eq!(one.output, json!({"kept": "}{\",\u{e9}"}));
    assert_eq!(one.metadata, Value::Null);
    assert_eq!(two.input, json!(deep));
    assert!(snapshot.cut.unwrap().bytes > 2_300_000);
}

#[tokio::test]
async fn a_repeated_id_counts_once_and_its_last_line_wins() {
    let mut later = line(Some("a"), "t", "1", 1);
    later["output"] = json!("done");
    let written = Written::new(&[line(Some("a"), "t", "1", 1)]);
    let (before, _, _) = scan_all(&written.config(), None, false).await;
    written.append(&[line(Some("a"), "t", "1", 1)]);
    let (doubled, _, _) = scan_all(&written.config(), None, false).await;
    assert_eq!(doubled, before);
    written.append(&[later]);
    let (changed, _, _) = scan_all(&written.config(), None, false).await;
    assert_eq!(changed[0].observations, 1);
    assert_ne!(changed[0].digest, before[0].digest);
    let (snapshot, _) = Bundle::new(written.config())
        .read(&session("a"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(snapshot.observations[0].output, json!("done"));
}

#[tokio::test]
async fn lines_of_a_sessions_trace_without_the_session_id_belong_to_it() {
    let written = Written::new(&[
        line(None, "t", "early", 1),
        line(Some("a"), "t", "root", 2),
        line(None, "t", "late", 3),
    ]);
    let (sessions, faults, _) = scan_all(&written.config(), None, false).await;
    assert_eq!(sessions[0].observations, 3);
    assert!(faults.is_empty());
    let (snapshot, digest) = Bundle::new(written.config())
        .read(&session("a"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(snapshot.observations.len(), 3);
    assert_eq!(digest, sessions[0].digest);
}

#[tokio::test]
async fn a_grown_file_is_read_on_and_only_changed_sessions_come_again() {
    let written = Written::new(&[line(Some("a"), "t1", "1", 1), line(Some("b"), "t2", "2", 2)]);
    let (_, _, watermark) = scan_all(&written.config(), None, false).await;
    let (nothing, _, watermark) = scan_all(&written.config(), Some(watermark), true).await;
    assert!(nothing.is_empty());
    written.append(&[line(Some("b"), "t2", "3", 3), line(Some("c"), "t3", "4", 4)]);
    written.append_bytes(b"broken\n");
    let (sessions, faults, _) = scan_all(&written.config(), Some(watermark), true).await;
    assert_eq!(ids(&sessions), ["b", "c"]);
    assert_eq!(sessions[0].observations, 2, "with those of the earlier scan");
    assert_eq!(faults[0].position, "line 5");
}

#[tokio::test]
async fn a_replaced_or_truncated_file_is_read_again_by_the_same_adapter() {
    let written = Written::new(&[line(Some("a"), "t1", "1", 1), line(Some("b"), "t2", "2", 2)]);
    let bundle = Bundle::new(written.config());
    let first = bundle.scan(None, at_any_time()).await.unwrap();
    for lines in [
        vec![line(Some("x"), "t9", "9", 9)],
        vec![line(Some("y"), "t8", "8", 8), line(Some("z"), "t7", "7", 7)],
    ] {
        std::fs::remove_file(written.path()).unwrap();
        written.append(&lines);
        let slice = bundle.scan(Some(&first.watermark), at_any_time()).await.unwrap();
        assert_eq!(slice.sessions.len(), lines.len());
        assert!(bundle.read(&session("a")).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_last_line_without_its_end_is_waited_for_while_the_file_is_written_and_read_when_it_is_whole() {
    let written = Written::new(&[line(Some("a"), "t", "1", 1)]);
    let last = line(Some("a"), "t", "2", 2).to_string();
    let (start, rest) = last.as_bytes().split_at(20);
    written.append_bytes(start);
    let idle = BundleConfig {
        settle: BundleSettle::Idle,
        ..written.config()
    };
    let bundle = Bundle::new(idle);
    let slice = bundle.scan(None, at_any_time()).await.unwrap();
    assert_eq!(
        (slice.sessions[0].observations, slice.faults.len(), slice.more),
        (1, 0, false)
    );
    assert_eq!(
        bundle.read(&session("a")).await.unwrap().unwrap().1,
        slice.sessions[0].digest
    );
    written.append_bytes(rest);
    let (whole, _, _) = scan_all(&written.config(), None, false).await;
    assert_eq!(whole[0].observations, 2);
    written.append_bytes(b"\n");
    let slice = bundle.scan(Some(&slice.watermark), at_any_time()).await.unwrap();
    assert_eq!(slice.sessions[0].observations, 2);
}

#[tokio::test]
async fn a_session_above_its_bound_is_cut_largest_first_and_says_so() {
    let mut lines = Vec::new();
    for number in 0..20 {
        let mut one = line(Some("a"), "t", &format!("{number:02}"), number);
        one["output"] = json!(format!(
            "head {}",
            "ä".repeat(if number % 2 == 0 { 20_000 } else { 100 })
        ));
        lines.push(one);
    }
    let written = Written::new(&lines);
    let config = BundleConfig {
        session_bytes: 50_000,
        ..written.config()
    };
    let (snapshot, _) = Bundle::new(config).read(&session("a")).await.unwrap().unwrap();
    let cut = snapshot.cut.unwrap();
    assert_eq!(cut.observations, 0);
    assert!(cut.bytes > 300_000);
    let mut kept = 0;
    for one in &snapshot.observations {
        let output = one.output.as_str().unwrap();
        assert!(output.starts_with("head ää"));
        assert_eq!(output.ends_with("bytes cut]"), output.len() > 300);
        kept += output.len();
    }
    assert!((40_000..52_000).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (path, advice) in [
        (folder.path().join("nowhere.jsonl"), "check the source's `path`"),
        (folder.path().to_owned(), "give the file itself"),
    ] {
        let error = Bundle::new(BundleConfig::new("calls", &path))
            .scan(None, at_any_time())
            .await
            .unwrap_err();
        assert_eq!(error.upstream, "source:calls");
        assert!(
            error.detail.contains(advice) && error.detail.contains(&path.display().to_string()),
            "{error}"
        );
        let probed = Bundle::new(BundleConfig::new("calls", &path))
            .probe()
            .await
            .unwrap_err();
        assert_eq!(probed, error);
    }
}

#[tokio::test]
async fn a_probe_looks_at_the_first_line_and_repeats_nothing_of_it() {
    let probe = async |bytes: &[u8], settle| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        std::fs::write(&path, bytes).unwrap();
        let config = BundleConfig {
            settle,
            ..BundleConfig::new("calls", &path)
        };
        let probe = Bundle::new(config).probe().await.unwrap();
        assert!(!format!("{probe:?}").contains("Ann"), "{probe:?}");
        let last = probe.notes.last().unwrap();
        (last.warning, last.text.clone())
    };
    let good = "{\"id\":\"1\",\"traceId\":\"t\",\"startTime\":\"2026-08-20T10:00:00Z\",\"input\":\"Ann\"}\n";
    let (warning, text) = probe(good.as_bytes(), BundleSettle::EndOfFile).await;
    assert!(!warning && text.contains("is an observation"), "{text}");
    for bad in [
        "Ann called\n",
        "{\"id\":\"Ann\"}\n",
        "{\"data\":[{\"id\":\"Ann\"}]}",
        "{\"id\":\"Ann",
    ] {
        let (warning, text) = probe(bad.as_bytes(), BundleSettle::EndOfFile).await;
        assert!(warning && text.contains("is no observation"), "{bad}: {text}");
    }
    let (warning, text) = probe(b"{\"id\":\"Ann", BundleSettle::Idle).await;
    assert!(!warning && text.contains("still being written"), "{text}");
    assert!(probe(b"", BundleSettle::EndOfFile).await.0);
    assert!(!probe(b"", BundleSettle::Idle).await.0);
    let giant = format!("{{\"input\":\"{}", "Ann ".repeat(2 << 20));
    let (warning, text) = probe(giant.as_bytes(), BundleSettle::EndOfFile).await;
    assert!(!warning && text.contains("longer than"), "{text}");
}

#[tokio::test]
async fn an_empty_file_and_a_foreign_watermark_are_no_trouble() {
    let written = Written::new(&[]);
    written.append_bytes(b"");
    let (sessions, faults, _) = scan_all(&written.config(), None, false).await;
    assert!(sessions.is_empty() && faults.is_empty());
    written.append(&[line(Some("a"), "t", "1", 1)]);
    let (sessions, _, _) = scan_all(&written.config(), Some(json!({"until": "2026"})), false).await;
    assert_eq!(ids(&sessions), ["a"]);
}

/// The folder of recorded sessions that a developer may have: `AFTERCALL_AIRLINE_DIR`.
#[tokio::test]
async fn every_recorded_session_is_seen_once_and_read_whole() {
    let Some(folder) = std::env::var_os("AFTERCALL_AIRLINE_DIR") else {
        println!("SKIPPED adapters::bundle, real sessions: AFTERCALL_AIRLINE_DIR is not set");
        return;
    };
    let path = PathBuf::from(folder).join("observations.jsonl");
    let lines = std::fs::read_to_string(&path).unwrap().lines().count();
    let config = BundleConfig::new("airline", path);
    let (sessions, faults, _) = scan_all(&config, None, false).await;
    assert_eq!(faults, []);
    let bundle = Bundle::new(config);
    let mut observations = 0;
    for seen in &sessions {
        let (snapshot, digest) = bundle.read(&session(&seen.session_id)).await.unwrap().unwrap();
        assert_eq!(digest, seen.digest);
        assert_eq!(snapshot.cut, None);
        observations += snapshot.observations.len();
    }
    assert_eq!(observations, lines);
}

#[tokio::test]
async fn a_file_that_was_changed_in_its_middle_is_read_anew_the_next_time() {
    let lines: Vec<Value> = (0..60)
        .map(|n| {
            let mut line = line(Some("s"), "t", &format!("o{n}"), n);
            line["output"] = json!("x".repeat(500));
            line
        })
        .collect();
    let written = Written::new(&lines);
    let bundle = Bundle::new(written.config());
    let (_, before) = bundle.read(&session("s")).await.unwrap().unwrap();
    let text = std::fs::read_to_string(written.path()).unwrap();
    let middle = text.len() / 2 + text[text.len() / 2..].find("xxx").unwrap();
    let mut bytes = text.into_bytes();
    bytes[middle] = b'y';
    std::fs::write(written.path(), bytes).unwrap();

    assert!(bundle.read(&session("s")).await.is_err());
    let (_, after) = bundle.read(&session("s")).await.unwrap().unwrap();
    assert_ne!(before, after);
}

#[tokio::test]
async fn what_is_nested_too_deep_to_be_stored_stays_a_text() {
    let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    let mut line = line(Some("s"), "t", "o", 1);
    line["output"] = serde_json::from_str(&deep).unwrap();
    let written = Written::new(&[line]);
    let (snapshot, _) = Bundle::new(written.config())
        .read(&session("s"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(snapshot.observations[0].output, Value::String(deep));
    let stored = serde_json::to_vec(&snapshot).unwrap();
    assert!(serde_json::from_slice::<Snapshot>(&stored).is_ok());
}
