//! An incident: the LLM is not paid, a system of record hangs, and a worker was stopped, all at once. `why` names each cause, every
//! session is accounted for, and once it is over the backlog drains: no verdict is an error, and no attempt was burnt.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aftercall::{
    db::Db,
    queue::inspect::{self, gates},
    sandbox::{
        language_model::{Reply, ScriptedModel},
        records::Fault,
    },
    store::inspect::coverage,
};
use serde_json::Value;

use super::{Scale, Server, world};
use crate::support::{
    bakery::{self, Session, ordered, ordered_and_paid, vanished},
    child::Child,
    state::{broken_promises, count},
    until,
    world::World,
};

const MODEL_GATE: &str = "llm:default";
const TILL_GATE: &str = "records:till";
/// Everything but diagnoses, which one worker of its own does.
const QUEUES: &str =
    "discover_sessions,analyze_session,verify_session,evaluate_alerts,reconcile,prune_history,apply_operation";

struct Incident {
    world: World,
    db: Db,
    unpaid: Arc<AtomicBool>,
}

/// Judged before anything breaks; wait for the till; wait for the LLM.
fn sessions() -> [Vec<Session>; 3] {
    let many = |make: fn(&str) -> Session, name: &str| -> Vec<Session> {
        (0..4).map(|number| make(&format!("{name}-{number}"))).collect()
    };
    [
        many(vanished, "fails"),
        many(ordered_and_paid, "paid"),
        many(ordered, "ordered"),
    ]
}

fn lines(sessions: &[Session]) -> String {
    sessions.iter().map(Session::lines).collect()
}

impl Incident {
    async fn start(server: &Server) -> Self {
        let [before, at_till, at_model] = sessions();
        let all = [before.clone(), at_till, at_model].concat();
        let unpaid = Arc::new(AtomicBool::new(false));
        let model = {
            let (all, unpaid) = (all.clone(), Arc::clone(&unpaid));
            ScriptedModel::new(move |asked| {
                if unpaid.load(Ordering::SeqCst) {
                    return Reply::Error(402, "insufficient_quota".to_owned(), "pay".to_owned());
                }
                bakery::answer(&all, asked)
            })
        };
        let world = world(&all, &server.url(), &Scale::now(), |plan| {
            plan.model(model)
                .bundle(lines(&before))
                .set("records", "timeout", "'500ms'")
                .set("verification", "outage_wait", "'10s'")
                .set("verification", "outage_wait_most", "'2m'")
                // The clock is moved by a minute at a time: nobody's lease may end of it.
                .set("queue", "lease", "'24h'")
        })
        .await;
        let db = server.db().await;
        Self { world, db, unpaid }
    }

    async fn appear(&self, sessions: &[Session]) {
        self.world.append(&lines(sessions));
        let ended = Child::start(&self.world, &["enqueue", "discover"], &[]).ended().await;
        assert!(ended.status.success(), "{ended}");
    }

    /// What `why` says, as a program reads it and as a person does.
    async fn why(&self, name: &str) -> (Vec<(String, String)>, String) {
        let json = Child::start(&self.world, &["why", name, "--json"], &[]).ended().await;
        assert!(json.status.success(), "{name}: {json}");
        let json: Value = serde_json::from_str(&json.out).unwrap();
        let text = Child::start(&self.world, &["why", name], &[]).ended().await;
        let reasons = json["reasons"].as_array().unwrap().iter();
        let word = |reason: &Value, name: &str| reason[name].as_str().unwrap().to_owned();
        let reasons = reasons
            .map(|reason| (word(reason, "code"), word(reason, "text")))
            .collect();
        (reasons, text.out)
    }

    /// Until no upstream is being tried, and none is to be for a while.
    async fn rests(&self) {
        until("nothing is tried", async || {
            let soon = self.db.now().await.unwrap() + chrono::TimeDelta::seconds(30);
            let tried_soon = gates::all(&self.db).await.unwrap().into_iter().any(|gate| {
                gate.state == "half_open" || gate.state == "closed" && gate.probe_at.is_some_and(|at| at < soon)
            });
            let rests = inspect::pending_work(&self.db).await.unwrap().running == 0;
            if rests && tried_soon {
                self.db.advance_clock(Duration::from_secs(10)).await.unwrap();
            }
            rests && !tried_soon
        })
        .await;
    }

