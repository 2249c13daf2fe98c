//! `aftercall demo`: the whole pipeline on made-up calls, on this machine alone.
//!
//! Nothing here is staged: the servers are real ones on loopback, the pipeline is the one of `aftercall run`, and what is
//! printed is read from its database. Only the calls are made up, and the waits shorter.

mod direct;
mod report;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;

use self::report::Report;
use super::{context::Context, escape, failure::Failure, output::Output};
use crate::{
    config::{
        Cloud9Config, Config, LangfuseSource, LlmConfig, PlaybookName, RecordsConfig, Secret, SourceConfig, SourceKind,
    },
    db::Db,
    sandbox::{
        cloud9::CREDENTIALS,
        demo::{self, DemoSession, DemoSource, stage::Stage},
        langfuse::{PUBLIC_KEY, SECRET_KEY},
    },
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall demo
  $ aftercall demo --dir /tmp/my-demo

It starts two Langfuse servers, a practice's Cloud9 and a scripted LLM on loopback, feeds made-up orthodontic calls through the
real pipeline with all waits divided by 60, lets the LLM fail in the middle, and prints the verdicts and one diagnosis. Nothing
leaves this machine.";

/// The demo's database, under a name that no real installation uses: it is deleted each time.
const DATABASE: &str = "demo.db";
/// All waits are divided by this.
const FASTER: u32 = 60;
/// Sources are looked at this often, in place of every five minutes.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The session whose diagnosis is printed whole.
const EXPLAINED: &str = "demo-11-error-hidden";
/// Far above what it takes: a demo that hangs is broken, and says so.
const MAX_WAIT: Duration = Duration::from_mins(2);

/// Runs the whole pipeline on made-up calls against sandbox servers, in under half a minute
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Demo {
    /// Where its database goes; made new each time
    #[arg(long, value_name = "DIR", default_value = "aftercall-data/demo")]
    dir: PathBuf,
}

impl Demo {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let sessions = demo::sessions().map_err(|error| Failure::Fault(format!("{error:#}")))?;
        if !context.out.is_json() {
            context.out.print(&(), |_| banner(&self.dir, sessions.len()))?;
        }
        let report = self.judge_all(&context.out, &sessions).await?;
        context.out.print(&report, |out| report.text(out))?;
        report.require_expected()
    }

    async fn judge_all(&self, out: &Output, sessions: &[DemoSession]) -> Result<Report, Failure> {
        let started = Instant::now();
        self.make_dir()?;
        let mut stage = Stage::start(sessions).await?;
        let config = self.config(&stage);
        let db = Db::open(&config.database.location()).await?;
        let course = direct::run(out, &config, &db, &mut stage, sessions, LOOK_EVERY, MAX_WAIT).await?;
        let report = Report::read(&db, &self.dir, sessions, course, started.elapsed()).await;
        db.close().await;
        stage.stop().await;
        report
    }

    /// The folder, with no database of an earlier demo in it.
    fn make_dir(&self) -> Result<(), Failure> {
        let in_dir = |error: io::Error| {
            Failure::Storage(format!(
                "{}: {error}; name another folder with --dir",
                self.dir.display()
            ))
        };
        fs::create_dir_all(&self.dir).map_err(in_dir)?;
        for suffix in ["", "-wal", "-shm"] {
            remove(&self.dir.join(format!("{DATABASE}{suffix}"))).map_err(in_dir)?;
        }
        Ok(())
    }

    fn config(&self, stage: &Stage) -> Config {
        let mut config = Config::default();
        config.database.path = self.dir.join(DATABASE);
        for source in [DemoSource::Newer, DemoSource::Older] {
            config.sources.push(source_config(source, stage));
        }
        let (client_id, user, password) = CREDENTIALS;
        let cloud9 = Cloud9Config::new(stage.practice_url(), known(client_id), known(user), known(password));
        let mut records = RecordsConfig::cloud9(demo::SYSTEM, cloud9);
        records.pace /= FASTER;
        config.records.push(records);
        config.llm = Some(LlmConfig::new(stage.model_url(), "scripted-model"));
        config.limits.diagnose_window /= FASTER;
        // The third look, after half an hour, would alone take half a minute.
        config.verification.look_again.truncate(2);
        for wait in &mut config.verification.look_again {
            *wait /= FASTER;
        }
        config.verification.give_up_after /= FASTER;
        config.verification.outage_wait /= FASTER;
        config.verification.outage_wait_most /= FASTER;
        config
    }
}

