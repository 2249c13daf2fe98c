//! Every command that the documents show is one that the program takes.

use std::fs;

use aftercall::cli::Cli;
use clap::{Parser as _, error::ErrorKind};

use super::source::root;

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "docs/operations.md",
    "docs/playbooks.md",
    "docs/readings.md",
    "docs/prometheus/alerts.yml",
    "docker-compose.yml",
    "Dockerfile",
];

/// The words of a line as a shell would see them, up to a comment or another command; `None` where it goes on in a way of the
/// shell's that is not read here.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (_, Some(open)) if letter == open => quote = None,
            ('#', None) if words.last().is_some_and(String::is_empty) => break,
            ('&' | ';' | '|' | '>', None) => break,
            (' ', None) => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// From `aftercall` on, where a line has it as a word.
fn commands(text: &str) -> Vec<String> {
    let text = text
        .replace("\\\n", " ")
        .replace("cargo run --release -- ", "aftercall ");
    let mut found = Vec::new();
    for line in text.lines() {
        let starts = line.match_indices("aftercall ").map(|(start, _)| start);
        for start in starts {
            let before = line[..start].trim_end();
            let is_first = before.is_empty() || before.ends_with(['`', '#', '&']) || before.ends_with("exec worker");
            if !is_first {
                continue;
            }
            let rest = &line[start..];
            found.push(rest.split('`').next().unwrap_or(rest).to_owned());
        }
    }
    found
}

#[test]
fn every_command_that_is_shown_is_taken() {
    let mut seen = 0;
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for command in commands(&text) {
            // `NAME[=N]`, `…`: a pattern and no command.
            if command.contains(['…', '[']) {
                continue;
            }
            let mut words = words(&command);
            for word in &mut words {
                match word.as_str() {
                    "JOB" => "01a21481-1315-70a7-8e7d-6802d688d648".clone_into(word),
                    "ADDRESS:PORT" => "127.0.0.1:7700".clone_into(word),
                    _ => {}
                }
            }
            let parsed = Cli::try_parse_from(&words);
            // `aftercall limit` in the middle of a sentence names the command.
            let is_name = words.len() == 2 && !command.starts_with("aftercall -");
            let fits = parsed.as_ref().err().is_none_or(|error| {
                is_name
                    && matches!(
                        error.kind(),
                        ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                    )
            });
            assert!(fits, "{document}: {command}: {}", parsed.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn words_are_read_as_a_shell_reads_them() {
    assert_eq!(
        words("aftercall pause x --reason \"a b\" && aftercall y  # why"),
        ["aftercall", "pause", "x", "--reason", "a b"]
    );
    let found = commands("`aftercall gate list`; says aftercall does\naftercall a \\\n  b\nx && aftercall c");
    assert_eq!(found, ["aftercall gate list", "aftercall a    b", "aftercall c"]);
}
