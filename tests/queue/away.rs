//! The database goes away: for the whole fleet, for one worker, for one connection.
//!
//! On PostgreSQL only: an embedded file does not go away by itself. Waits are for what the database or the workers say;
//! leases are short and real, since what is tested here are the workers' own clocks.

use std::{sync::Arc, time::Duration};

use aftercall::{
    db::{Db, Location},
    params,
    queue::{JobError, Running, WorkerSettings, inspect},
    sandbox::postgres::{Cluster, Options, Shutdown},
};
use tokio::time::Instant;

use super::world::{
    Plain, Probe as _, Serial, What, Wide, World, ends_as, enqueue, enqueue_all, marks, outcomes, prepare, row,
    settings, start_with,
};
use crate::support::{
    Engine, TestDb,
    chaos_proxy::{ChaosProxy, Old},
    database::Place,
    history::History,
    is_soak,
    state::count,
    until,
};

/// With `AFTERCALL_SOAK` the real one.
fn lease() -> Duration {
    if is_soak() {
        Duration::from_secs(12)
    } else {
        Duration::from_millis(1_200)
    }
}

/// Times are read a little before their commit.
const CLOCK: Duration = Duration::from_millis(20);

fn short_lease() -> WorkerSettings {
    with_lease(lease())
}

fn with_lease(lease: Duration) -> WorkerSettings {
    WorkerSettings {
        lease,
        heartbeat: lease / 4,
        newcomer: None,
        ..settings()
    }
}

/// The same database, reached through the proxy.
async fn through(proxy: &ChaosProxy, place: &Place) -> Db {
    let Location::Postgres(server) = &place.location else {
        panic!("there is a proxy before a server only")
    };
    let (_, database) = server.url.rsplit_once('/').unwrap();
    let location = Location::postgres(format!("postgres://postgres@{}/{database}", proxy.addr()));
    Db::open(&location).await.unwrap()
}

/// A database that the test sees directly and workers through a proxy.
struct Fleet {
    place: Place,
    db: Db,
    proxy: ChaosProxy,
    world: Arc<World>,
}

impl Fleet {
    async fn new() -> Self {
        let place = Place::new(Engine::Postgres).await;
        let db = Db::open(&place.location).await.unwrap();
        prepare(&db).await;
        Self {
            proxy: ChaosProxy::start(Cluster::shared().unwrap().address()).await,
            place,
            db,
            world: Arc::new(World::default()),
        }
    }

    async fn worker(&self, settings: WorkerSettings) -> Running {
        start_with(&through(&self.proxy, &self.place).await, &self.world, settings).await
    }

    /// Waits until no lease is alive any more, and a whole lease longer.
    async fn all_leases_are_long_over(&self) {
        until("all leases have been over for a lease", async || {
            let since = self.db.now().await.unwrap() - lease();
            let alive = "SELECT COUNT(*) AS n FROM jobs WHERE state = 'running' AND lease_expires_at > $1";
            let row = self.db.fetch_optional(alive, &params![since]).await.unwrap().unwrap();
            row.get::<u64>("n").unwrap() == 0
        })
        .await;
    }

    async fn is_sound(&self) {
        assert_eq!(History::read(&self.db).await.violations(CLOCK), Vec::<String>::new());
    }
}

fn held(number: usize, what: &What) -> Vec<Wide> {
    (0..number)
        .map(|number| Wide::of(&format!("w{number}"), what.clone()))
        .collect()
}

