//! `aftercall bench queue` in small. Ratios only: how fast anything is, is the machine's business.

use std::time::Duration;

use aftercall::{
    bench::queue::{self, Database, Plan, What},
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
        // A limit costs statements once for a claim, not once for a job. Of the times the best rounds are compared: the machine
        // may have had other things to do in any of them.
        let best = |what| {
            let rounds = report
                .throughput
                .iter()
                .filter(|line| line.database == database && line.what == what)
                .flat_map(|line| line.rounds.iter().copied());
            rounds.max_by(f64::total_cmp).unwrap()
        };
        let cost = best(What::Alone) / best(What::AloneLimited);
        assert!(
            cost <= 1.5,
            "{database:?}: a limit that does not bind costs {cost:.2} times"
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
