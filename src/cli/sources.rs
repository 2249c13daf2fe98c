//! What a process that works on sessions needs to find in its configuration.

use super::failure::Failure;
use crate::config::{Config, SourceKind};

/// There has to be a source.
pub(super) fn require(config: &Config) -> Result<(), Failure> {
    if config.sources.iter().any(|source| source.enabled) {
        return Ok(());
    }
    Err(Failure::Usage(
        "no source is configured: describe a [[source]] in aftercall.toml (`aftercall init` writes one), or name a file with \
         `aftercall run --bundle`; `aftercall demo` needs neither"
            .to_owned(),
    ))
}

/// There has to be a source, and its file.
pub(super) fn require_files(config: &Config) -> Result<(), Failure> {
    require(config)?;
    for source in config.sources.iter().filter(|source| source.enabled) {
        if let SourceKind::Bundle { path, .. } = &source.kind
            && !path.is_file()
        {
            return Err(Failure::Usage(format!(
                "source `{}`: there is no file {}",
                source.name,
                path.display()
            )));
        }
    }
    Ok(())
}
