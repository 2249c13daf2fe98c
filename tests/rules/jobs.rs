//! Job names are stored in rows: never renamed, only retired. Every job file is registered.

use super::source::rust_files;

/// Names that rows may hold. Append; never change or remove one.
const NAMES: [&str; 8] = [
    "discover_sessions",
    "analyze_session",
    "verify_session",
    "diagnose_session",
    "evaluate_alerts",
    "reconcile",
    "prune_history",
    "apply_operation",
];

fn name_in(code: &str) -> Option<&str> {
    let (_, rest) = code.split_once("const NAME: &'static str = \"")?;
    rest.split('"').next()
}

#[test]
fn the_list_of_job_names_is_frozen() {
    let registered: Vec<String> = aftercall::jobs::registry()
        .names()
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut sorted = registered.clone();
    sorted.sort();
    let mut frozen = NAMES.map(str::to_owned).to_vec();
    frozen.sort();
    assert_eq!(sorted, frozen);
}

#[test]
fn every_job_is_named_by_its_file() {
    let mut names = Vec::new();
    for file in rust_files("jobs") {
        let Some(name) = name_in(&file.code) else { continue };
        let stem = file
            .path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
            .to_owned();
        assert!(
            stem == name || file.path.contains(&format!("/{name}/")),
            "{} holds the job {name}",
            file.path
        );
        names.push(name.to_owned());
    }
    names.sort();
    let mut frozen = NAMES.map(str::to_owned).to_vec();
    frozen.sort();
    assert_eq!(names, frozen);
}
