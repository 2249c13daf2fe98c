//! `[database]`: where everything is kept.

use std::path::PathBuf;

use serde::Serialize;

use super::section::Section;
use crate::db::{Durability, Location};

/// `[database]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Database {
    /// The embedded file, made when absent. Default `aftercall-data/aftercall.db` below the working directory.
    pub path: PathBuf,
    /// `normal` (default): survives the death of the process at any moment, a power loss may take the last commits.
    /// `full`: survives a power loss as well; every commit waits for the disk.
    pub durability: Durability,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            path: PathBuf::from("aftercall-data/aftercall.db"),
            durability: Durability::Normal,
        }
    }
}

impl Database {
    /// What to open.
    pub fn location(&self) -> Location {
        Location::Sqlite {
            path: self.path.clone(),
            durability: self.durability,
        }
    }

    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            path: section.path("path").unwrap_or(default.path),
            durability: section.choice(
                "durability",
                default.durability,
                &[("normal", Durability::Normal), ("full", Durability::Full)],
            ),
        };
        section.finish();
        read
    }
}