fn source_config(source: DemoSource, stage: &Stage) -> SourceConfig {
    let playbook = PlaybookName::BuiltIn(demo::PLAYBOOK.to_owned());
    let mut config = SourceConfig::bundle(source.name(), "", playbook);
    config.settle_after /= FASTER;
    config.settle_steady /= FASTER;
    config.settle_deadline /= FASTER;
    let langfuse = LangfuseSource::new(
        stage.langfuse_url(source),
        known(PUBLIC_KEY),
        known(SECRET_KEY),
        config.settle_after,
    );
    config.kind = SourceKind::Langfuse(Box::new(langfuse));
    config
}

/// The sandbox's keys are no secrets.
fn known(value: &str) -> Secret {
    Secret::new("the sandbox", value)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn banner(dir: &Path, sessions: usize) -> String {
    escape::visible_lines(&format!(
        "SANDBOX  {sessions} made-up calls to an orthodontic practice, in a Langfuse of version 4 and one of version 3. Those two, the\n\
         practice's Cloud9 and the LLM are scripted servers on 127.0.0.1; nothing leaves this machine. The pipeline is the real\n\
         one, with all waits divided by {FASTER}: a call is over after 5 s of silence, sources are looked at every 2 s, a missing record\n\
         is looked for again after 1 s and 5 s (the third look, after 30 min, is left out), and 3 diagnoses may start in any 5 s.\n\
         On the way the LLM goes down and comes back, one call goes on, one is resumed, and one span comes late.\n\
         The database goes to {}.\n",
        dir.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_demo_ends_by_itself_with_every_verdict_as_it_has_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let demo = Demo {
            dir: dir.path().join("demo"),
        };
        let sessions = demo::sessions().unwrap();
        assert!(sessions.len() >= 24);
        let report = demo.judge_all(&Output::plain(), &sessions).await.unwrap();
        let text = report.text(&Output::plain());
        assert!(
            report.require_expected().is_ok(),
            "{:?}\n{text}",
            report.require_expected()
        );
        for line in &report.sessions {
            let failed = matches!(line.status.as_str(), "fail" | "partial");
            assert_eq!(line.diagnosis.is_some(), failed, "{line:?}");
        }
        let line = |session: &str| report.sessions.iter().find(|line| line.session == session).unwrap();
        let hostile = line("demo-13-hostile").diagnosis.as_deref();
        assert_eq!(hostile, Some("agent: tool_error_ignored (by rules)"));
        let resumed = ["skipped (withdrawn)", "pass (all_confirmed)"];
        assert_eq!(line("demo-23-called-back").verdicts, resumed);
        let outage = report.outage.as_ref().unwrap();
        assert!(outage.held > 0 && outage.seconds >= 2.0, "{outage:?}");
        for shown in [
            "SANDBOX",
            "queued_never_worked (by experts)",
            "# Diagnosis: tool error ignored",
            "show demo-13-hostile",
            "demo-24-still-talking has no verdict: no end signal",
            "llm:default was shut (unreachable)",
            "demo-22-late-span was judged 2 times",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(
            !text.chars().any(|letter| letter.is_control() && letter != '\n'),
            "{text:?}"
        );
    }

    #[test]
    fn a_demo_deletes_no_database_but_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["aftercall.db", "aftercall.db-wal", DATABASE, "notes.txt"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let demo = Demo {
            dir: dir.path().to_owned(),
        };
        demo.make_dir().unwrap();
        assert!(!dir.path().join(DATABASE).exists());
        for name in ["aftercall.db", "aftercall.db-wal", "notes.txt"] {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }
}
