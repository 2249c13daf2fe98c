//! `aftercall bench queue` in small. Ratios only: how fast anything is, is the machine's business.

use std::time::Duration;

use aftercall::{
    bench::{
        inspect,
        queue::{self, Database, Plan, What},
    },
    sandbox::postgres::{Cluster, Options},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_bench_runs_every_case_and_a_claim_reads_no_more_beside_many_rows_than_beside_few() {
    let cluster = Cluster::start(&Options::fast()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan {
        postgres: Some(cluster.url("postgres")),
        pgbench: Some(cluster.pgbench().unwrap()),
        peers: Some(directory.path().join("not-built")),
        jobs: 200,
        rounds: 3,
        pickups: 20,
        rows: (500, 5_000),
        claims: 100,
        pinned: Duration::from_secs(1),
        idle: Duration::from_millis(500),
        settle: Duration::from_millis(200),
    };
    // It fails by itself when a job was not run exactly once.
    let report = queue::run(directory.path(), &plan).await.unwrap();

    for database in [Database::Postgres, Database::Sqlite] {
        for what in [
            What::ByHand,
            What::ByHandTogether,
            What::Transaction,
            What::Alone,
            What::AloneLimited,
            What::Together,
            What::TogetherLimited,
        ] {
            let lines = report
                .throughput
                .iter()
                .filter(|line| line.database == database && line.what == what);
            let rounds: Vec<usize> = lines.map(|line| line.rounds.len()).collect();
            assert_eq!(rounds, [3], "{database:?} {what:?}");
        }
        // A limit costs statements once for a claim, not once for a job.
        let statements = |what| {
            let mut lines = report.throughput.iter();
            let line = lines.find(|line| line.database == database && line.what == what);
            line.unwrap().statements_per_job.unwrap()
        };
        let (without, with) = (statements(What::Alone), statements(What::AloneLimited));
        println!("{database:?}: {without:.2} statements a job, {with:.2} with a limit");
        assert!(
            with <= without + 0.75,
            "{database:?}: {without:.2} statements a job, and {with:.2} with a limit that does not bind"
        );
    }
    let read: Vec<f64> = report.bounded.iter().filter_map(|bounded| bounded.rows_read).collect();
    assert_eq!(read.len(), 2);
    assert!(
        read[1] <= read[0] * 2.0,
        "rows read for each job, beside few and many: {read:?}"
    );
    assert!(report.pinned.is_some_and(|pinned| pinned.named));
    assert_eq!(report.pickup.len(), 4);
    assert!(report.peers.not_measured.is_some_and(|why| why.contains("cargo build")));
    let ours = report
        .goals
        .iter()
        .filter(|goal| !goal.what.contains("of apalis") && !goal.what.contains("other queue"));
    assert!(ours.clone().count() >= 20 && ours.clone().all(|goal| goal.is_met().is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_are_asked_about_and_run_again_with_counters_that_are_right() {
    let cluster = Cluster::start(&Options::fast()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let plan = inspect::Plan {
        postgres: Some(cluster.url("postgres")),
        jobs: 2_000,
        retry: 500,
        repetitions: 2,
        pickups: 20,
        settle: Duration::from_millis(200),
    };
    // It fails by itself when a counter is wrong, a question has no answer, or a job was not run again.
    let report = inspect::run(directory.path(), &plan).await.unwrap();
    for database in [Database::Postgres, Database::Sqlite] {
        let looks = report.looks.iter().filter(|look| look.database == database);
        let asked: Vec<&str> = looks.clone().map(|look| look.what.as_str()).collect();
        assert!(asked.contains(&"queues"), "{asked:?}");
        for (kind, least) in [("jobs list: ", 14), ("why bench_", 4), ("why the last job of ", 4)] {
            let of_kind = asked.iter().filter(|what| what.starts_with(kind)).count();
            assert!(of_kind >= least, "{kind}: {asked:?}");
        }
        assert!(looks.clone().all(|look| look.ms.count == 2 && look.ms.p50 > 0.0));
        let retried = report.retried.iter().filter(|retried| retried.database == database);
        let jobs: Vec<u64> = retried.map(|retried| retried.jobs).collect();
        assert_eq!(jobs, [500], "{database:?}");
    }
    let refused = inspect::run(directory.path(), &inspect::Plan { retry: 2_001, ..plan }).await;
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("--retry is at most --jobs"), "{words}");
}
