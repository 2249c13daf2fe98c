//! Where PostgreSQL's programs are. Debian keeps those of the server off the path.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::ClusterError;

/// What a server needs.
const NEEDED: [&str; 3] = ["initdb", "postgres", "pg_ctl"];
/// Where Debian puts them: a folder for each version, `bin` below it.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The folder of the programs.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Finds them: where `AFTERCALL_PG_BIN` says, else where `pg_config` says, else Debian's newest, else on the path.
    pub(super) fn find() -> Result<Self, ClusterError> {
        if let Some(folder) = env::var_os("AFTERCALL_PG_BIN").filter(|folder| !folder.is_empty()) {
            return Self::at(PathBuf::from(folder));
        }
        let mut folders: Vec<PathBuf> = from_pg_config().into_iter().collect();
        folders.extend(by_version(Path::new(DEBIAN)));
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        Self::first_of(folders)
    }

    fn at(folder: PathBuf) -> Result<Self, ClusterError> {
        match missing(&folder) {
            None => Ok(Self { folder }),
            Some(missing) => Err(ClusterError::NotThere { folder, missing }),
        }
    }

    fn first_of(folders: Vec<PathBuf>) -> Result<Self, ClusterError> {
        let looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        folders
            .into_iter()
            .find(|folder| missing(folder).is_none())
            .map(|folder| Self { folder })
            .ok_or_else(|| ClusterError::NoServer(looked.join(", ")))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// One of them, whether it is there or not.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn missing(folder: &Path) -> Option<&'static str> {
    NEEDED.into_iter().find(|name| !folder.join(name).is_file())
}

fn from_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(folder.trim_end()))
}

/// The `bin` folders of all versions, newest first.
fn by_version(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(folder: &Path, names: &[&str]) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        for name in names {
            fs::write(folder.join(name), "").unwrap();
        }
        folder.to_owned()
    }

    #[test]
    fn debians_newest_server_is_found_and_a_client_alone_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        install(&root.path().join("9/bin"), &NEEDED);
        install(&root.path().join("15/bin"), &NEEDED);
        install(&root.path().join("17/bin"), &["psql"]);
        fs::create_dir(root.path().join("common")).unwrap();
        let found = Programs::first_of(by_version(root.path())).unwrap();
        assert_eq!(found.folder(), root.path().join("15/bin"));
        assert!(by_version(&root.path().join("nowhere")).is_empty());
    }

    #[test]
    fn without_a_server_the_error_says_what_to_install() {
        let root = tempfile::tempdir().unwrap();
        let client = install(&root.path().join("client"), &["psql"]);
        let error = Programs::first_of(vec![client.clone()]).unwrap_err().to_string();
        assert!(error.contains("apt-get install postgresql"), "{error}");
        assert!(error.contains(&client.display().to_string()), "{error}");
        let error = Programs::at(client).unwrap_err().to_string();
        assert!(error.contains("no `initdb` is"), "{error}");
    }
}
