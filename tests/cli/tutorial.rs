//! The tutorial (`docs/tutorial`): every command that it shows, with the verdicts that it promises.

use std::{fs, path::Path};

use sqlx::{Connection as _, Executor as _, sqlite::SqliteConnectOptions};

use super::program::Program;
#[tokio::test]
async fn the_tutorial_ends_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tutorial");
    let program = Program::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, program.path().join(path.file_name().unwrap())).unwrap();
    }
    let playbook = fs::read_to_string(folder.join("restaurant.toml")).unwrap();
    assert!(playbook.lines().count() < 60, "{} lines", playbook.lines().count());

    let text = fs::read_to_string(folder.join("README.md")).unwrap();
    let commands: Vec<&str> = text
        .split("```sh\n")
        .skip(1)
        .flat_map(|block| block.split("```").next().unwrap().lines())
        .collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        if command == "sqlite3 restaurant.db < reservations.sql" {
            // The same without that program.
            let file = program.path().join("restaurant.db");
            let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
            let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
            let statements = fs::read_to_string(folder.join("reservations.sql")).unwrap();
            connection
                .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(statements)))
                .await
                .unwrap();
            connection.close().await.unwrap();
            continue;
        }
        let arguments: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(arguments[0], "aftercall", "{command}");
        let ran = program.run(&arguments[1..]).exits(0);
        println!("$ {command}\n{}", ran.stdout);
    }

    let sessions = program.run(&["sessions", "--json"]).exits(0).json();
    let verdict = |id: &str| {
        let lines = sessions["sessions"].as_array().unwrap();
        let line = lines.iter().find(|line| line["session_id"] == id).unwrap();
        let verdict = &line["verdict"];
        format!(
            "{} {}",
            line["status"].as_str().unwrap(),
            verdict["reason"].as_str().unwrap()
        )
    };
    for (id, expected) in [
        ("call-1", "pass all_confirmed"),
        ("call-2", "fail said_done_not_there"),
        ("call-3", "fail fields_wrong"),
        ("call-4", "pass all_confirmed"),
    ] {
        assert_eq!(verdict(id), expected, "{id}");
    }
}
