//! What every command starts from: the configuration, the database or the API, and who is asking.

use std::{cell::RefCell, collections::BTreeSet, path::PathBuf};

use super::{Globals, failure::Failure, output::Output};
use crate::{
    config::{self, Config, Overrides, secret},
    db::{Db, Location},
    desk::{Desk, Here},
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

    /// Whether an API was named on the command line. One in the environment is for the commands that can ask it.
    pub(crate) fn names_api(&self) -> bool {
        self.globals.api.is_some()
    }

    /// Where a command asks and changes: at the API that is named, on the command line or, where no database is named there, in
    /// the environment; else at the database, which there has to be.
    pub(crate) async fn desk(&self) -> Result<Desk, Failure> {
        if let Some(api) = self.api()? {
            return Ok(api);
        }
        let db = self.open_existing().await?;
        self.at(db, self.config_to_look()?)
    }

    /// The same where a database that is absent is made.
    pub(crate) async fn desk_to_begin(&self) -> Result<Desk, Failure> {
        if let Some(api) = self.api()? {
            return Ok(api);
        }
        let config = self.config_to_look()?;
        let db = self.open(&config).await?;
        self.at(db, config)
    }

    fn at(&self, db: Db, config: Config) -> Result<Desk, Failure> {
        if self.globals.token_file.is_some() || self.globals.insecure_http {
            return Err(Failure::Usage(
                "--token-file and --insecure-http are for --api (or AFTERCALL_API), and none is named".to_owned(),
            ));
        }
        Ok(Desk::Database(Box::new(Here {
            db,
            config,
            actor: actor(),
        })))
    }

    /// At the API that is named, where one is.
    pub(crate) fn api(&self) -> Result<Option<Desk>, Failure> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let url = match (&self.globals.api, &self.globals.db) {
            (Some(url), _) => url.clone(),
            (None, Some(_)) => return Ok(None),
            (None, None) => match set("AFTERCALL_API") {
                Some(url) => url.trim().to_owned(),
                None => return Ok(None),
            },
        };
        let reference = match &self.globals.token_file {
            Some(path) => Some(format!("file:{}", path.display())),
            None => set("AFTERCALL_TOKEN").map(|_| "env:AFTERCALL_TOKEN".to_owned()),
        };
        let token = reference.map(|reference| secret::follow(&reference, &set)).transpose();
        let token = token.map_err(Failure::Usage)?;
        Desk::at_api(&url, token.as_ref(), self.globals.insecure_http)
            .map(Some)
            .map_err(|why| Failure::Usage(format!("--api or AFTERCALL_API: {why}")))
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
