//! What every command starts from: the configuration, the database, and who is asking.

use std::{cell::RefCell, collections::BTreeSet, path::PathBuf};

use super::{Globals, failure::Failure, output::Output};
use crate::{
    config::{self, Config, Overrides},
    db::{Db, Location},
    env::send_spans,
};

pub(crate) struct Context {
    globals: Globals,
    /// Where to print.
    pub(crate) out: Output,
}

impl Context {
    pub(crate) fn new(globals: Globals) -> Self {
        let out = Output::detect(globals.json);
        Self { globals, out }
    }

    /// The configuration of a command that calls services.
    pub(crate) fn config(&self, overrides: Overrides) -> Result<Config, Failure> {
        let overrides = Overrides {
            database: self.globals.db.clone(),
            ..overrides
        };
        let asked = RefCell::new(BTreeSet::new());
        let env = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            std::env::var(name).ok()
        };
        let config = config::load(self.globals.config.as_deref(), &env, overrides)?;
        let given = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        config::refuse_unknown_variables(given, &asked.into_inner())?;
        Ok(config)
    }

    /// The configuration of a command that only looks: it needs no secrets.
    pub(crate) fn config_to_look(&self) -> Result<Config, Failure> {
        self.config(Overrides {
            without_secrets: true,
            ..Overrides::default()
        })
    }

    /// The file that `--config` or the working directory names.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.globals
            .config
            .clone()
            .unwrap_or_else(|| PathBuf::from(config::DEFAULT_FILE))
    }

    /// Opens the database, and makes it where it is absent. What is enqueued and run from here on is traced.
    pub(crate) async fn open(&self, config: &Config) -> Result<Db, Failure> {
        send_spans(&config.telemetry);
        Ok(Db::open(&config.database.location()).await?)
    }

    /// Opens the database of a command that only looks or steers: there has to be one.
    pub(crate) async fn open_existing(&self) -> Result<Db, Failure> {
        let config = self.config_to_look()?;
        if let Location::Sqlite { path, .. } = config.database.location()
            && !path.exists()
        {
            return Err(Failure::Storage(format!(
                "there is no database {} yet: `aftercall run` makes one; name another with --db",
                path.display()
            )));
        }
        self.open(&config).await
    }
}

/// Who changes something, for the audit log.
pub(crate) fn actor() -> String {
    let user = ["USER", "LOGNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let user: String = user
        .unwrap_or_default()
        .chars()
        .filter(|letter| !letter.is_control())
        .take(64)
        .collect();
    if user.is_empty() {
        "command line".to_owned()
    } else {
        format!("{user} (command line)")
    }
}
