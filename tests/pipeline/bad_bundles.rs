//! Sources that hold what they should not: what can be read is judged, what cannot is reported with its place.

use serde_json::json;

use crate::{
    on_each_engine,
    support::{
        bakery::{Session, noise, ordered, question},
        state::{broken_promises, count, verdict},
        until,
        world::{Plan, idle},
    },
};

on_each_engine! {
    lines_that_cannot_be_read_are_reported_by_number_and_cost_no_session,
    a_session_id_may_be_any_text,
    ids_that_no_index_takes_are_reported_and_hold_nothing_up,
    the_character_that_no_database_keeps_changes_no_verdict,
    an_empty_session_is_skipped_with_the_reason,
    an_empty_bundle_is_no_error,
    a_bundle_that_is_not_there_yet_is_waited_for,
    a_session_that_grows_between_discovery_and_analysis_is_judged_whole,
}

async fn lines_that_cannot_be_read_are_reported_by_number_and_cost_no_session() {
    let good = ordered("s-1");
    let mut strange = good.observations[2].clone();
    strange["type"] = "QUANTUM".into();
    strange["id"] = "s-1-strange".into();
    strange["name"] = "think".into();
    let bundle = [
        good.lines(),
        "{\"id\": \"broken\", \"traceId\":\n".to_owned(),
        "not JSON at all\n".to_owned(),
        "\n".to_owned(),
        "[1, 2, 3]\n".to_owned(),
        json!({"id": "timeless", "traceId": "t", "sessionId": "s-9", "type": "SPAN"}).to_string() + "\n",
        json!({"id": "bad-time", "traceId": "t", "sessionId": "s-9", "type": "SPAN", "startTime": "yesterday"})
            .to_string()
            + "\n",
        json!({"id": "homeless", "traceId": "t-9", "type": "SPAN", "startTime": "2026-05-04T10:00:00Z"}).to_string()
            + "\n",
        strange.to_string() + "\n",
        question("s-2").lines(),
    ]
    .concat();
    let world = Plan::of(&[good]).bundle(bundle).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;

    assert_eq!(verdict(&db, "s-1").await.0, "pass");
    assert_eq!(verdict(&db, "s-2").await.0, "skipped");
    let rows = db
        .fetch_all(
            "SELECT position || ': ' || reason AS line FROM source_faults ORDER BY position",
            &[],
        )
        .await
        .unwrap();
    let faults: Vec<String> = rows.iter().map(|row| row.get("line").unwrap()).collect();
    let expected = [
        ("line 10", "no session id"),
        ("line 4", "breaks off"),
        ("line 5", "not valid JSON"),
        ("line 7", "not a JSON object"),
        ("line 8", "no `startTime`"),
        ("line 9", "`startTime` is not a time"),
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, (line, reason)) in faults.iter().zip(expected) {
        assert!(
            fault.starts_with(&format!("{line}: ")) && fault.contains(reason),
            "{fault}, not {line}: {reason}"
        );
    }
    let kept = "SELECT COUNT(*) AS n FROM sessions WHERE session_id = 's-1' AND observation_count = 4";
    assert_eq!(count(&db, kept).await, 1, "an observation of an unknown type is kept");
}

async fn a_session_id_may_be_any_text() {
    let ids = [
        "a/b",
        "../../etc/passwd",
        "ümläut ☃ 日本",
        "100%25 ?x=1#y",
        "it's \"quoted\"; DROP TABLE sessions",
        "#1@kitchen",
        "two  blanks",
    ];
    let sessions: Vec<Session> = ids.iter().map(|id| ordered(id)).collect();
    let world = Plan::of(&sessions).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    for id in ids {
        assert_eq!(verdict(&db, id).await.0, "pass", "{id}");
    }
    for id in ids {
        let shown = crate::support::child::Child::start(&world, &["show", "--", id], &[])
            .ended()
            .await;
        assert!(shown.status.success(), "{id}: {shown}");
    }
}

