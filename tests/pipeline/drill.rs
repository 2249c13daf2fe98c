//! The outage drill: every upstream of a practice fails in every way that it is known to, one after another. Afterwards each
//! session has the verdict that it has where nothing ever fails, and no attempt is burnt.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aftercall::{
    db::Db,
    pipeline::Pipeline,
    queue::{
        control,
        inspect::{self, gates},
    },
    sandbox::{
        Server,
        cloud9::{Fault as Refusal, Practice},
        langfuse::{FakeLangfuse, Fault, PUBLIC_KEY, Version, When},
        language_model::{Reply, ScriptedModel},
    },
    store::inspect::session,
};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session, half, ordered, question, vanished},
        child::Child,
        langfuse::{self, PROJECT, hours_ago, with_project},
        practice::{Fate, appointment, book, booking, holding, patient, wishes},
        state::{broken_promises, count, waiting, whole_verdicts},
        until,
        world::{Plan, World, idle},
    },
};

on_each_engine! {
    i9_a_drill_of_outages_changes_no_verdict_of_sessions_from_langfuse_v4,
    i9_a_drill_of_outages_changes_no_verdict_of_sessions_from_langfuse_v2,
}

const SOURCE_GATE: &str = "source:project";
const MODEL_GATE: &str = "llm:default";
const PRACTICE_GATE: &str = "records:practice";

/// The practice's sessions, of every way to end.
fn practice_sessions() -> Vec<Session> {
    let ada = ("Ada", Fate::Booked(2, 102));
    let eve = ("Eve", Fate::Booked(7, 107));
    (0..22)
        .map(|number| {
            let begin = |way: &str| booking(&format!("{way}-{number:02}"));
            match number % 11 {
                0..=4 => book(begin("there"), 1, &[ada]).reads(wishes("booking", "create", &["Ada"])),
                5 | 6 => book(begin("not-there"), 1, &[eve]).reads(wishes("booking", "create", &["Eve"])),
                7 | 8 => book(begin("half"), 1, &[ada, eve]).reads(wishes("booking", "create", &["Ada", "Eve"])),
                9 => {
                    book(begin("refused"), 1, &[("Ada", Fate::Refused(2))]).reads(wishes("booking", "create", &["Ada"]))
                }
                _ => Session::new(&format!("question-{number:02}")).turn("When do you open?", "At eight."),
            }
        })
        .collect()
}

fn practice() -> Practice {
    holding(&[
        patient(1, "Anna"),
        patient(2, "Ada"),
        patient(7, "Eve"),
        appointment(102, 2, "Scheduled"),
    ])
}

/// Sessions of the healthy source: those that are there when Langfuse is down, and those that come while Cloud9 is.
fn bakery_sessions() -> [Vec<Session>; 2] {
    [
        vec![ordered("bakery-1"), vanished("bakery-2"), question("bakery-3")],
        vec![ordered("bakery-4"), half("bakery-5")],
    ]
}

fn lines(sessions: &[Session]) -> String {
    sessions.iter().map(Session::lines).collect()
}

/// One world with everything that a practice needs.
struct Drill {
    world: World,
    db: Db,
    pipeline: Pipeline,
    langfuse: Arc<FakeLangfuse>,
    unpaid: Arc<AtomicBool>,
    _server: Server,
}