    /// The first reason has this code, and both forms say these words.
    async fn is_held(&self, name: &str, code: &str, words: &[&str]) {
        let (reasons, text) = self.why(name).await;
        let (first, said) = &reasons[0];
        assert_eq!(first, code, "{name}: {reasons:#?}");
        assert!(text.contains(code), "{text}");
        for word in words {
            assert!(said.contains(word), "{name}: {word} is not in {said}");
            assert!(text.contains(word), "{name}: {word} is not in {text}");
        }
    }

    /// Waits until it holds; a minute passes whenever there is nothing to do before the clock goes on.
    async fn reach(&self, what: &str, holds: impl AsyncFn() -> bool) {
        until(what, async || {
            if holds().await {
                return true;
            }
            self.pass_a_minute().await;
            false
        })
        .await;
    }

    async fn pass_a_minute(&self) -> bool {
        let pending = inspect::pending_work(&self.db).await.unwrap();
        let rests = pending.running == 0 && pending.due_now == self.unserved().await;
        if rests {
            self.db.advance_clock(Duration::from_mins(1)).await.unwrap();
        }
        rests
    }

    /// Diagnoses that are due while nobody serves them.
    async fn unserved(&self) -> u64 {
        let due = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'diagnose_session' AND state = 'available'";
        count(&self.db, due).await
    }

    async fn in_state(&self, state: &str) -> u64 {
        let rows = self.db.fetch_all("SELECT state FROM sessions", &[]).await.unwrap();
        rows.iter()
            .filter(|row| row.get::<String>("state").unwrap() == state)
            .count() as u64
    }

    /// Jobs behind a gate.
    async fn held_by(&self, gate: &str) -> u64 {
        let rows = self
            .db
            .fetch_all("SELECT held_by FROM jobs WHERE held_by IS NOT NULL", &[])
            .await
            .unwrap();
        rows.iter()
            .filter(|row| row.get::<String>("held_by").unwrap() == gate)
            .count() as u64
    }

    async fn names_every_cause(&self, at_till: &[Session], at_model: &[Session]) {
        self.rests().await;
        for session in at_till {
            self.is_held(&session.id, "gate_shut", &[TILL_GATE, "unreachable"])
                .await;
        }
        for session in at_model {
            self.is_held(&session.id, "gate_shut", &[MODEL_GATE, "billing_exhausted", "402"])
                .await;
        }
        self.is_held("verify_session", "gate_shut", &[TILL_GATE, "jobs held: 4"])
            .await;
        self.is_held("analyze_session", "gate_shut", &[MODEL_GATE, "jobs held: 4"])
            .await;
        let (reasons, _) = self.why("fails-1").await;
        assert!(reasons.iter().any(|(code, _)| code == "no_worker"), "{reasons:?}");
    }

