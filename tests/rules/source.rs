//! The project's own Rust files, as text.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file below the project's folder.
pub(super) struct SourceFile {
    /// From the project's folder, with `/`: `src/queue/claim.rs`.
    pub(super) path: String,
    /// Its text up to the tests beside the code, without comments.
    pub(super) code: String,
}

/// The project's folder.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files of a folder, tests beside the code left out.
pub(super) fn rust_files(folder: &str) -> Vec<SourceFile> {
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    assert!(!files.is_empty(), "{folder} holds no Rust file");
    files
}

fn collect(folder: &Path, files: &mut Vec<SourceFile>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            // A folder of tests beside the code is left out like a file of them.
            if path.file_name().unwrap() != "tests" {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") && path.file_name().unwrap() != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            files.push(SourceFile {
                path,
                code: code_of(&text),
            });
        }
    }
}

/// Everything before the tests, without comment lines.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<&str>>().join("\n")
}

impl SourceFile {
    /// The room of a file: `queue` for `src/queue/claim.rs`, `env` for `src/env.rs`, `jobs` for `jobs/reconcile.rs`.
    pub(super) fn room(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Rooms of this crate that the file names: `crate::queue::…`, and `crate::{queue::…, db}`.
    pub(super) fn rooms_named(&self) -> Vec<String> {
        let mut rooms = Vec::new();
        for (start, _) in self.code.match_indices("crate::") {
            let before = self.code[..start].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
                continue;
            }
            let rest = &self.code[start + "crate::".len()..];
            match rest.strip_prefix('{') {
                None => rooms.push(word(rest)),
                Some(group) => rooms.extend(first_words(group)),
            }
        }
        rooms.sort();
        rooms.dedup();
        rooms
    }
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect()
}

/// The first word of each item of a `{a::{…}, b}` group, up to its closing brace.
fn first_words(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut item = String::new();
    let mut words = Vec::new();
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => words.push(word(std::mem::take(&mut item).trim())),
            _ => {}
        }
        if depth == 0 && letter != ',' {
            item.push(letter);
        }
    }
    words.push(word(item.trim()));
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn rooms_are_read_from_single_and_grouped_uses() {
    let file = SourceFile {
        path: "src/store/verdicts.rs".to_owned(),
        code: code_of(
            "// crate::comment\nuse crate::{\n    db::{Db, Tx},\n    domain::verdict::Verdict,\n    params,\n};\n\
             fn a() { crate::queue::enqueue(); other_crate::not_ours(); }\n#[cfg(test)]\nmod tests { use crate::http; }",
        ),
    };
    assert_eq!(file.room(), "store");
    assert_eq!(file.rooms_named(), ["db", "domain", "params", "queue"]);
}
