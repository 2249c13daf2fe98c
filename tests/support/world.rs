//! A whole world on loopback: a bundle of sessions, the kitchen's and the till's records server, a scripted language model,
//! a configuration with short waits, and the pipeline in this process or as a process of its own.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use aftercall::{
    config::{self, Config, Overrides},
    db::Db,
    pipeline::Pipeline,
    sandbox::{
        Server,
        cloud9::{self, Practice},
        demo,
        language_model::{self, ScriptedModel},
        records::{self, Records},
    },
};

use super::{
    PATIENCE,
    bakery::{self, Session},
    child::Child,
    engine::Home,
};

/// Name of the source.
pub(crate) const SOURCE: &str = "calls";

/// One world.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) records: Arc<Records>,
    pub(crate) model: Option<Arc<ScriptedModel>>,
    practice: Option<Arc<Practice>>,
    directory: tempfile::TempDir,
    database: Arc<Home>,
    _servers: Vec<Server>,
}

/// Everything that a world may differ in.
pub(crate) struct Plan {
    bundle: String,
    records: Records,
    practice: Option<Practice>,
    /// Key and value as TOML.
    practice_settings: Vec<(String, String)>,
    /// Name and address of systems that are databases.
    databases: Vec<(String, String)>,
    model: Option<ScriptedModel>,
    /// Section, key, value as TOML.
    settings: Vec<(String, String, String)>,
    /// Name and content.
    files: Vec<(String, String)>,
    /// The end of the configuration.
    more: String,
    /// `None`: one of its own.
    database: Option<Arc<Home>>,
    empty_database: bool,
}

impl Plan {
    /// These sessions, read without a language model.
    pub(crate) fn of(sessions: &[Session]) -> Self {
        Self {
            bundle: sessions.iter().map(Session::lines).collect(),
            records: bakery::records(sessions),
            practice: None,
            practice_settings: Vec::new(),
            databases: Vec::new(),
            model: None,
            settings: Vec::new(),
            files: Vec::new(),
            more: String::new(),
            database: None,
            empty_database: false,
        }
    }

    /// Where nobody has made a table yet.
    pub(crate) fn on_empty_database(mut self) -> Self {
        self.empty_database = true;
        self
    }

    /// On the database of another world.
    pub(crate) fn on_database_of(mut self, world: &World) -> Self {
        self.database = Some(Arc::clone(&world.database));
        self
    }

    /// More sections at the end of the configuration.
    pub(crate) fn append(mut self, toml: &str) -> Self {
        self.more.push_str(toml);
        self
    }

    /// More files beside the configuration.
    pub(crate) fn files(mut self, files: &[(&str, &str)]) -> Self {
        self.files.extend(
            files
                .iter()
                .map(|(name, content)| ((*name).to_owned(), (*content).to_owned())),
        );
        self
    }

    /// These lines in the bundle, in place of the sessions'.
    pub(crate) fn bundle(mut self, text: impl Into<String>) -> Self {
        self.bundle = text.into();
        self
    }

    /// These records, in place of the sessions'.
    pub(crate) fn records(mut self, records: Records) -> Self {
        self.records = records;
        self
    }

    /// The system `practice` is this Cloud9, in place of a records server.
    pub(crate) fn practice(mut self, practice: Practice) -> Self {
        self.practice = Some(practice);
        self
    }

