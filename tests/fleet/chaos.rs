//! Everything at once, for as long as there is work: workers killed, the server restarted, its sessions ended.

use std::time::Duration;

use aftercall::{db::Db, sandbox::postgres::Shutdown};
use rustix::process::Signal;
use tokio::time::Instant;

use super::{Scale, Server, world};
use crate::support::{
    bakery,
    chaos_proxy::{ChaosProxy, Old, Random},
    child::Child,
    history::History,
    state::{broken_promises, count},
    world::World,
};

const VERDICTS: &str = "SELECT COUNT(*) AS n FROM verdicts";
const LIVE: &str = "SELECT COUNT(*) AS n FROM jobs WHERE state IN ('available', 'scheduled', 'running', 'retryable')";
const DONE: &str = "SELECT COUNT(*) AS n FROM sessions WHERE state = 'done'";

/// The schedule of faults: `AFTERCALL_SEED` repeats one.
fn dice() -> Random {
    let given = std::env::var("AFTERCALL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1);
    println!("AFTERCALL_SEED={seed} repeats this schedule of faults");
    Random(seed)
}

struct Fleet<'a> {
    world: &'a World,
    server: &'a Server,
    proxy: ChaosProxy,
    workers: Vec<Child>,
    kills: u64,
    outages: u64,
}

impl Fleet<'_> {
    fn worker(world: &World) -> Child {
        Child::start(world, &["worker"], &[])
    }

    async fn kill(&mut self, dice: &mut Random) {
        let which = usize::try_from(dice.below(self.workers.len() as u64)).unwrap();
        let fresh = Self::worker(self.world);
        let victim = std::mem::replace(&mut self.workers[which], fresh);
        victim.signal(Signal::KILL);
        victim.ended().await;
        self.kills += 1;
    }

    /// Something that the whole fleet notices.
    async fn outage(&mut self, dice: &mut Random) {
        self.outages += 1;
        match dice.below(4) {
            0 => self.server.cluster.restart(Shutdown::Immediate).unwrap(),
            1 => self.server.cluster.restart(Shutdown::Fast).unwrap(),
            2 => {
                self.server.cluster.kill_backends(Server::DATABASE).unwrap();
            }
            _ => {
                // A while without a network, after which half of the connections never wake.
                self.proxy.black_hole();
                tokio::time::sleep(Duration::from_millis(dice.below(800))).await;
                let old = if dice.below(2) == 0 { Old::Resume } else { Old::Dead };
                self.proxy.heal(old).await;
            }
        }
    }
}

/// The server may be away at this moment.
async fn asked(db: &Db, sql: &'static str) -> Option<u64> {
    let row = db.fetch_optional(sql, &[]).await.ok()??;
    row.get("n").ok()
}

