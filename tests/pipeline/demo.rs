//! The demo's sessions through the whole flow: each must end as its script says.

use aftercall::{db::Sql, sandbox::demo};

use crate::{
    on_each_engine,
    support::{
        state::{broken_promises, count, verdicts},
        world::Plan,
    },
};

on_each_engine! {
    every_session_of_the_demo_ends_as_its_script_says,
}

async fn every_session_of_the_demo_ends_as_its_script_says() {
    let sessions = demo::sessions().unwrap();
    let world = Plan::of(&[])
        .bundle(demo::bundle_jsonl(&sessions).unwrap())
        .records(demo::records(&sessions))
        .model(demo::language_model(&sessions))
        .set("source", "playbook", &format!("'{}'", demo::PLAYBOOK))
        .start()
        .await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let mut expected: Vec<_> = sessions
        .iter()
        .map(|session| {
            (
                session.id.clone(),
                session.status.as_str().to_owned(),
                session.reason.as_str().to_owned(),
            )
        })
        .collect();
    expected.sort();
    assert_eq!(verdicts(&db).await, expected);
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    let unexplained = "SELECT COUNT(*) AS n FROM monitoring_results
        WHERE verification_status IN ('fail', 'partial') AND diagnostic_status IS DISTINCT FROM 'complete'";
    assert_eq!(count(&db, unexplained).await, 0);
    let rejected = db
        .fetch_all(
            Sql::each(
                "SELECT DISTINCT session_id AS line
                 FROM monitoring_results, json_each(diagnostic_report_json, '$.experts') AS expert
                 WHERE expert.value ->> 'result' = 'rejected'",
                "SELECT DISTINCT session_id AS line
                 FROM monitoring_results, jsonb_array_elements(diagnostic_report_json -> 'experts') AS expert
                 WHERE expert ->> 'result' = 'rejected'",
            ),
            &[],
        )
        .await
        .unwrap();
    let rejected: Vec<String> = rejected.iter().map(|row| row.get("line").unwrap()).collect();
    assert_eq!(
        rejected,
        ["demo-13-hostile"],
        "only the model that obeyed a transcript cites what is not there"
    );
}
