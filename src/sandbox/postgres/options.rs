//! What a cluster is asked to be.

use std::{env, fmt::Write as _, path::PathBuf};

/// Files that are kept in memory, where a machine has this.
const MEMORY: &str = "/dev/shm";
/// What must be free there: a container may have hardly any.
const MEMORY_FREE: u64 = 2 << 30;

/// How a cluster is set up.
#[derive(Debug, Clone)]
pub struct Options {
    settings: Vec<(String, String)>,
    in_memory: bool,
}

impl Options {
    /// For tests: nothing waits for the disk. What was committed survives a crash of the server, not one of the machine. Where
    /// there is room, it is in memory altogether, unless `TMPDIR` says where else: a database is some 400 files, which some
    /// disks take half a second to make.
    pub fn fast() -> Self {
        // A commit still writes its log before it answers: `synchronous_commit = off` would lose the last ones with the
        // server, which is what tests crash.
        let fast = Self::durable()
            .set("fsync", "off")
            .set("full_page_writes", "off")
            .set("max_wal_size", "256MB");
        Self {
            in_memory: true,
            ..fast
        }
    }

    /// For benches: as a server in earnest, each commit waits for the disk.
    pub fn durable() -> Self {
        let bare = Self {
            settings: Vec::new(),
            in_memory: false,
        };
        bare.set("max_connections", "300")
            .set("shared_buffers", "128MB")
            .set("fsync", "on")
            .set("full_page_writes", "on")
            .set("synchronous_commit", "on")
    }

    /// On a disk also where there is room in memory: for more data than tests have.
    #[must_use]
    pub fn on_disk(mut self) -> Self {
        self.in_memory = false;
        self
    }

    /// Sets one of PostgreSQL's settings; the last word counts.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder that its own is made in.
    pub(super) fn place(&self) -> PathBuf {
        let free = |path: &str| rustix::fs::statvfs(path).map_or(0, |of| of.f_bavail * of.f_frsize);
        if self.in_memory && env::var_os("TMPDIR").is_none() && free(MEMORY) >= MEMORY_FREE {
            PathBuf::from(MEMORY)
        } else {
            env::temp_dir()
        }
    }

    /// The end of `postgresql.conf`.
    pub(super) fn file(&self) -> String {
        // The folder above the data: seen from there, its name has no letter that a socket's address or this file minds.
        let mut file = "listen_addresses = '127.0.0.1'\nunix_socket_directories = '..'\n".to_owned();
        for (name, value) in &self.settings {
            let value = value.replace('\'', "''");
            let _ = writeln!(file, "{name} = '{value}'"); // writing to a String cannot fail
        }
        file
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::fast()
    }
}
