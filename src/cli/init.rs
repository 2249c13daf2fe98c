//! `aftercall init`: writes a commented configuration.

use std::{fs, io::Write as _, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{context::Context, failure::Failure};
use crate::config::TEMPLATE;

const EXAMPLE: &str = "\
Examples:
  $ aftercall init
  $ aftercall init conf/aftercall.toml
  $ aftercall init -     # prints it";

/// Writes a configuration in which every setting is explained
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Init {
    /// Where; `-` prints it [default: --config, or aftercall.toml]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Init {
    pub(super) fn execute(self, context: &Context) -> Result<(), Failure> {
        let path = self.file.unwrap_or_else(|| context.config_file());
        if path.as_os_str() == "-" {
            return context
                .out
                .print(&json!({ "config": TEMPLATE }), |_| TEMPLATE.to_owned());
        }
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::Fault(format!("{} is there already: it was left as it is", path.display()))
            }
            _ => Failure::Storage(format!("cannot write {}: {error}", path.display())),
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed)?;
        file.write_all(TEMPLATE.as_bytes()).map_err(failed)?;
        let path = path.display().to_string();
        context.out.print(&json!({ "written": path }), |_| {
            format!("{path} is written: describe a [[source]] and its [[records]] in it, then `aftercall check`")
        })
    }
}
