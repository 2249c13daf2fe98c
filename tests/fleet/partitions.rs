//! A partition with a hundred thousand jobs before its limit does not delay another one.

use std::{sync::Arc, time::Duration};

use aftercall::{
    params,
    queue::{Running, WorkerSettings, inspect},
};
use tokio::time::Instant;

use crate::{
    queue::world::{Probe as _, Serial, What, World, enqueue, prepare, settings, start_with},
    support::{Engine, TestDb},
};

/// A worker on a database of its own, whose partition `full` has its one job.
struct Side {
    database: TestDb,
    world: Arc<World>,
    running: Running,
    waits: Vec<Duration>,
}

impl Side {
    async fn start() -> Self {
        let database = TestDb::new(Engine::Postgres).await;
        let db = &database.db;
        prepare(db).await;
        let world = Arc::new(World::default());
        let settings = WorkerSettings {
            poll: None,
            ..settings()
        };
        let running = start_with(db, &world, settings).await;
        enqueue(db, &Serial::of("holder", What::Hold).part("full")).await;
        world.started("holder", 1).await;
        Self {
            database,
            world,
            running,
            waits: Vec::new(),
        }
    }

    /// Notes how long a job of the other partition waits.
    async fn ask(&mut self) {
        let key = format!("free-{}", self.waits.len());
        let asked = Instant::now();
        enqueue(&self.database.db, &Serial::of(&key, What::Done).part("free")).await;
        self.world.started(&key, 1).await;
        self.waits.push(asked.elapsed());
    }

    fn p95(&mut self) -> Duration {
        self.waits.sort();
        self.waits[self.waits.len() * 95 / 100]
    }

    async fn end(self) {
        self.world.let_go("holder");
        self.running.abort().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_a_hundred_thousand_jobs_before_a_limit_do_not_delay_another_partition() {
    let (mut idle, mut busy) = (Side::start().await, Side::start().await);
    let db = busy.database.db.clone();
    let mut tx = db.begin().await.unwrap();
    let now = tx.now().await.unwrap();
    let args = serde_json::to_value(Serial::of("many", What::Done).part("full")).unwrap();
    tx.execute(
        "-- many
         INSERT INTO jobs (id, queue, partition, limit_key, args, state, run_at, max_attempts, created_at)
         SELECT aftercall_uuid(), 'serial', 'full', 'serial/full', $1, 'available', $2::timestamptz, 8, $2::timestamptz
         FROM generate_series(1, 100000)",
        &params![args, now],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    // By turns: whatever else this machine does at the moment is in both.
    for _ in 0..60 {
        idle.ask().await;
        busy.ask().await;
    }

    println!(
        "pick-up p95: {:?} idle, {:?} beside 100,000 waiting",
        idle.p95(),
        busy.p95()
    );
    // What two cores do beside us is not the queue's doing.
    let floor = Duration::from_millis(15);
    assert!(
        busy.p95() <= 2 * idle.p95().max(floor),
        "{:?} beside {:?}",
        busy.p95(),
        idle.p95()
    );
    let row = inspect::queue_depths(&db).await.unwrap();
    let depth = row.iter().find(|depth| depth.queue == "serial").unwrap();
    assert_eq!(depth.by_state.get("available"), Some(&100_000));
    idle.end().await;
    busy.end().await;
}