async fn ids_that_no_index_takes_are_reported_and_hold_nothing_up() {
    // Its observations' ids are longer than its own.
    let longest = ordered(&noise(1_000 - "-t1-call1".len()));
    let mut hostile = ordered("s-2");
    for observation in &mut hostile.observations {
        observation["sessionId"] = noise(5_000).into();
    }
    let mut strange = ordered("s-1").observations[2].clone();
    strange["id"] = noise(1_001).into();
    let bundle = [
        hostile.lines(),
        ordered("s-1").lines(),
        strange.to_string() + "\n",
        longest.lines(),
    ]
    .concat();
    let world = Plan::of(&[ordered("s-1"), longest.clone()])
        .bundle(bundle)
        .start()
        .await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM sessions").await, 2);
    for id in ["s-1", &longest.id] {
        assert_eq!(verdict(&db, id).await.0, "pass", "{id}");
    }
    let rows = db.fetch_all("SELECT reason FROM source_faults", &[]).await.unwrap();
    let mut reasons: Vec<String> = rows.iter().map(|row| row.get("reason").unwrap()).collect();
    reasons.sort();
    reasons.dedup();
    assert_eq!(rows.len(), hostile.observations.len() + 1);
    assert_eq!(
        reasons,
        [
            "`id` is longer than 1000 bytes",
            "`sessionId` is longer than 1000 bytes"
        ]
    );
}

async fn the_character_that_no_database_keeps_changes_no_verdict() {
    let nul = '\u{fffd}';
    let id = format!("s-{nul}-1");
    let session = Session::new(&id)
        .turn(
            &format!("I would like to order a plum cake.{nul}"),
            &format!("Your plum cake{nul} is ordered."),
        )
        .call(
            "order_cake",
            json!({"action": "place", "cake": "plum", "note": format!("{nul}{nul}"), format!("odd{nul}"): nul}),
            json!({"orderId": "o-1", "note": nul}),
        )
        .holds("orders", "o-1", json!({"id": "o-1", "cake": "plum", "note": "a\0b"}), 0);
    // What stands for the character in the sandbox's records is the character itself in the file.
    let world = Plan::of(std::slice::from_ref(&session))
        .bundle(session.lines().replace(nul, "\\u0000"))
        .start()
        .await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_eq!(verdict(&db, &id).await.0, "pass");
    let shown = crate::support::child::Child::start(&world, &["show", &id, "--json"], &[])
        .ended()
        .await;
    assert!(shown.status.success(), "{shown}");
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}

async fn an_empty_session_is_skipped_with_the_reason() {
    let empty = json!({
        "id": "o", "traceId": "t", "sessionId": "s-empty", "type": "SPAN", "name": "agent", "isRootObservation": true,
        "startTime": "2026-05-04T10:00:00Z", "input": null, "output": "",
    });
    let world = Plan::of(&[]).bundle(format!("{empty}\n")).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_eq!(
        verdict(&db, "s-empty").await,
        ("skipped".to_owned(), "too_short".to_owned())
    );
}

async fn an_empty_bundle_is_no_error() {
    let world = Plan::of(&[]).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM sessions").await, 0);
}

async fn a_bundle_that_is_not_there_yet_is_waited_for() {
    let world = Plan::of(&[ordered("s-1")]).start().await;
    let (here, away) = (world.path("bundle.jsonl"), world.path("away.jsonl"));
    std::fs::rename(&here, &away).unwrap();
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("discovery waits for the file", async || {
        let waits =
            "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'discover_sessions' AND outages >= 2 AND attempt <= 1";
        let why = "SELECT COUNT(*) AS n FROM gates WHERE key = 'source:calls' AND state <> 'open'
            AND detail LIKE '%cannot read %bundle.jsonl%'";
        count(&db, waits).await == 1 && count(&db, why).await == 1
    })
    .await;
    std::fs::rename(&away, &here).unwrap();
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(verdict(&db, "s-1").await.0, "pass");
}

async fn a_session_that_grows_between_discovery_and_analysis_is_judged_whole() {
    let world = Plan::of(&[ordered("s-1")]).start().await;
    let db = world.db().await;
    // Discovery settles it, and nobody may read it yet.
    let mut tx = db.begin().await.unwrap();
    aftercall::queue::control::pause(&mut tx, "analyze_session", "test", "the file grows")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let pipeline = world.pipeline(&db).await;
    until("it is settled", async || {
        count(&db, "SELECT COUNT(*) AS n FROM sessions WHERE state = 'settled'").await == 1
    })
    .await;
    let grown = ordered("s-1")
        .turn("And I would like to order a nut cake.", "Your nut cake is ordered.")
        .call(
            "order_cake",
            json!({"action": "place", "cake": "nut"}),
            json!({"orderId": "o-lost"}),
        );
    world.append(&grown.lines()[ordered("s-1").lines().len()..]);
    let mut tx = db.begin().await.unwrap();
    aftercall::queue::control::resume(&mut tx, "analyze_session", "test")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(
        verdict(&db, "s-1").await.0,
        "partial",
        "the cake of the last turn is missing"
    );
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM verdicts").await, 1);
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}
