//! Names of sources, systems and alerts: they stand in job partitions, gates and environment variables.

use super::section::{Section, Source};

const LONGEST: usize = 64;

/// Reads the `name` of an entry and lets the section go by it.
pub(super) fn read(section: &mut Section<'_>, kind: &str) -> Option<String> {
    let name = section.required_text("name", "every entry has a name of its own")?;
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '_' | '-');
    if name.len() > LONGEST || !name.chars().all(plain) {
        section.fault_at(
            "name",
            format!("should be at most {LONGEST} characters of a-z, 0-9, `_` and `-`"),
        );
        return None;
    }
    section.rename(&format!("{kind}.{name}"));
    Some(name)
}

/// Reports names that occur twice.
pub(super) fn refuse_twins<'n>(source: &Source<'_>, kind: &str, names: impl Iterator<Item = &'n str>) {
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            let place = super::fault::Place::Whole(source.file.clone().unwrap_or_else(|| "configuration".into()));
            source.fault(
                place,
                &format!("{kind}.{name}"),
                "this name is given twice: names must differ",
            );
        }
        seen.push(name);
    }
}
