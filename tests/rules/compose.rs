//! The containers: what `docker-compose.yml`, the `Dockerfile` and the demo's files say fits together, and fits the program.

use std::fs;

use aftercall::{
    cli::Cli,
    config::{self, Overrides, QueueConfig, duration},
};
use clap::Parser as _;

use crate::support::compose::{Compose, Variables, root, variables};

fn compose() -> Compose {
    Compose::read(&variables("demo/compose.env")).unwrap_or_else(|missing| panic!("{missing}"))
}

fn dockerfile() -> String {
    fs::read_to_string(root().join("Dockerfile")).unwrap()
}

#[test]
fn a_fleet_starts_only_with_a_password() {
    let missing = Compose::read(&Variables::new()).err().unwrap();
    assert!(missing.starts_with("DATABASE_PASSWORD: write"), "{missing}");
    let given = Variables::from([("DATABASE_PASSWORD".to_owned(), "x".to_owned())]);
    let compose = Compose::read(&given).unwrap_or_else(|missing| panic!("{missing}"));
    let worker = compose.service("worker");
    assert_eq!(worker.environment()["DATABASE_PASSWORD"], "x");
    assert_eq!(worker.volumes(), ["./config:/config:ro"]);
}

#[test]
fn every_command_of_the_containers_is_one_that_the_program_takes() {
    let compose = compose();
    let mut ours = 0;
    for service in compose.services() {
        let check = service.check().filter(|check| check[0] == "aftercall");
        let command = ["aftercall".to_owned()].into_iter().chain(service.command()).collect();
        for given in [service.is_ours().then_some(command), check].into_iter().flatten() {
            ours += 1;
            let parsed = Cli::try_parse_from(&given);
            assert!(parsed.is_ok(), "{}: {given:?}: {}", service.name, parsed.unwrap_err());
        }
    }
    assert!(ours >= 9, "{ours}");
}

#[test]
fn a_service_waits_only_for_what_will_be_there() {
    let compose = compose();
    for service in compose.services() {
        for (name, condition) in service.depends_on() {
            let needed = compose.service(name);
            assert_eq!(needed.profiles(), [""; 0], "{name} may not be started");
            match condition {
                "service_healthy" => assert!(needed.check().is_some(), "{name} does not say how it is"),
                "service_completed_successfully" => {
                    assert_eq!(needed.get("restart"), "no", "{name} never completes");
                }
                other => panic!("{}: {other}", service.name),
            }
        }
        for volume in service.volumes() {
            let (source, _) = volume.split_once(':').unwrap();
            assert!(source.starts_with("./") || compose.has_volume(source), "{volume}");
        }
    }
    let fleet = ["scheduler", "worker", "api"];
    for name in fleet {
        let waits = compose.service(name).depends_on();
        assert_eq!(waits, [("migrate", "service_completed_successfully")], "{name}");
    }
}

#[test]
fn every_service_can_be_scaled_and_says_how_it_is() {
    let grace = QueueConfig::default().grace;
    for service in compose().services() {
        assert!(service.get("container_name").is_null(), "{}", service.name);
        for port in service.get("ports").as_array().into_iter().flatten() {
            let port = port.as_str().unwrap();
            let [host, published, _] = port.split(':').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!((host, published), ("127.0.0.1", ""), "{}: {port}", service.name);
        }
        let is_process = service.get("restart") == "unless-stopped";
        assert_eq!(is_process, service.check().is_some(), "{}", service.name);
        if service.is_ours() {
            let patience = duration::parse(service.get("stop_grace_period").as_str().unwrap()).unwrap();
            assert!(
                patience > grace,
                "{}: jobs would be killed while they end",
                service.name
            );
        }
    }
}

#[test]
fn secrets_are_given_to_who_needs_them_and_stand_nowhere() {
    let compose = compose();
    for service in compose.services() {
        assert_eq!(
            service.env_files().is_empty(),
            service.name != "worker",
            "{}",
            service.name
        );
    }
    let [(file, required)] = compose.service("worker").env_files()[..] else {
        panic!("one file of secrets")
    };
    assert_eq!((file, required), ("./demo/secrets.env", false));
    let text = fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    for line in text.lines().filter(|line| line.contains("PASSWORD:")) {
        assert!(line.contains("${") || line.contains("env:"), "{line}");
    }
}

#[test]
fn the_demos_configuration_is_whole() {
    let secrets = variables("demo/secrets.env");
    let file = root().join("demo/aftercall.toml");
    let config = config::load(Some(&file), &|name| secrets.get(name).cloned(), Overrides::default())
        .unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.sources.len(), 2);
    for service in [
        "demo:8080/langfuse\"",
        "demo:8080/langfuse-older\"",
        "demo:8080/llm/v1\"",
    ] {
        assert!(fs::read_to_string(&file).unwrap().contains(service), "{service}");
    }
}

#[test]
fn the_conformance_suite_runs_on_every_supported_version() {
    let compose = compose();
    for version in 14..=18_u32 {
        let service = compose.service(&format!("postgres-{version}"));
        assert_eq!(service.profiles(), ["matrix"]);
        let build = service.get("build");
        assert_eq!(build["args"]["POSTGRES"], version.to_string());
        assert_eq!(build["target"], "conformance");
        let command = service.command();
        assert!(root().join(&command[0]).is_file(), "{command:?}");
    }
}

#[test]
fn the_image_is_built_from_what_there_is_and_runs_as_nobody_in_particular() {
    let dockerfile = dockerfile();
    let mut stages: Vec<&str> = Vec::new();
    for line in dockerfile.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["FROM", _, "AS", stage] => stages.push(stage),
            ["COPY", from, .., _] if from.starts_with("--from=") => {
                assert!(stages.contains(&from.trim_start_matches("--from=")), "{line}");
            }
            ["COPY", sources @ .., _] => {
                for source in sources {
                    assert!(root().join(source).exists(), "{line}");
                }
            }
            _ => {}
        }
    }
    for service in compose().services() {
        if let Some(target) = service.get("build")["target"].as_str() {
            assert!(stages.contains(&target), "{}: {target}", service.name);
        }
    }
    let (_, image) = dockerfile.rsplit_once("\nFROM ").unwrap();
    for needed in [
        "USER aftercall",
        "ENTRYPOINT [\"aftercall\"]",
        "ca-certificates.crt",
        "STOPSIGNAL SIGTERM",
    ] {
        assert!(image.contains(needed), "{needed}");
    }
    let ignored = fs::read_to_string(root().join(".dockerignore")).unwrap();
    for private in [".git", "**/target", "config", ".env"] {
        assert!(ignored.lines().any(|line| line == private), "{private}");
    }
}
