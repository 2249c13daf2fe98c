use std::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::*;

/// A table with one row, which a database is known by.
fn mark(cluster: &Cluster, database: &str, text: &str) {
    let sql = format!("CREATE TABLE mark AS SELECT '{text}'::text AS text");
    cluster.psql(database, &sql).unwrap();
}

fn mark_of(cluster: &Cluster, database: &str) -> Result<String, ClusterError> {
    cluster.psql(database, "SELECT text FROM mark")
}

#[test]
fn it_is_as_asked_and_nothing_of_it_stays() {
    let began = Instant::now();
    let options = Options::fast().set("application_name", "it's mine");
    let cluster = Cluster::start(&options).unwrap();
    println!("a cluster starts in {:?}", began.elapsed());

    let settings = "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN
        ('fsync', 'full_page_writes', 'listen_addresses', 'max_connections', 'server_encoding', 'synchronous_commit')";
    assert_eq!(
        cluster.psql("postgres", settings).unwrap(),
        "off off 127.0.0.1 300 UTF8 on"
    );
    assert_ne!(cluster.port(), 5432);
    assert!(
        cluster.folder().join(format!(".s.PGSQL.{}", cluster.port())).exists(),
        "its socket is there, too"
    );
    assert!(
        cluster.log().contains("ready to accept connections"),
        "{}",
        cluster.log()
    );

    let (folder, address) = (cluster.folder().to_owned(), cluster.address());
    drop(cluster);
    assert!(!folder.exists());
    TcpStream::connect(address).unwrap_err();
}

#[test]
fn what_was_committed_is_there_after_a_crash_of_the_server() {
    let cluster = Cluster::start(&Options::fast()).unwrap();
    let port = cluster.port();
    for (how, name) in [(Shutdown::Fast, "fast"), (Shutdown::Immediate, "immediate")] {
        cluster.create_database(name).unwrap();
        mark(&cluster, name, name);
        cluster.stop(how).unwrap();
        TcpStream::connect(cluster.address()).unwrap_err();
        assert!(matches!(mark_of(&cluster, name), Err(ClusterError::Sql(_))));
        assert!(matches!(cluster.stop(how), Err(ClusterError::Failed { .. })));
        cluster.start_again().unwrap();
        assert_eq!(mark_of(&cluster, name).unwrap(), name);
        cluster.restart(how).unwrap();
        assert_eq!(mark_of(&cluster, name).unwrap(), name);
        assert_eq!(cluster.port(), port);
    }
}

#[test]
fn a_server_that_does_not_start_says_why_and_nothing_of_it_stays() {
    let folders = || {
        let entries = std::fs::read_dir(Options::fast().place()).unwrap();
        let ours = entries.filter(|entry| {
            let entry = entry.as_ref().unwrap();
            std::fs::read_to_string(entry.path().join("data/postgresql.conf"))
                .is_ok_and(|text| text.contains("no_such"))
        });
        ours.count()
    };
    let error = Cluster::start(&Options::fast().set("no_such_setting", "1")).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("cannot start the PostgreSQL server"), "{error}");
    assert!(
        error.contains("unrecognized configuration parameter \"no_such_setting\""),
        "{error}"
    );
    assert_eq!(folders(), 0);
}

#[test]
fn a_port_that_another_took_is_passed_over() {
    let programs = Programs::find().unwrap();
    let options = Options::fast();
    let folder = fresh_folder(&options);
    let mut keeper = Keeper::start(&folder, &programs, &options.file()).unwrap();
    keeper.ask("make", "").unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    keeper.ask("start", &port).unwrap_err();
    assert!(log(&folder).contains("could not bind"), "{}", log(&folder));
    Cluster::first_start(&mut keeper, &folder).unwrap();
}

#[test]
fn databases_are_made_copied_and_dropped() {
    let cluster = Cluster::shared().unwrap();
    let [one, copy] = [cluster.fresh_database().unwrap(), cluster.fresh_database().unwrap()];
    assert_ne!(one.name(), copy.name());
    mark(cluster, one.name(), "here");
    mark_of(cluster, copy.name()).unwrap_err();

    cluster.create_database("original").unwrap();
    mark(cluster, "original", "the original");
    cluster.create_database_from("original", "a_copy").unwrap();
    assert_eq!(mark_of(cluster, "a_copy").unwrap(), "the original");
    cluster.create_database("original").unwrap_err();

    let name = one.name().to_owned();
    drop(one);
    let error = mark_of(cluster, &name).unwrap_err().to_string();
    assert!(error.contains("does not exist"), "{error}");
    for bad in ["", "Upper", "a-b", "a;b", "1a", "a b", &"a".repeat(64)] {
        assert!(
            matches!(cluster.create_database(bad), Err(ClusterError::Name(_))),
            "{bad}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_is_filled_once_and_a_failure_is_tried_again() {
    let cluster = Cluster::shared().unwrap();
    let failed: Result<(), ClusterError> = cluster
        .template("filled", async |_| Err(ClusterError::Sql("not now".to_owned())))
        .await;
    assert_eq!(failed.unwrap_err().to_string(), "not now");
    let url = cluster.url("filled");
    let fill = async |given: &str| {
        assert_eq!(given, url);
        mark(cluster, "filled", "once");
        Ok::<(), ClusterError>(())
    };
    let (one, other) = tokio::join!(cluster.template("filled", fill), cluster.template("filled", fill));
    one.unwrap();
    other.unwrap();
    mark_of(cluster, "filled").unwrap_err(); // nobody can connect to it

    let began = Instant::now();
    let copies: Vec<FreshDatabase> = (0..10)
        .map(|_| cluster.fresh_database_from("filled").unwrap())
        .collect();
    println!("a database from a template takes {:?}", began.elapsed() / 10);
    for copy in &copies {
        assert_eq!(mark_of(cluster, copy.name()).unwrap(), "once");
    }
}

#[test]
fn connections_are_ended_and_only_those_of_the_database() {
    let cluster = Cluster::shared().unwrap();
    let [one, other] = [cluster.fresh_database().unwrap(), cluster.fresh_database().unwrap()];
    let connected = |count: &str| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname IN ('{}', '{}')",
            one.name(),
            other.name()
        );
        while cluster.psql("postgres", &sql).unwrap() != count {}
    };
    let sleep = |database: &FreshDatabase| {
        Command::new(cluster.programs.path("psql"))
            .args(["-X", "-d", &database.url(), "-c", "SELECT pg_sleep(600)"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let (mut here, mut there) = (sleep(&one), sleep(&other));
    connected("2");
    assert_eq!(cluster.kill_backends(one.name()).unwrap(), 1);
    assert!(!here.wait().unwrap().success());
    connected("1");
    assert_eq!(cluster.kill_backends(one.name()).unwrap(), 0);
    assert!(there.try_wait().unwrap().is_none());
    drop(other);
    assert!(!there.wait().unwrap().success());
}

#[test]
fn the_servers_benchmark_is_found() {
    let cluster = Cluster::shared().unwrap();
    assert!(cluster.pgbench().unwrap().is_file());
}
