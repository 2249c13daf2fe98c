//! `aftercall sandbox cloud9`: a practice's Cloud9 Ortho to try aftercall against.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Context, Failure, listen, until_told};
use crate::{
    config::DailyWindow,
    sandbox::cloud9::{self, Fault, GuidCase, Namespace, PATH, Practice, UnknownGuid},
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall sandbox cloud9 ./practice.json
  $ aftercall sandbox cloud9 ./practice --allowed-hours 02:00-06:00 --clock 2026-03-01T01:59:00Z
  $ aftercall sandbox cloud9 ./practice --fail 5 --fail-code 8 --unknown-guid code-3

PATH is a JSON file, or a folder of them: {\"patients\": [{\"PatientGUID\": …}], \"appointments\": [{\"AppointmentGUID\": …,
\"PatientGUID\": …, \"AppointmentDateTime\": \"3/17/2026 9:50:00 AM\", \"AppointmentStatusDescription\": \"Scheduled\"}],
\"locations\": [{\"LocationGUID\": …, \"TimeZone\": \"America/New_York\"}]}. An appointment with \"after_looks\": 2 is not shown
to the first two looks. Procedures that write are refused.";

/// Serves a practice as its Cloud9 Ortho would, with the faults that it is known for
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct ServeCloud9 {
    /// What the practice holds: a file or a folder
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8091")]
    listen: SocketAddr,
    /// Client id, user and password that it takes
    #[arg(long, value_name = "TEXT", num_args = 3, value_names = ["CLIENT_ID", "USER", "PASSWORD"])]
    credentials: Vec<String>,
    /// Answers code 7 outside of these hours of its clock, in UTC
    #[arg(long, value_name = "HH:MM-HH:MM", value_parser = DailyWindow::parse)]
    allowed_hours: Option<DailyWindow>,
    /// Where its clock begins; it runs on from there
    #[arg(long, value_name = "TIME")]
    clock: Option<DateTime<Utc>>,
    /// Answers code 8 to more requests than this in a second
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Lets the first N requests fail
    #[arg(long, value_name = "N")]
    fail: Option<u64>,
    /// The error code that they fail with; an HTML page without it
    #[arg(long, value_name = "CODE", requires = "fail")]
    fail_code: Option<u32>,
    /// How a GUID that nobody has is answered
    #[arg(long, value_enum, default_value_t)]
    unknown_guid: AnswerUnknown,
    /// The namespace of its answers
    #[arg(long, value_enum, default_value_t)]
    namespace: AnswerNamespace,
    /// Write GUIDs in capitals, whatever the data has
    #[arg(long)]
    upper_guids: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum AnswerUnknown {
    /// Success without records
    #[default]
    NoRecords,
    /// Error with code 3
    #[value(name = "code-3")]
    Code3,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum AnswerNamespace {
    /// No namespace
    #[default]
    None,
    /// The one of requests
    Right,
    /// Another one
    Wrong,
}

impl ServeCloud9 {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let mut practice = Practice::load(&self.path).map_err(|error| Failure::Fault(error.to_string()))?;
        if let [client_id, user, password] = self.credentials.as_slice() {
            practice = practice.with_credentials(client_id, user, password);
        }
        self.script(&practice);
        let listener = listen(self.listen).await?;
        let url = format!("http://{}{PATH}", listener.local_addr()?);
        context.out.print(&json!({ "url": url }), |_| {
            format!("serving the practice of {} on {url}; Ctrl-C stops", self.path.display())
        })?;
        Ok(cloud9::serve(Arc::new(practice), listener, until_told()?).await?)
    }

    fn script(&self, practice: &Practice) {
        practice.set_allowed_hours(self.allowed_hours.map(|hours| (hours.from, hours.to)));
        if let Some(now) = self.clock {
            practice.start_clock(now);
        }
        practice.limit_rate(self.rate);
        if let Some(times) = self.fail {
            practice.fail("", self.fail_code.map_or(Fault::Html, Fault::Code), times);
        }
        practice.answer_unknown_guid(match self.unknown_guid {
            AnswerUnknown::NoRecords => UnknownGuid::NoRecords,
            AnswerUnknown::Code3 => UnknownGuid::Code3,
        });
        practice.set_namespace(match self.namespace {
            AnswerNamespace::None => Namespace::None,
            AnswerNamespace::Right => Namespace::Right,
            AnswerNamespace::Wrong => Namespace::Wrong,
        });
        if self.upper_guids {
            practice.set_guid_case(GuidCase::Upper);
        }
    }
}
