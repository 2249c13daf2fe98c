//! The help of every command, as it was printed last: it is part of what users hold on to.
//!
//! `INSTA_UPDATE=always cargo test --test main cli::help` takes over what changed.

use std::collections::BTreeSet;

use aftercall::cli::Cli;
use clap::{Command, CommandFactory as _};

use super::program::Program;

/// The words of each command and of each group of commands.
fn all() -> Vec<Vec<String>> {
    fn below(command: &Command, words: &[String], all: &mut Vec<Vec<String>>) {
        all.push(words.to_vec());
        for inner in command.get_subcommands() {
            let words = [words, &[inner.get_name().to_owned()]].concat();
            below(inner, &words, all);
        }
    }
    let mut all = Vec::new();
    below(&Cli::command(), &[], &mut all);
    all
}

fn name(words: &[String]) -> String {
    [&["aftercall".to_owned()], words].concat().join("_")
}

/// A help without the options of all commands, and those: up to the next line that begins at its left edge.
fn without_what_is_everywhere(help: &str) -> (String, String) {
    let (own, rest) = help.split_once("Everywhere:\n").unwrap();
    let is_of_it = |line: &&str| line.is_empty() || line.starts_with(' ');
    let shared: Vec<&str> = rest.lines().take_while(is_of_it).collect();
    let after: Vec<&str> = rest.lines().skip(shared.len()).collect();
    let own = format!("{own}{}", after.join("\n"));
    (own.trim_end().to_owned(), shared.join("\n").trim_end().to_owned())
}

#[test]
fn every_command_explains_itself_as_it_did_last() {
    let program = Program::new();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots/help");
    let commands = all();
    assert!(commands.len() > 40, "{commands:?}");
    let mut everywhere = BTreeSet::new();
    settings.bind(|| {
        for words in &commands {
            let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
            arguments.push("--help");
            let help = program.run(&arguments).exits(0).stdout;
            assert!(!help.contains('\u{1b}'), "colours in a pipe: {words:?}");
            let widest = help.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(110), "{words:?} is {widest:?} wide");
            // What is the same everywhere is kept once, with the program itself.
            let (own, shared) = without_what_is_everywhere(&help);
            everywhere.insert(shared);
            insta::assert_snapshot!(name(words), if words.is_empty() { help } else { own });
        }
    });
    // In short lines, or in blocks where a command has more to say.
    assert!(everywhere.len() <= 2, "{everywhere:#?}");
}

#[test]
fn no_help_is_kept_of_a_command_that_is_gone() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/snapshots/help");
    let kept: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|file| Some(file.strip_suffix(".snap")?.to_owned()))
        .collect();
    let commands: BTreeSet<String> = all().iter().map(|words| name(words)).collect();
    assert_eq!(kept, commands);
}