    /// `key = value` for this Cloud9 alone; the value is TOML.
    pub(crate) fn set_practice(mut self, key: &str, value: &str) -> Self {
        self.practice_settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// This system is a database, in place of a records server.
    pub(crate) fn kept_in(mut self, system: &str, url: &str) -> Self {
        self.databases.push((system.to_owned(), url.to_owned()));
        self
    }

    /// Read by this model.
    pub(crate) fn model(mut self, model: ScriptedModel) -> Self {
        self.model = Some(model);
        self
    }

    /// `key = value` in `[section]`, or in every `[[section]]`, or in just `[[records]] # till`; the value is TOML.
    pub(crate) fn set(mut self, section: &str, key: &str, value: &str) -> Self {
        self.settings
            .push((section.to_owned(), key.to_owned(), value.to_owned()));
        self
    }

    /// Starts the servers and writes the files.
    pub(crate) async fn start(self) -> World {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::write(path.join("bundle.jsonl"), &self.bundle).unwrap();
        std::fs::write(path.join("bakery.toml"), include_str!("bakery.toml")).unwrap();
        for (name, content) in &self.files {
            std::fs::write(path.join(name), content).unwrap();
        }

        let records = Arc::new(self.records);
        let records_server = records::start(Arc::clone(&records)).await.unwrap();
        let mut toml = Sections::default();
        let database = match self.database {
            Some(another) => another,
            None if self.empty_database => Arc::new(Home::empty(path)),
            None => Arc::new(Home::of(path).await),
        };
        toml.set("[database]", database.key, &format!("'{}'", database.named));
        for (key, value) in [
            ("name", format!("'{SOURCE}'")),
            ("kind", "'bundle'".to_owned()),
            ("path", "'bundle.jsonl'".to_owned()),
            ("playbook", "'./bakery.toml'".to_owned()),
        ] {
            toml.set("[[source]]", key, &value);
        }
        let mut servers = vec![];
        for system in ["kitchen", "till", demo::SYSTEM] {
            let section = format!("[[records]] # {system}");
            toml.set(&section, "name", &format!("'{system}'"));
            toml.set(&section, "kind", "'http'");
            toml.set(&section, "base_url", &format!("'{}'", records_server.url()));
            toml.set(&section, "pace", "'0s'");
            toml.set(&section, "timeout", "'10s'");
        }
        servers.push(records_server);
        let practice = self.practice.map(Arc::new);
        if let Some(practice) = &practice {
            let server = cloud9::start(Arc::clone(practice)).await.unwrap();
            let section = format!("[[records]] # {}", demo::SYSTEM);
            toml.remove(&section, "base_url");
            toml.set(&section, "kind", "'cloud9'");
            toml.set(&section, "url", &format!("'{}{}'", server.url(), cloud9::PATH));
            let (client_id, user, password) = cloud9::CREDENTIALS;
            for (key, value) in [("client_id", client_id), ("user", user), ("password", password)] {
                std::fs::write(path.join(key), value).unwrap();
                toml.set(&section, key, &format!("'file:{key}'"));
            }
            for (key, value) in &self.practice_settings {
                toml.set(&section, key, value);
            }
            servers.push(server);
        }
        for (system, url) in &self.databases {
            let section = format!("[[records]] # {system}");
            toml.remove(&section, "base_url");
            toml.set(&section, "kind", "'sql'");
            toml.set(&section, "url", &format!("'{url}'"));
        }
        let model = self.model.map(Arc::new);
        if let Some(model) = &model {
            let server = language_model::start(Arc::clone(model)).await.unwrap();
            toml.set("[llm]", "base_url", &format!("'{}/v1'", server.url()));
            toml.set("[llm]", "model", "'scripted'");
            toml.set("[llm]", "timeout", "'10s'");
            servers.push(server);
        }
        toml.set("[verification]", "look_again", "['100ms', '100ms', '100ms']");
        toml.set("[verification]", "outage_wait", "'50ms'");
        toml.set("[verification]", "outage_wait_most", "'200ms'");
        toml.set("[limits]", "diagnose_starts", "100");
        toml.set("[limits]", "diagnose_window", "'1s'");
        toml.set("[queue]", "lease", "'1200ms'");
        toml.set("[queue]", "heartbeat", "'300ms'");
        toml.set("[queue]", "poll", "'50ms'");
        toml.set("[queue]", "grace", "'5s'");
        for (section, key, value) in &self.settings {
            toml.set_all(section, key, value);
        }
        let file = path.join("aftercall.toml");
        std::fs::write(&file, toml.text() + &self.more).unwrap();
        let config =
            config::load(Some(&file), &|_| None, Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
        World {
            config,
            records,
            model,
            practice,
            directory,
            database,
            _servers: servers,
        }
    }
}

/// The configuration file as it is put together.
#[derive(Default)]
struct Sections {
    sections: Vec<(String, BTreeMap<String, String>)>,
}

impl Sections {
    fn set(&mut self, section: &str, key: &str, value: &str) {
        let known = self.sections.iter().position(|(name, _)| name == section);
        let at = known.unwrap_or_else(|| {
            self.sections.push((section.to_owned(), BTreeMap::new()));
            self.sections.len() - 1
        });
        self.sections[at].1.insert(key.to_owned(), value.to_owned());
    }

    fn remove(&mut self, section: &str, key: &str) {
        for (name, keys) in &mut self.sections {
            if name == section {
                keys.remove(key);
            }
        }
    }

    fn set_all(&mut self, section: &str, key: &str, value: &str) {
        let names: Vec<String> = self
            .sections
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| {
                name.starts_with(&format!("[[{section}]]")) || *name == format!("[{section}]") || name == section
            })
            .collect();
        if names.is_empty() {
            self.set(&format!("[{section}]"), key, value);
        }
        for name in names {
            self.set(&name, key, value);
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, keys) in &self.sections {
            writeln!(text, "{name}").unwrap();
            for (key, value) in keys {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        text
    }
}

impl World {
    /// Where its files are.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The configuration file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.path("aftercall.toml")
    }

    /// The folder.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its database, made when absent.
    pub(crate) async fn db(&self) -> Db {
        Db::open(&self.config.database.location()).await.unwrap()
    }

    /// The Cloud9 that sessions are checked in.
    pub(crate) fn practice(&self) -> Arc<Practice> {
        Arc::clone(self.practice.as_ref().unwrap())
    }

    /// The model that reads.
    pub(crate) fn model(&self) -> &ScriptedModel {
        self.model.as_deref().unwrap()
    }

    /// More lines at the end of the bundle.
    pub(crate) fn append(&self, lines: &str) {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.path("bundle.jsonl"))
            .unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// Starts the pipeline in this process, looking at everything once.
    pub(crate) async fn pipeline(&self, db: &Db) -> Pipeline {
        let pipeline = Pipeline::start(&self.config, db).await.unwrap();
        pipeline.look_now().await.unwrap();
        pipeline
    }

    /// Runs the pipeline in this process until nothing is left to do.
    pub(crate) async fn run_until_idle(&self, db: &Db) {
        let pipeline = self.pipeline(db).await;
        idle(&pipeline).await;
        pipeline.shutdown().await;
    }

    /// `aftercall run --until-idle` in a process of its own, with these variables in its environment.
    pub(crate) fn child(&self, variables: &[(&str, &str)]) -> Child {
        let patience = format!("{}s", PATIENCE.as_secs());
        Child::start(self, &["run", "--until-idle", "--max-wait", &patience], variables)
    }

    /// Runs it in a process of its own until nothing is left to do.
    pub(crate) async fn run_child_until_idle(&self) {
        let ended = self.child(&[]).ended().await;
        assert!(ended.status.success(), "{ended}");
    }
}

/// Waits until the pipeline has nothing left to do.
pub(crate) async fn idle(pipeline: &Pipeline) {
    let state = pipeline.until_idle(Some(PATIENCE), |_| {}).await.unwrap();
    assert!(state.is_idle(), "it is not idle after {PATIENCE:?}: {state:?}");
}
