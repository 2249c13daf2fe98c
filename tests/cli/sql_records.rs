//! A `[[records]]` of kind `sql` from the command line: what is checked, what `doctor` says, and that no secret is printed.

use crate::support::{
    bakery::ordered,
    shop::{Kind, Shop},
};

use super::program::Program;

const SECRET: &str = "password-5e1d & co";

const CONFIG: &str = r#"
[[source]]
name = "calls"
path = "calls.jsonl"
playbook = "./bakery.toml"
[[records]]
name = "kitchen"
kind = "sql"
url = "env:KITCHEN_URL"
pace = "0s"
[[records]]
name = "till"
base_url = "http://127.0.0.1:9"
"#;

fn bakery(statement: &str) -> Program {
    let program = Program::new();
    let path = "path = \"/{{ session }}/orders/{{ id }}\"";
    let playbook = include_str!("../support/bakery.toml").replace(path, &format!("sql = \"{statement}\""));
    program.write("bakery.toml", &playbook);
    program.write("calls.jsonl", &ordered("s-1").lines());
    program.write("aftercall.toml", CONFIG);
    program
}

fn kitchen(kind: Kind) -> Shop {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let shop = Shop::empty(kind).await;
        shop.run("CREATE TABLE orders (id VARCHAR(40), cake VARCHAR(40)); INSERT INTO orders VALUES ('o-s-1', 'plum')")
            .await;
        shop
    })
}

#[test]
fn an_order_is_confirmed_in_a_database_and_its_password_is_printed_nowhere() {
    let shop = kitchen(Kind::Postgres);
    let encoded = "password-5e1d%20%26%20co";
    let url = shop.url().replace("postgres@", &format!("postgres:{encoded}@"));
    let secrets = [("KITCHEN_URL", url.as_str())];
    let program = bakery("SELECT id, cake FROM orders WHERE id = :id AND :session <> ''");
    let checked = program.run_with(&["check"], &secrets).exits(0);
    let doctor = program.run_with(&["doctor"], &secrets);
    for says in [
        "it answers: PostgreSQL",
        "its role may write, it is a superuser",
        "number of these: 1",
    ] {
        assert!(doctor.stdout.contains(says), "{says} is not in\n{}", doctor.stdout);
    }
    let ran = program.run_with(
        &["run", "-vvv", "--until-idle", "--max-wait", "60s", "--json"],
        &secrets,
    );
    let ran = ran.exits(0).assert_safe();
    let shown = program.run_with(&["show", "s-1", "--json"], &secrets).exits(0);
    assert!(shown.stdout.contains("\"pass\""), "{}", shown.stdout);
    assert!(shown.stdout.contains("WHERE id = :id"), "{}", shown.stdout);
    for ran in [&checked, &doctor, &ran, &shown] {
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains(SECRET) && !text.contains(encoded), "{text}");
        }
    }
}

#[test]
fn doctor_names_a_statement_that_the_database_does_not_take_and_one_that_is_down() {
    let shop = kitchen(Kind::Sqlite);
    let program = bakery("SELECT id, cakke FROM orders WHERE id = :id");
    let doctor = program.run_with(&["doctor"], &[("KITCHEN_URL", &shop.url())]);
    for says in [
        "opened for reading only",
        "lookup.sql of `order`",
        "no such column: cakke",
    ] {
        assert!(doctor.stdout.contains(says), "{says} is not in\n{}", doctor.stdout);
    }
    let url = format!("mysql://reader:{}@127.0.0.1:9/kitchen", "password-5e1d");
    let doctor = program.run_with(&["doctor"], &[("KITCHEN_URL", &url)]).exits(1);
    assert!(
        doctor.stdout.contains("no connection: connection refused"),
        "{}",
        doctor.stdout
    );
    assert!(!doctor.stdout.contains("password-5e1d"), "{}", doctor.stdout);
}

#[test]
fn check_names_an_address_that_would_make_a_database_and_a_statement_that_its_database_reads_otherwise() {
    for (url, statement, says) in [
        (
            "sqlite:kitchen.db?mode=rwc",
            "SELECT id, cake FROM orders WHERE id = :id",
            "does not exist yet is a mistake",
        ),
        (
            "sqlite::memory:",
            "SELECT id, cake FROM orders WHERE id = :id",
            "name the file that holds them",
        ),
        (
            "sqlite:kitchen.db",
            "SELECT id, [a?b] AS cake FROM orders WHERE id = :id",
            "quotes a name in SQLite",
        ),
        (
            "mysql://h/db",
            "SELECT id, cake FROM orders WHERE id = :id # it",
            "begins a comment in MySQL",
        ),
        (
            "postgres://h/db",
            "SELECT id, `cake` FROM orders WHERE id = :id",
            "quotes no name in PostgreSQL",
        ),
        (
            "postgres://h/db",
            "SELECT id, cake FROM orders WHERE id = :id; DELETE FROM orders",
            "several statements",
        ),
    ] {
        let checked = bakery(statement).run_with(&["check"], &[("KITCHEN_URL", url)]).exits(1);
        assert!(
            checked.stdout.contains(says),
            "{url}: {says} is not in\n{}",
            checked.stdout
        );
        if url.contains("mode") || url.contains("memory") {
            let place = "aftercall.toml:9: records.kitchen.url: ";
            assert!(checked.stdout.contains(place), "{}", checked.stdout);
        }
    }
}