/// A job under which three workers died is discarded, so that one that kills its worker does not kill the fleet. With a kill
/// every moment that may hit an innocent one, seldom: nothing else may end in an error.
async fn given_up_only_after_three_deaths(db: &Db, sessions: u64) {
    let given_up = db
        .fetch_all(
            "SELECT v.session_id || ': ' || v.summary AS line, (SELECT COUNT(*) FROM job_attempts a JOIN jobs j ON j.id = a.job_id
                WHERE a.outcome = 'rescued' AND j.state = 'discarded' AND j.unique_key LIKE '%/' || v.session_id || '#%') AS deaths
             FROM verdicts v WHERE v.status = 'error'",
            &[],
        )
        .await
        .unwrap();
    for row in &given_up {
        let line: String = row.get("line").unwrap();
        println!("given up: {line}");
        assert!(line.contains("worker_died: 3 workers died"), "{line}");
        assert_eq!(row.get::<u64>("deaths").unwrap(), 3, "{line}");
    }
    assert!(
        given_up.len() as u64 <= sessions / 40,
        "{} sessions were given up",
        given_up.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_costs_no_session_and_breaks_no_limit() {
    let scale = Scale::now();
    let server = Server::start();
    let sessions = bakery::mixed(scale.sessions);
    let proxy = ChaosProxy::start(server.cluster.address()).await;
    let url = format!("postgres://postgres@{}/{}", proxy.addr(), Server::DATABASE);
    let world = world(&sessions, &url, &scale, |plan| plan.set("records", "pace", "'1ms'")).await;
    let db = server.db().await;
    let schedulers = [
        Child::start(&world, &["scheduler"], &[]),
        Child::start(&world, &["scheduler"], &[]),
    ];
    let mut dice = dice();
    let mut fleet = Fleet {
        world: &world,
        server: &server,
        proxy,
        workers: (0..scale.workers).map(|_| Fleet::worker(&world)).collect(),
        kills: 0,
        outages: 0,
    };
    let began = Instant::now();
    let (mut next_kill, mut next_outage) = (began + scale.kills_every, began + scale.outages_every / 5);
    let mut done_before = 0;
    let mut healthy_until = None;
    loop {
        let done = asked(&db, DONE).await.unwrap_or_default();
        // The last tenth is left in peace, so that it ends.
        if done * 10 >= scale.sessions * 9 {
            let patience = *healthy_until.get_or_insert_with(|| Instant::now() + Duration::from_mins(5));
            assert!(
                Instant::now() < patience,
                "it does not come to its end: {done} sessions are done"
            );
            if done == scale.sessions && asked(&db, LIVE).await == Some(0) {
                break;
            }
        } else if Instant::now() >= next_outage {
            fleet.outage(&mut dice).await;
            next_outage = Instant::now() + scale.outages_every;
        } else if Instant::now() >= next_kill && done >= done_before + scale.done_between_kills {
            done_before = done;
            fleet.kill(&mut dice).await;
            next_kill = Instant::now() + scale.kills_every;
        }
        assert!(began.elapsed() < Duration::from_mins(40), "{done} sessions are done");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (kills, outages) = (fleet.kills, fleet.outages);
    assert!(
        kills >= 3 && outages >= 1,
        "{kills} kills and {outages} outages are no chaos"
    );

    // What was held by those that were killed, and is waited for by nobody, ends as well.
    assert_eq!(count(&db, VERDICTS).await, scale.sessions, "one verdict each");
    assert_eq!(
        count(&db, "SELECT COUNT(DISTINCT session_id) AS n FROM verdicts").await,
        scale.sessions
    );
    given_up_only_after_three_deaths(&db, scale.sessions).await;
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    assert_eq!(
        History::read(&db).await.violations(Duration::ZERO),
        Vec::<String>::new()
    );
    // An answer that was bought and not kept was under way in a process that was killed: the ledger knows each of them.
    let bought = world.model().requests();
    let answered = count(&db, "SELECT COUNT(*) AS n FROM llm_calls WHERE state = 'answered'").await;
    let lost = count(
        &db,
        "SELECT COUNT(*) AS n FROM llm_calls WHERE state IN ('started', 'lost', 'failed')",
    )
    .await;
    assert!(
        bought <= answered + lost,
        "{bought} answers bought, {answered} kept, {lost} under way at kills"
    );
    let twice = "SELECT COUNT(*) AS n FROM (SELECT input_hash FROM llm_calls WHERE state = 'answered'
        GROUP BY input_hash HAVING COUNT(*) > 1) AS twice";
    assert_eq!(count(&db, twice).await, 0, "what was kept was never bought again");
    let attempts = count(&db, "SELECT COUNT(*) AS n FROM job_attempts").await;
    let rescued = count(&db, "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome = 'rescued'").await;
    println!(
        "{} sessions in {:?} with {kills} kills and {outages} outages: {attempts} runs, {rescued} of them rescued, \
         {bought} answers bought, {answered} kept, {lost} under way at kills",
        scale.sessions,
        began.elapsed()
    );
    drop(schedulers);
}
