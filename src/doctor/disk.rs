//! The disk that the database is on: how much is free, and whether it is a disk of this machine.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::Finding;

const CHECK: &str = "disk";
/// Below this much free disk, the next commit may fail.
const LEAST_FREE: u64 = 100 << 20;
/// Below this much free disk, somebody should make room.
const LITTLE_FREE: u64 = 1 << 30;

/// File systems whose locks do not hold between machines, by their numbers in `statfs(2)`.
#[cfg(target_os = "linux")]
const NETWORK: [(i64, &str); 8] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
];

/// Looks off the runtime: a file system whose server is gone may hold its caller for ever.
pub(super) async fn look(path: PathBuf) -> Vec<Finding> {
    match tokio::task::spawn_blocking(move || look_at(&path)).await {
        Ok(findings) => findings,
        Err(_) => vec![Finding::warn(CHECK, "looking at it was interrupted", "look again")],
    }
}

fn look_at(path: &Path) -> Vec<Finding> {
    let size: u64 = ["", "-wal"]
        .iter()
        .filter_map(|suffix| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            std::fs::metadata(name).ok()
        })
        .map(|file| file.len())
        .sum();
    let free = folder_of(path).and_then(|folder| Ok((rustix::fs::statvfs(&folder)?, folder)));
    let (volume, folder) = match free {
        Ok(found) => found,
        Err(error) => {
            let found = format!("the free space beside {} cannot be read: {error}", path.display());
            return vec![Finding::warn(CHECK, found, "look at it with `df`")];
        }
    };
    let mut findings = vec![judge_space(size, volume.f_bavail.saturating_mul(volume.f_frsize))];
    if let Some(kind) = network_file_system(&folder) {
        findings.push(Finding::warn(
            CHECK,
            format!("{} is on a network file system ({kind})", folder.display()),
            "move the database to a disk of this machine: over a network its locks do not hold, which damages it",
        ));
    }
    findings
}

/// The nearest folder that is there already.
fn folder_of(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
    Ok(folder.unwrap_or(Path::new("/")).to_owned())
}

fn judge_space(size: u64, free: u64) -> Finding {
    let found = format!("the database takes {}, its disk has {} left", bytes(size), bytes(free));
    match free {
        ..LEAST_FREE => Finding::fail(
            CHECK,
            found,
            format!(
                "make room now: commits fail on a full disk (at least {})",
                bytes(LEAST_FREE)
            ),
        ),
        LEAST_FREE..LITTLE_FREE => Finding::warn(
            CHECK,
            found,
            format!(
                "make room (at least {}), or shorten `retention.snapshots`",
                bytes(LITTLE_FREE)
            ),
        ),
        _ => Finding::ok(CHECK, found),
    }
}

#[cfg(target_os = "linux")]
fn network_file_system(folder: &Path) -> Option<&'static str> {
    // The width and the sign of the field differ between machines; its lower 32 bits do not.
    let number = rustix::fs::statfs(folder).ok()?.f_type & 0xffff_ffff;
    NETWORK
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}

pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn little_room_warns_and_none_fails() {
        for (free, level) in [
            (LITTLE_FREE, Level::Ok),
            (LITTLE_FREE - 1, Level::Warn),
            (LEAST_FREE, Level::Warn),
            (LEAST_FREE - 1, Level::Fail),
            (0, Level::Fail),
        ] {
            assert_eq!(judge_space(5 << 20, free).level, level, "{free}");
        }
        assert!(judge_space(5 << 20, LITTLE_FREE).found.contains("takes 5 MiB"));
    }

    #[test]
    fn a_folder_that_is_not_made_yet_is_judged_by_the_one_it_will_be_made_in() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            folder_of(&folder.path().join("data/aftercall.db")).unwrap(),
            folder.path()
        );
        assert!(look_at(&folder.path().join("a.db"))[0].found.contains("takes 0 KiB"));
    }
}
