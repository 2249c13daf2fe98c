//! `[[source]]`: where sessions come from.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::{
    duration,
    langfuse::LangfuseSource,
    names,
    section::Section,
    webhook::{self, WebhookConfig},
};
use crate::domain::{session::SettleRules, webhook::Shape};

const MINUTE: Duration = Duration::from_mins(1);

/// One `[[source]]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceConfig {
    /// Its name: part of every session's identity, so renaming it makes them new sessions.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: SourceKind,
    /// `false`: it is not scanned; what is known of it stays. Default `true`.
    pub enabled: bool,
    /// The playbook that its sessions are judged by. Default `orthodontics`.
    pub playbook: PlaybookName,
    /// What new activity after the verdict does. Default `on_new_activity`.
    pub reanalyze: Reanalyze,
    /// A session without activity for this long is settled, unless its content still changes. Default 5m.
    #[serde(serialize_with = "duration::serialize")]
    pub settle_after: Duration,
    /// … and two scans this far apart have found the same. Default 1m.
    #[serde(serialize_with = "duration::serialize")]
    pub settle_steady: Duration,
    /// A session whose content never rests is judged after this long, marked `incomplete`. Default 30m.
    #[serde(serialize_with = "duration::serialize")]
    pub settle_deadline: Duration,
    /// After an end that a webhook told, the session's last spans may take this long to reach the source: it is read no
    /// earlier, and again until two reads this far apart are equal. Default 30s.
    #[serde(serialize_with = "duration::serialize")]
    pub trace_lag: Duration,
    /// A session that a webhook told of and whose traces have not come for this long is shown as one whose traces never came.
    /// Default 24h.
    #[serde(serialize_with = "duration::serialize")]
    pub trace_deadline: Duration,
    /// Who may say that its sessions are over. Default: nobody.
    #[serde(rename = "webhook", skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<WebhookConfig>,
    /// Traces that name no session are made into sessions: the same user, with gaps of a minute at most. Default `false`.
    pub group_without_session: bool,
    /// The folder of the files that a playbook's experts may cite and propose changes to (the agent's prompt, a tool's
    /// code). Default: none.
    pub artifacts: Option<PathBuf>,
    /// What reading and explaining its sessions may cost in a day (UTC), in the currency of `[llm]`'s prices; then its
    /// sessions wait for the next day. Default 0: no bound.
    pub daily_budget: f64,
}

/// Kinds of sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceKind {
    /// A file of observations, one JSON object per line.
    Bundle {
        /// The file.
        path: PathBuf,
        /// When its sessions are over. Default `end_of_file`.
        settle: Settle,
    },
    /// A Langfuse project.
    Langfuse(Box<LangfuseSource>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KindName {
    Bundle,
    Langfuse,
}

/// When the sessions of a bundle are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settle {
    /// The file is complete: every session in it is over.
    EndOfFile,
    /// The file still grows: a session is over once it had no activity for `settle_after`.
    Idle,
}

/// What new activity of a session that has its verdict does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reanalyze {
    /// The session is judged again; the old verdict stays beside the new one.
    OnNewActivity,
    /// Nothing.
    Never,
}

/// A playbook as it is named in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PlaybookName {
    /// One that ships with aftercall.
    BuiltIn(String),
    /// A file of the user's own.
    File(PathBuf),
}

impl PlaybookName {
    /// A text with a `/`, or that ends in `.toml`, is a path (relative to `base`); anything else the name of a built-in.
    pub fn parse(text: &str, base: &Path) -> Self {
        let is_toml = Path::new(text)
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
        if is_toml || text.contains(['/', '\\']) {
            Self::File(base.join(text))
        } else {
            Self::BuiltIn(text.to_owned())
        }
    }
}