    async fn accounts_for_every_session(&self, waiting: u64) {
        // Every session is accounted for, and none is lost or an error.
        let sources = coverage::by_source(&self.db).await.unwrap();
        let [source] = sources.as_slice() else {
            panic!("one source: {sources:?}")
        };
        assert_eq!(
            (source.seen, source.fail, source.waiting),
            (12, 4, waiting),
            "{source:?}"
        );
        assert_eq!((source.unexplained, source.error), (0, 0), "{source:?}");
        assert_eq!(source.waiting_for.values().sum::<u64>(), waiting, "{source:?}");
        assert_eq!(source.waiting_for.len(), 2, "each cause is named: {source:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i9_of_an_incident_every_cause_is_named_and_afterwards_the_backlog_drains() {
    let server = Server::start();
    let incident = Incident::start(&server).await;
    let [fails, at_till, at_model] = sessions();
    let _scheduler = Child::start(&incident.world, &["scheduler"], &[]);
    let mut workers: Vec<Child> = (0..3)
        .map(|_| Child::start(&incident.world, &["worker", "--queues", QUEUES], &[]))
        .collect();
    let diagnosing = Child::start(&incident.world, &["worker", "--queues", "diagnose_session"], &[]);
    until("four workers live", async || {
        let live = inspect::workers(&incident.db).await.unwrap();
        live.iter()
            .filter(|worker| worker.stopped_at.is_none() && !worker.queues.is_empty())
            .count()
            == 4
    })
    .await;

    // One worker is stopped: what fails is not diagnosed any more.
    diagnosing.signal(rustix::process::Signal::TERM);
    let ended = diagnosing.ended().await;
    assert!(ended.status.success(), "{ended}");
    incident
        .reach("the first sessions are judged", async || {
            incident.in_state("done").await == fails.len() as u64
        })
        .await;
    incident
        .is_held(
            "diagnose_session",
            "no_worker",
            &["no live process serves diagnose_session", "stopped"],
        )
        .await;
    incident
        .is_held("fails-0", "no_worker", &["no live process serves diagnose_session"])
        .await;

    // One system of record hangs.
    for session in &at_till {
        let invoice = format!("{0}/invoices/i-{0}", session.id);
        incident.world.records.fail(&invoice, Fault::Hang, u64::MAX);
    }
    incident.appear(&at_till).await;
    incident
        .reach("the sessions wait for the till", async || {
            incident.held_by(TILL_GATE).await == at_till.len() as u64
        })
        .await;

    // And the LLM is not paid, for ten minutes.
    incident.unpaid.store(true, Ordering::SeqCst);
    incident.appear(&at_model).await;
    incident
        .reach("the sessions wait for the LLM", async || {
            incident.held_by(MODEL_GATE).await >= at_model.len() as u64
        })
        .await;
    let began = incident.db.now().await.unwrap();
    incident
        .reach("ten minutes have passed", async || {
            incident.db.now().await.unwrap() - began >= chrono::TimeDelta::minutes(10)
        })
        .await;

    incident.names_every_cause(&at_till, &at_model).await;
    incident
        .accounts_for_every_session((at_till.len() + at_model.len()) as u64)
        .await;

    // It is over: paid, answered, and a worker started again.
    incident.unpaid.store(false, Ordering::SeqCst);
    for session in &at_till {
        let invoice = format!("{0}/invoices/i-{0}", session.id);
        incident.world.records.fail(&invoice, Fault::Hang, 0);
    }
    for gate in [MODEL_GATE, TILL_GATE] {
        let ended = Child::start(&incident.world, &["gate", "open", gate], &[])
            .ended()
            .await;
        assert!(ended.status.success(), "{ended}");
    }
    workers.push(Child::start(
        &incident.world,
        &["worker", "--queues", "diagnose_session"],
        &[],
    ));
    incident
        .reach(
            "every session has its verdict, and every failure its diagnosis",
            async || {
                let diagnosed = "SELECT COUNT(*) AS n FROM monitoring_results WHERE diagnostic_status = 'complete'";
                incident.in_state("done").await == 12 && count(&incident.db, diagnosed).await == 4
            },
        )
        .await;
    incident.is_held("ordered-0", "judged", &["the verdict is pass"]).await;
    drop(workers);
    for nothing in [
        "SELECT COUNT(*) AS n FROM verdicts WHERE status = 'error'",
        "SELECT COUNT(*) AS n FROM jobs WHERE attempt > 1 OR rescues > 0 OR state IN ('discarded', 'retryable')",
        "SELECT COUNT(*) AS n FROM job_attempts WHERE attempt > 1 OR outcome NOT IN ('snoozed', 'completed', 'handed_back')",
    ] {
        assert_eq!(count(&incident.db, nothing).await, 0, "{nothing}");
    }
    let passed = "SELECT COUNT(*) AS n FROM verdicts WHERE status = 'pass'";
    assert_eq!(count(&incident.db, passed).await, 8);
    assert_eq!(broken_promises(&incident.db).await, Vec::<String>::new());
}