/// How many run at once, and wait behind them.
fn sizes() -> (usize, usize) {
    if is_soak() { (500, 4_500) } else { (60, 540) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_when_the_whole_fleet_loses_the_database_nothing_runs_twice() {
    let fleet = Fleet::new().await;
    let (running, waiting) = sizes();
    let settings = || WorkerSettings {
        concurrency: [("wide".to_owned(), running / 2)].into(),
        ..short_lease()
    };
    let workers = [fleet.worker(settings()).await, fleet.worker(settings()).await];
    let mut jobs = held(running, &What::HoldThenDone);
    for (number, job) in jobs.iter_mut().enumerate() {
        if number % 2 == 0 {
            job.what = What::Hold;
        }
    }
    enqueue_all(&fleet.db, &jobs).await;
    until("all places are taken", async || fleet.world.starts().len() == running).await;
    let behind: Vec<Wide> = (0..waiting)
        .map(|number| Wide::of(&format!("b{number}"), What::Done))
        .collect();
    enqueue_all(&fleet.db, &behind).await;

    fleet.proxy.cut().await;
    // Half of them end while it is away, and cannot say so.
    for number in 0..running / 2 {
        fleet.world.let_go(&format!("w{number}"));
    }
    let lost = Instant::now();
    fleet.all_leases_are_long_over().await;
    if is_soak() {
        until("a minute has passed", async || lost.elapsed() >= Duration::from_mins(1)).await;
    }
    assert_eq!(fleet.world.starts().len(), running, "nothing was started meanwhile");
    fleet.proxy.heal(Old::Dead).await;
    let healed = Instant::now();
    until("the first of those that waited is picked up", async || {
        fleet.world.starts().len() > running
    })
    .await;
    let back = healed.elapsed();
    assert!(back < Duration::from_secs(15), "{back:?}");
    for number in running / 2..running {
        fleet.world.let_go(&format!("w{number}"));
    }
    let all = u64::try_from(running + waiting).unwrap();
    until("all are done", async || {
        count(&fleet.db, "SELECT COUNT(*) AS n FROM jobs WHERE state = 'completed'").await == all
    })
    .await;
    assert_eq!(
        count(&fleet.db, "SELECT COUNT(*) AS n FROM job_attempts").await,
        all,
        "each has run once"
    );
    assert_eq!(fleet.world.starts().len(), running + waiting);
    fleet.is_sound().await;
    // The quickest of some: the machine may be busy with something else for a second, the fleet is so all the time or not.
    let mut picked_up = Duration::MAX;
    for number in 0..5 {
        let key = format!("after-{number}");
        let asked = Instant::now();
        enqueue(&fleet.db, &Wide::of(&key, What::Done)).await;
        fleet.world.started(&key, 1).await;
        picked_up = picked_up.min(asked.elapsed());
    }
    assert!(picked_up < Duration::from_secs(1), "{picked_up:?}");
    println!(
        "the database was away for {:?}: {running} running and {waiting} waiting jobs, each ran once; work went on {back:?} after \
         it was back, and a new job was then picked up within {picked_up:?}",
        healed - lost
    );
    for worker in workers {
        worker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_fresh_process_does_not_take_what_others_could_not_renew_while_the_database_was_away() {
    let fleet = Fleet::new().await;
    let worker = fleet.worker(short_lease()).await;
    let ids = enqueue_all(&fleet.db, &held(5, &What::Hold)).await;
    until("all run", async || fleet.world.starts().len() == 5).await;
    fleet.proxy.cut().await;
    fleet.all_leases_are_long_over().await;
    // Started by somebody in the very moment in which the database is back.
    let fresh = start_with(&fleet.db, &fleet.world, short_lease()).await;
    fleet.proxy.heal(Old::Dead).await;
    until("all leases are alive again", async || {
        count(
            &fleet.db,
            "SELECT COUNT(*) AS n FROM jobs WHERE state = 'running' AND lease_expires_at > clock_timestamp()",
        )
        .await
            == 5
    })
    .await;
    for (number, id) in ids.into_iter().enumerate() {
        fleet.world.let_go(&format!("w{number}"));
        let job = ends_as(&fleet.db, id, "completed").await;
        assert_eq!((job.rescues, job.attempt), (0, 1));
    }
    fresh.shutdown().await;
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_one_worker_that_is_cut_off_loses_its_jobs_once_and_its_late_results_are_refused() {
    let fleet = Fleet::new().await;
    let cut_off = fleet.worker(short_lease()).await;
    let ids = enqueue_all(&fleet.db, &held(4, &What::HoldThenWrite)).await;
    until("all run", async || fleet.world.starts().len() == 4).await;
    let other = start_with(&fleet.db, &fleet.world, short_lease()).await;
    fleet.proxy.black_hole();
    until("all run elsewhere", async || fleet.world.starts().len() == 8).await;
    // Both the runs of the worker that was cut off and those of its successor go on now.
    for number in 0..4 {
        fleet.world.let_go(&format!("w{number}"));
    }
    for id in &ids {
        let job = ends_as(&fleet.db, *id, "completed").await;
        assert_eq!(job.rescues, 1);
    }
    fleet.proxy.heal(Old::Resume).await;
    until("the worker that was cut off knows", async || cut_off.is_idle()).await;
    for id in ids {
        assert_eq!(outcomes(&fleet.db, id).await, ["rescued", "completed"]);
    }
    assert_eq!(marks(&fleet.db).await.len(), 4, "each was written once");
    assert_eq!(fleet.world.starts().len(), 8, "one re-run each");
    fleet.is_sound().await;
    cut_off.shutdown().await;
    other.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_half_open_connections_are_noticed_and_replaced() {
    let fleet = Fleet::new().await;
    let worker = fleet.worker(short_lease()).await;
    enqueue(&fleet.db, &Wide::of("before", What::Done)).await;
    fleet.world.started("before", 1).await;
    // What is open stays open and passes nothing; new connections work.
    fleet.proxy.black_hole();
    fleet.proxy.heal(Old::Dead).await;
    let asked = Instant::now();
    enqueue(&fleet.db, &Wide::of("after", What::Done)).await;
    fleet.world.started("after", 1).await;
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_slow_network_loses_no_lease() {
    let fleet = Fleet::new().await;
    let worker = fleet.worker(short_lease()).await;
    let other = start_with(&fleet.db, &fleet.world, short_lease()).await;
    fleet.proxy.delay(Duration::from_millis(20));
    let jobs: Vec<Serial> = (0..4)
        .map(|number| Serial::of(&format!("s{number}"), What::Done).part(&number.to_string()))
        .collect();
    for id in enqueue_all(&fleet.db, &jobs).await {
        let job = ends_as(&fleet.db, id, "completed").await;
        assert_eq!(job.rescues, 0);
    }
    fleet.is_sound().await;
    worker.shutdown().await;
    other.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_killed_sessions_of_the_server_lose_nothing() {
    let place = TestDb::new(Engine::Postgres).await;
    let db = &place.db;
    prepare(db).await;
    let world = Arc::new(World::default());
    let worker = start_with(&place.seen_from_outside().await, &world, short_lease()).await;
    let ids = enqueue_all(db, &held(20, &What::HoldThenDone)).await;
    until("all run", async || world.starts().len() == 20).await;
    for _ in 0..3 {
        place.kill_sessions();
        for number in 0..20 {
            world.let_go(&format!("w{number}"));
        }
    }
    for id in ids {
        let job = ends_as(db, id, "completed").await;
        assert_eq!((job.rescues, job.attempt), (0, 1));
    }
    assert_eq!(world.starts().len(), 20);
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_statement_of_a_job_that_the_database_did_not_answer_burns_no_attempt() {
    let place = TestDb::new(Engine::Postgres).await;
    let db = &place.db;
    prepare(db).await;
    let world = Arc::new(World::default());
    let worker = start_with(&place.seen_from_outside().await, &world, short_lease()).await;
    let id = enqueue(db, &Plain::of("a", What::HoldInsideThenWrite)).await.id();
    world.is_ready("a").await;
    place.kill_sessions();
    world.let_go("a");
    let job = ends_as(db, id, "completed").await;
    assert_eq!((job.attempt, job.rescues), (1, 0));
    assert_eq!(outcomes(db, id).await, ["snoozed", "completed"]);
    assert_eq!(marks(db).await, [("a".to_owned(), "written".to_owned())]);
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_server_that_crashes_and_starts_again_loses_nothing_and_nothing_runs_twice() {
    // Of its own: the others' tests go on.
    let cluster = Cluster::start(&Options::fast()).unwrap();
    cluster.create_database("crashing").unwrap();
    let location = Location::postgres(cluster.url("crashing"));
    let db = Db::open(&location).await.unwrap();
    prepare(&db).await;
    let world = Arc::new(World::default());
    let mut workers = Vec::new();
    for _ in 0..2 {
        workers.push(start_with(&Db::open(&location).await.unwrap(), &world, short_lease()).await);
    }
    let ids = enqueue_all(&db, &held(10, &What::Hold)).await;
    until("all run", async || world.starts().len() == 10).await;
    for how in [Shutdown::Immediate, Shutdown::Fast] {
        cluster.restart(how).unwrap();
        let key = format!("after {how:?}");
        enqueue(&db, &Wide::of(&key, What::Done)).await;
        world.started(&key, 1).await;
    }
    for (number, id) in ids.into_iter().enumerate() {
        world.let_go(&format!("w{number}"));
        let job = ends_as(&db, id, "completed").await;
        assert_eq!((job.rescues, job.attempt), (0, 1));
    }
    for worker in workers {
        worker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_jobs_that_hold_all_connections_cost_no_lease_and_the_others_wait_for_them() {
    let place = Place::new(Engine::Postgres).await;
    let Location::Postgres(mut server) = place.location.clone() else {
        unreachable!()
    };
    server.max_connections = 2;
    let db = Db::open(&place.location).await.unwrap();
    prepare(&db).await;
    let narrow = Db::open(&Location::Postgres(server)).await.unwrap();
    let world = Arc::new(World::default());
    let worker = start_with(&narrow, &world, short_lease()).await;
    let id = enqueue(&db, &Plain::of("a", What::Hold)).await.id();
    world.started("a", 1).await;
    let all = [narrow.begin().await.unwrap(), narrow.begin().await.unwrap()];
    world.let_go("a");
    let first = row(&db, id).await.lease_expires_at.unwrap();
    until("its lease was renewed twice", async || {
        row(&db, id).await.lease_expires_at.unwrap() > first + lease()
    })
    .await;
    assert_eq!(row(&db, id).await.state, "running");
    drop(all);
    let job = ends_as(&db, id, "completed").await;
    assert_eq!((job.rescues, job.attempt), (0, 1));
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_a_run_that_ends_without_any_sign_of_life_is_refused_once_another_worker_has_the_job() {
    let fleet = Fleet::new().await;
    // Short whatever else is: over before a process notices by itself that it is late with its heartbeat.
    let short = Duration::from_millis(1_200);
    // Its heartbeat never comes: what it does late is refused by the row alone.
    let deaf = WorkerSettings {
        heartbeat: Duration::from_mins(5),
        // Full with its one run, and freeing nobody's: it is the other that takes the job.
        concurrency: [("wide".to_owned(), 1)].into(),
        newcomer: Some(Duration::from_hours(1)),
        ..with_lease(short)
    };
    let frozen = fleet.worker(deaf).await;
    let id = enqueue(&fleet.db, &Wide::of("w0", What::HoldThenDone)).await.id();
    fleet.world.started("w0", 1).await;
    let other = start_with(&fleet.db, &fleet.world, with_lease(short)).await;
    fleet.world.started("w0", 2).await;
    fleet.world.let_go("w0");
    ends_as(&fleet.db, id, "completed").await;
    until("both runs have ended", async || frozen.is_idle() && other.is_idle()).await;
    assert_eq!(outcomes(&fleet.db, id).await, ["rescued", "completed"]);
    // The other's end was refused, or it was dropped as soon as the worker looked at the row.
    let results = fleet.world.results_of("w0");
    let counted = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(counted, 1, "{results:?}");
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok(()) | Err(JobError::LostLease | JobError::Cancelled))),
        "{results:?}"
    );
    let workers = inspect::attempts(&fleet.db, id).await.unwrap();
    assert_ne!(workers[0].worker, workers[1].worker);
    frozen.shutdown().await;
    other.shutdown().await;
}