impl std::fmt::Display for PlaybookName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl SourceConfig {
    /// A complete bundle file with the defaults for everything else.
    pub fn bundle(name: impl Into<String>, path: impl Into<PathBuf>, playbook: PlaybookName) -> Self {
        Self {
            name: name.into(),
            kind: SourceKind::Bundle {
                path: path.into(),
                settle: Settle::EndOfFile,
            },
            enabled: true,
            playbook,
            reanalyze: Reanalyze::OnNewActivity,
            settle_after: 5 * MINUTE,
            settle_steady: MINUTE,
            settle_deadline: 30 * MINUTE,
            trace_lag: MINUTE / 2,
            trace_deadline: 24 * 60 * MINUTE,
            webhooks: Vec::new(),
            group_without_session: false,
            artifacts: None,
            daily_budget: 0.0,
        }
    }

    /// Who may say in this shape that its sessions are over.
    pub fn webhook(&self, shape: Shape) -> Option<&WebhookConfig> {
        self.webhooks.iter().find(|webhook| webhook.shape == shape)
    }

    /// When its sessions are over.
    pub fn settle_rules(&self) -> SettleRules {
        SettleRules {
            settle_after: self.settle_after,
            steady: self.settle_steady,
            settle_deadline: self.settle_deadline,
            trace_lag: self.trace_lag,
            trace_deadline: self.trace_deadline,
        }
    }

    /// The daily budget in millionths; `None` without one.
    pub fn daily_budget_micros(&self) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is not negative, and a float cast saturates"
        )]
        let micros = (self.daily_budget * 1e6).round() as u64;
        (self.daily_budget > 0.0).then_some(micros)
    }

    /// `is_free`: there is an LLM, and its prices are 0.
    pub(super) fn read(mut section: Section<'_>, base: &Path, is_free: bool) -> Option<Self> {
        let name = names::read(&mut section, "source");
        let kind = section.choice(
            "kind",
            KindName::Bundle,
            &[("bundle", KindName::Bundle), ("langfuse", KindName::Langfuse)],
        );
        let default = Self::bundle("", "", PlaybookName::BuiltIn("orthodontics".to_owned()));
        let settle_after = section.duration("settle_after", default.settle_after, Duration::from_secs(1));
        let kind = match kind {
            KindName::Bundle => read_bundle(&mut section),
            KindName::Langfuse => LangfuseSource::read(&mut section, settle_after)
                .map(|langfuse| SourceKind::Langfuse(Box::new(langfuse))),
        };
        let is_complete = name.is_some() && kind.is_some();
        let read = Self {
            name: name.unwrap_or_default(),
            kind: kind.unwrap_or(default.kind),
            enabled: section.flag("enabled", default.enabled),
            playbook: section
                .text("playbook")
                .map_or(default.playbook, |text| PlaybookName::parse(&text, base)),
            reanalyze: section.choice(
                "reanalyze",
                default.reanalyze,
                &[
                    ("on_new_activity", Reanalyze::OnNewActivity),
                    ("never", Reanalyze::Never),
                ],
            ),
            settle_after,
            settle_steady: section.duration("settle_steady", default.settle_steady, Duration::ZERO),
            settle_deadline: section.duration("settle_deadline", default.settle_deadline, Duration::from_secs(1)),
            trace_lag: section.duration("trace_lag", default.trace_lag, Duration::ZERO),
            trace_deadline: section.duration("trace_deadline", default.trace_deadline, MINUTE),
            webhooks: webhook::read_all(&mut section),
            group_without_session: section.flag("group_without_session", default.group_without_session),
            artifacts: section.path("artifacts"),
            daily_budget: section.number("daily_budget", 0.0, 1e9).unwrap_or_default(),
        };
        if read.daily_budget > 0.0 && is_free {
            let reason = "can never be spent: set `price_prompt` and `price_completion` in [llm]";
            section.fault_at("daily_budget", reason);
        }
        if read.settle_deadline < read.settle_after {
            section.fault_at("settle_deadline", "should not be shorter than `settle_after`");
        }
        section.finish();
        is_complete.then_some(read)
    }
}

fn read_bundle(section: &mut Section<'_>) -> Option<SourceKind> {
    let path = section.required_path("path", "the file of observations, one JSON object per line");
    let settle = section.choice(
        "settle",
        Settle::EndOfFile,
        &[("end_of_file", Settle::EndOfFile), ("idle", Settle::Idle)],
    );
    Some(SourceKind::Bundle { path: path?, settle })
}
