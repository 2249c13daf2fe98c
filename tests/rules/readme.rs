//! The README changes with the code.

use std::fs;

use super::source::root;

#[test]
fn the_readme_names_every_setting() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let template = fs::read_to_string(root().join("src/config/template.toml")).unwrap();
    let settings: Vec<&str> = template
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once(" = "))
        .map(|(key, _)| key)
        // Headers are the user's own.
        .filter(|key| key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'))
        .collect();
    assert!(settings.len() > 30, "{settings:?}");
    for setting in settings {
        assert!(
            readme.contains(&format!("`{setting}`")) || readme.contains(&format!("`{setting} = ")),
            "{setting}"
        );
    }
}

#[test]
fn the_readme_names_every_command_that_operators_need() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let commands: Vec<String> = fs::read_dir(root().join("src/cli"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("after_help = ")))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "mod" && name != "bench")
        .collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let shown = [format!("aftercall {command}"), format!("-- {command}")];
        assert!(
            shown
                .iter()
                .any(|form| readme.contains(form) || operations.contains(form)),
            "{command}"
        );
    }
}