impl Drill {
    async fn start(version: Version, began: DateTime<Utc>) -> Self {
        let [early, late] = bakery_sessions();
        let all = [practice_sessions(), early.clone(), late.clone()].concat();
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
        let langfuse = Arc::new(FakeLangfuse::new(version));
        langfuse.ingest(langfuse::sent(&practice_sessions(), began));
        let plan = Plan::of(&all)
            .bundle(lines(&early))
            .practice(practice())
            // It hangs for a while.
            .set_practice("timeout", "'500ms'")
            .model(model)
            .set("verification", "outage_wait", "'10s'")
            .set("verification", "outage_wait_most", "'10m'")
            // The clock is moved by an hour at a time: nobody's lease may end of it.
            .set("queue", "lease", "'24h'");
        let (plan, server) = with_project(plan, &langfuse, PUBLIC_KEY).await;
        let world = plan.start().await;
        let db = world.db().await;
        let mut tx = db.begin().await.unwrap();
        control::pause(&mut tx, "analyze_session", "drill", "until all are found")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let pipeline = world.pipeline(&db).await;
        let drill = Self {
            world,
            db,
            pipeline,
            langfuse,
            unpaid,
            _server: server,
        };
        let found = practice_sessions().len() + early.len();
        drill
            .reach("all sessions are found and over", async || {
                count(&drill.db, "SELECT COUNT(*) AS n FROM sessions WHERE state = 'settled'").await == found as u64
            })
            .await;
        drill
    }

    async fn resume(&self) {
        let mut tx = self.db.begin().await.unwrap();
        control::resume(&mut tx, "analyze_session", "drill").await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Analyses that are due and not started before the drill begins.
    async fn paused(&self) -> u64 {
        let of_paused = "SELECT COUNT(*) AS n FROM jobs WHERE state = 'available' AND queue IN (SELECT name FROM queues
            WHERE paused_at IS NOT NULL)";
        count(&self.db, of_paused).await
    }

    /// Waits until it holds; a minute passes whenever there is nothing to do before the clock goes on.
    async fn reach(&self, what: &str, holds: impl AsyncFn() -> bool) {
        until(what, async || {
            if holds().await {
                return true;
            }
            let pending = inspect::pending_work(&self.db).await.unwrap();
            if pending.due_now == self.paused().await && pending.running == 0 {
                self.db.advance_clock(Duration::from_mins(1)).await.unwrap();
            }
            false
        })
        .await;
    }

    /// New sessions come to the healthy source, and have their verdicts while another upstream is down.
    async fn are_judged(&self, sessions: &[Session]) {
        for session in sessions {
            self.reach(&format!("{} has its verdict", session.id), async || {
                whole_verdicts(&self.db).await.iter().any(|(id, _)| *id == session.id)
            })
            .await;
        }
    }

    /// The gate is shut for this reason, and everything that shows sessions and queues names it for every one of `sessions`.
    async fn all_are_behind(&self, gate: &str, reason: &str, sessions: &[String]) {
        let why = format!("{gate} is not available ({reason})");
        self.reach(&format!("all wait: {why}"), async || {
            let line = self.gate(gate).await;
            let held = line.as_ref().map_or(0, |(_, _, held)| *held);
            line.is_some_and(|(state, because, _)| state == "closed" && because == reason)
                && held == sessions.len() as u64
                && self.waiting_as(&why).await == sessions
        })
        .await;
        // What a person sees is read by processes, one after the other, and one session may try it meanwhile: so it is read until
        // all of them met.
        let mut last = String::new();
        for _ in 0..20 {
            match self.is_shown(gate, &why, sessions).await {
                Ok(()) => return,
                Err(said) => last = said,
            }
        }
        panic!("{last}");
    }

