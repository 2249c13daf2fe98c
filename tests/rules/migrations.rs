//! Migrations: every number in every folder, in order, none twice.

use std::{collections::BTreeSet, fs};

use super::source::root;

/// Numbers of the migrations in a folder.
fn numbers(folder: &str) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(root().join("migrations").join(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let (number, _) = name
            .split_once('_')
            .unwrap_or_else(|| panic!("{folder}/{name}: NNNN_what.sql"));
        assert_eq!(number.len(), 4, "{folder}/{name}: four digits");
        assert!(
            numbers.insert(number.parse().unwrap()),
            "{folder}/{name}: this number is there twice"
        );
    }
    numbers
}

#[test]
fn every_migration_exists_for_every_database() {
    let mut folders: Vec<String> = Vec::new();
    for entry in fs::read_dir(root().join("migrations")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            folders.push(entry.file_name().into_string().unwrap());
        }
    }
    folders.sort();
    assert!(folders.contains(&"sqlite".to_owned()), "{folders:?}");
    let first = numbers(&folders[0]);
    let expected: BTreeSet<u32> = (1..=u32::try_from(first.len()).unwrap()).collect();
    assert_eq!(first, expected, "{}: numbers follow each other", folders[0]);
    for folder in &folders[1..] {
        assert_eq!(numbers(folder), first, "{folder} and {} differ", folders[0]);
    }
}