    /// `sessions`, `queues` and `show` name it for every one of `sessions`; else what they say.
    async fn is_shown(&self, gate: &str, why: &str, sessions: &[String]) -> Result<(), String> {
        let shown = self
            .shown(&["sessions", "--status", "waiting", "--limit", "1000", "--json"])
            .await;
        let mut named: Vec<&str> = shown["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|line| line["waiting_reason"].as_str().unwrap_or_default().starts_with(why))
            .map(|line| line["session_id"].as_str().unwrap())
            .collect();
        named.sort_unstable();
        if named != sessions {
            return Err(format!("`sessions` names {why}: {named:?}"));
        }
        let shown = self.shown(&["queues", "--json"]).await;
        let held: u64 = shown
            .as_array()
            .unwrap()
            .iter()
            .filter(|queue| queue["queue"].as_str().unwrap().ends_with("_session"))
            .map(|queue| queue["held"][gate].as_u64().unwrap_or_default())
            .sum();
        if held != sessions.len() as u64 {
            return Err(format!("`queues` names {gate}: {shown:#}"));
        }
        let one = self.shown(&["show", &sessions[0], "--json"]).await;
        if !one.to_string().contains(why) {
            return Err(format!("`show` names {why}: {one:#}"));
        }
        for id in sessions {
            let line = session::find(&self.db, Some(PROJECT), id).await.unwrap().remove(0);
            let detail = session::detail(&self.db, line).await.unwrap();
            let reason = detail.line.waiting_reason.as_deref().unwrap_or_default();
            if !reason.starts_with(why) {
                return Err(format!("`show {id}` names {why}: {detail:#?}"));
            }
        }
        Ok(())
    }

    async fn shown(&self, arguments: &[&str]) -> Value {
        let ended = Child::start(&self.world, arguments, &[]).ended().await;
        assert!(ended.status.success(), "{arguments:?}: {ended}");
        serde_json::from_str(&ended.out).unwrap()
    }

    /// State, reason, and how many jobs of sessions it holds.
    async fn gate(&self, key: &str) -> Option<(String, String, u64)> {
        let line = gates::all(&self.db)
            .await
            .unwrap()
            .into_iter()
            .find(|gate| gate.key == key)?;
        let held = line.held.iter().filter(|(queue, _)| queue.ends_with("_session"));
        let held = held.map(|(_, jobs)| jobs).sum();
        Some((line.state, line.reason.unwrap_or_default(), held))
    }

    async fn waiting_as(&self, why: &str) -> Vec<String> {
        let waits = waiting(&self.db).await;
        let these = waits.into_iter().filter(|(_, reason)| reason.starts_with(why));
        these.map(|(session, _)| session).collect()
    }

    /// Ends it, and answers its verdicts, and which sessions asked the practice.
    async fn end(self) -> (Vec<(String, String)>, Vec<String>) {
        let [early, late] = bakery_sessions();
        self.are_judged(&[practice_sessions(), early, late].concat()).await;
        self.reach("every failure has its diagnosis", async || {
            let rest = "SELECT COUNT(*) AS n FROM jobs WHERE queue LIKE '%_session' AND state <> 'completed'";
            count(&self.db, rest).await == 0
        })
        .await;
        self.reach("all gates are open", async || {
            count(&self.db, "SELECT COUNT(*) AS n FROM gates WHERE state <> 'open'").await == 0
        })
        .await;
        idle(&self.pipeline).await;
        self.pipeline.shutdown().await;
        let db = &self.db;
        assert_eq!(count(db, "SELECT MAX(attempt) AS n FROM jobs").await, 1);
        for nothing in [
            "SELECT COUNT(*) AS n FROM jobs WHERE state NOT IN ('completed', 'scheduled', 'available') OR rescues > 0",
            "SELECT COUNT(*) AS n FROM job_attempts WHERE attempt > 1 OR outcome NOT IN ('snoozed', 'completed')",
            "SELECT COUNT(*) AS n FROM verdicts WHERE status = 'error'",
            "SELECT COUNT(*) AS n FROM jobs WHERE held_by IS NOT NULL",
        ] {
            assert_eq!(count(db, nothing).await, 0, "{nothing}");
        }
        assert_eq!(broken_promises(db).await, Vec::<String>::new());
        assert_eq!(waiting(db).await, []);
        let practice = self.world.practice();
        assert_eq!(practice.malformed(), Vec::<String>::new());
        assert_eq!(practice.refused_writes(), 0);
        let asked = "SELECT DISTINCT session_id FROM lookups WHERE system = 'practice' ORDER BY session_id";
        let asking = db.fetch_all(asked, &[]).await.unwrap();
        let asking = asking.iter().map(|row| row.get("session_id").unwrap()).collect();
        (whole_verdicts(db).await, asking)
    }
}

/// What everybody gets where nothing fails, and the sessions that ask the practice.
async fn undisturbed(version: Version, began: DateTime<Utc>) -> (Vec<(String, String)>, Vec<String>) {
    let drill = Drill::start(version, began).await;
    drill.world.append(&lines(&bakery_sessions()[1]));
    drill.resume().await;
    drill.pipeline.look_now().await.unwrap();
    drill.end().await
}

async fn drill(version: Version) {
    let began = hours_ago(3);
    let (expected, asking) = undisturbed(version, began).await;
    for status in ["pass", "partial", "fail", "skipped"] {
        let is = |line: &String| line.contains(&format!(",1,\"{status}\","));
        assert!(expected.iter().any(|(_, line)| is(line)), "no {status}: {expected:#?}");
    }

    let drill = Drill::start(version, began).await;
    let [early, late] = bakery_sessions();
    let mut all: Vec<String> = practice_sessions().into_iter().map(|session| session.id).collect();
    all.sort();
    let hour = Duration::from_hours(1);

    // Langfuse: too many requests, then down. The other source goes on.
    drill.langfuse.fault(Fault::RateLimited(1), When::Always, None);
    drill.resume().await;
    drill.all_are_behind(SOURCE_GATE, "rate_limited", &all).await;
    drill.langfuse.heal();
    drill.langfuse.fault(Fault::Status(503), When::Always, None);
    drill.db.advance_clock(hour).await.unwrap();
    drill.all_are_behind(SOURCE_GATE, "unreachable", &all).await;
    drill.are_judged(&early).await;
    // Explaining a failure asks the model as well.
    drill
        .reach("the failures are explained", async || {
            let live = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'diagnose_session'
                AND state IN ('available', 'scheduled', 'running', 'retryable')";
            count(&drill.db, live).await == 0
        })
        .await;

    // The model wants money, for an hour.
    drill.unpaid.store(true, Ordering::SeqCst);
    drill.langfuse.heal();
    drill.db.advance_clock(hour).await.unwrap();
    drill.all_are_behind(MODEL_GATE, "billing_exhausted", &all).await;
    let asked = drill.world.model().requests();
    for _ in 0..6 {
        let tried = "SELECT failures AS n FROM gates WHERE key = 'llm:default'";
        let before = count(&drill.db, tried).await;
        drill.db.advance_clock(hour / 6).await.unwrap();
        until("it was tried again", async || count(&drill.db, tried).await > before).await;
        drill.all_are_behind(MODEL_GATE, "billing_exhausted", &all).await;
    }
    let asked = drill.world.model().requests() - asked;
    assert!(asked < 12, "one asks, and not {}: {asked} requests", all.len());

    // The practice is closed, has enough of it, and does not answer at all. The other source goes on.
    drill.world.practice().fail("", Refusal::Code(7), u64::MAX);
    drill.unpaid.store(false, Ordering::SeqCst);
    drill.db.advance_clock(hour).await.unwrap();
    drill.all_are_behind(PRACTICE_GATE, "closed_hours", &asking).await;
    for (fault, reason) in [(Refusal::Code(8), "rate_limited"), (Refusal::Hang, "unreachable")] {
        drill.world.practice().heal();
        drill.world.practice().fail("", fault, u64::MAX);
        drill.db.advance_clock(hour).await.unwrap();
        drill.all_are_behind(PRACTICE_GATE, reason, &asking).await;
    }
    drill.world.append(&lines(&late));
    drill.pipeline.look_now().await.unwrap();
    drill.are_judged(&late).await;
    drill.all_are_behind(PRACTICE_GATE, "unreachable", &asking).await;

    drill.world.practice().heal();
    drill.db.advance_clock(hour).await.unwrap();
    let (found, _) = drill.end().await;
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

async fn i9_a_drill_of_outages_changes_no_verdict_of_sessions_from_langfuse_v4() {
    drill(Version::V4).await;
}

async fn i9_a_drill_of_outages_changes_no_verdict_of_sessions_from_langfuse_v2() {
    drill(Version::V2).await;
}
