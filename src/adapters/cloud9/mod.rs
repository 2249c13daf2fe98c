//! Cloud9 Ortho, the practice's own system, asked by XML procedures that only read.
//!
//! `procedure` is the list of what may be called, `request` what is sent, `encoding` and `response` what comes back, `ask` the
//! exchange, `hours` and `zones` what must be known of a practice, `pauses` the pause that a procedure needs for itself,
//! `probe` what `doctor` shows.
//!
//! A system that is closed, throttles, refuses us or answers nonsense is an error and never "not there". HTTP says 200 to
//! all of these, so the answer's own words decide. No answer is kept for a second question: a record that is looked for again
//! must be looked for again, and within a session no question is asked twice anyway.

mod ask;
mod encoding;
mod hours;
mod pauses;
mod probe;
mod procedure;
mod request;
mod response;
mod zones;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use chrono_tz::Tz;
use reqwest::{Client, Url};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use self::{
    ask::Said,
    pauses::Pauses,
    request::Question,
    zones::{Zones, have_local_times},
};
pub use self::{hours::AllowedHours, procedure::Procedure, request::Credentials};
use super::client::{self, ClientSettings};
use crate::{
    domain::lookup::{Fact, Lookup},
    ports::{Answer, Probe, SystemOfRecord, UpstreamError, UpstreamReason},
};

/// Locations that could not be asked for are asked for again after this.
const ZONES_AGAIN: Duration = Duration::from_mins(10);

/// A procedure that fails so often where the others answer is not served.
const ZONES_OUTAGES: u32 = 3;

/// One configured system of record of type `cloud9`.
#[derive(Debug, Clone)]
pub struct Cloud9Config {
    /// The address of `GetData.ashx`.
    pub url: String,
    /// Who asks.
    pub credentials: Credentials,
    /// `GET` with a body, as older partners send it, in place of `POST`.
    pub get_with_body: bool,
    /// The practice's zone, in place of what its locations say.
    pub timezone: Option<Tz>,
    /// When the system may be asked.
    pub allowed_hours: Option<AllowedHours>,
    /// From sending to the last byte.
    pub timeout: Duration,
    /// Largest answer.
    pub max_bytes: usize,
    /// Pause between a lookup's own further calls.
    pub pace: Duration,
    /// Least time between two calls of one procedure.
    pub procedure_pace: BTreeMap<Procedure, Duration>,
}

impl Cloud9Config {
    /// With the defaults: POST, 30 s, 8 MB, 200 ms.
    pub fn new(url: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            url: url.into(),
            credentials,
            get_with_body: false,
            timezone: None,
            allowed_hours: None,
            timeout: Duration::from_secs(30),
            max_bytes: 8_000_000,
            pace: Duration::from_millis(200),
            procedure_pace: BTreeMap::new(),
        }
    }
}

/// How one kind of record of a playbook is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud9Lookup {
    /// A patient, by id.
    Patient,
    /// The appointments of a patient, by the key `patient`.
    Appointments,
    /// Patients, by the key `name`.
    PatientSearch,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Cloud9Error {
    /// Not an address.
    #[error("system of record `{system}`: url is not an http(s) address")]
    Url {
        /// The system.
        system: String,
    },
    /// TLS could not be set up.
    #[error("system of record `{system}`: no HTTPS on this machine: {source}")]
    Client {
        /// The system.
        system: String,
        /// Why.
        source: reqwest::Error,
    },
}

/// A practice's Cloud9 Ortho.
#[derive(Debug)]
pub struct Cloud9 {
    name: String,
    upstream: String,
    url: Url,
    config: Cloud9Config,
    client: Client,
    lookups: BTreeMap<String, Cloud9Lookup>,
    pauses: Pauses,
    zones: Mutex<Learnt>,
}

/// What the locations said of zones.
#[derive(Debug, Default)]
struct Learnt {
    zones: Option<Zones>,
    /// When they could not say.
    failed_at: Option<Instant>,
    /// How often asking failed in a way that may pass.
    outages: u32,
}

impl Cloud9 {
    /// Checks the configuration. `lookups` are the playbook's kinds of records and searches, by their names.
    ///
    /// # Errors
    /// When the address is none, or TLS cannot be set up.
    pub fn new(
        name: impl Into<String>,
        config: Cloud9Config,
        lookups: BTreeMap<String, Cloud9Lookup>,
    ) -> Result<Self, Cloud9Error> {
        let name = name.into();
        let url = Url::parse(&config.url)
            .ok()
            .filter(|url| {
                matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
            })
            .ok_or_else(|| Cloud9Error::Url { system: name.clone() })?;
        let client = client::build(&ClientSettings::default()).map_err(|source| Cloud9Error::Client {
            system: name.clone(),
            source,
        })?;
        Ok(Self {
            upstream: format!("records:{name}"),
            name,
            url,
            pauses: Pauses::new(config.procedure_pace.clone()),
            zones: Mutex::new(Learnt {
                zones: config.timezone.map(Zones::everywhere),
                ..Learnt::default()
            }),
            config,
            client,
            lookups,
        })
    }

    async fn patient(&self, id: &str, question: &Question) -> Result<(Fact, u16), UpstreamError> {
        let (said, status) = self.ask(question).await?;
        let records = match said {
            Said::Records(records) => records,
            Said::Refused(code, words) => return Ok((unknown_or_absent(id, code, &words), status)),
        };
        let fact = match theirs(records, id) {
            Theirs::Nothing => Fact::Absent,
            Theirs::OthersOnly => Fact::Unknown {
                reason: "the system answered with another patient's record".to_owned(),
            },
            Theirs::Records(mut records) => Fact::Found {
                record: records.swap_remove(0),
            },
        };
        Ok((fact, status))
    }

    async fn appointments(&self, patient: &str, question: &Question) -> Result<(Fact, u16), UpstreamError> {
        let began = Instant::now();
        let (said, status) = self.ask(question).await?;
        let records = match said {
            Said::Records(records) => records,
            Said::Refused(code, words) => return Ok((unknown_or_absent(patient, code, &words), status)),
        };
        let fact = match theirs(records, patient) {
            Theirs::Nothing => Fact::Absent,
            Theirs::OthersOnly => Fact::Unknown {
                reason: "the system answered with another patient's appointments".to_owned(),
            },
            Theirs::Records(mut records) => {
                self.stamp(&mut records, began).await?;
                Fact::Found {
                    record: Value::Array(records),
                }
            }
        };
        Ok((fact, status))
    }

    async fn search(&self, question: &Question) -> Result<(Fact, u16), UpstreamError> {
        let (said, status) = self.ask(question).await?;
        let fact = match said {
            Said::Records(records) if records.is_empty() => Fact::Absent,
            Said::Records(records) => Fact::Found {
                record: Value::Array(records),
            },
            Said::Refused(code, words) => refused_question(code, &words),
        };
        Ok((fact, status))
    }

    /// Writes the practice's zone behind local times. The locations are asked once, a pace apart from the calls before and
    /// after; that this system does not show them to
    /// us is no reason to know nothing of appointments.
    async fn stamp(&self, records: &mut [Value], last_call: Instant) -> Result<(), UpstreamError> {
        if !have_local_times(records) {
            return Ok(());
        }
        let mut learnt = self.zones.lock().await;
        let tried = learnt.failed_at.is_some_and(|at| at.elapsed() < ZONES_AGAIN);
        if learnt.zones.is_none() && !tried {
            tokio::time::sleep_until(last_call + self.config.pace).await;
            let asked_at = Instant::now();
            let answer = self.ask(&Question::new(Procedure::GetLocations)).await;
            tokio::time::sleep_until(asked_at + self.config.pace).await;
            match answer {
                Ok((Said::Records(locations), _)) => {
                    let zones = Zones::of_locations(&locations);
                    if zones.known() > 0 {
                        learnt.zones = Some(zones);
                    } else {
                        learnt.failed_at = Some(Instant::now());
                    }
                }
                // It answered the question before: this should pass, and until then the time cannot be told.
                Err(error) if may_pass(&error) && learnt.outages < ZONES_OUTAGES => {
                    learnt.outages += 1;
                    return Err(error);
                }
                Ok((Said::Refused(..), _)) | Err(_) => learnt.failed_at = Some(Instant::now()),
            }
            if learnt.zones.is_none() {
                tracing::warn!(
                    system = self.name,
                    "the practice's locations give no time zone: the playbook's counts; set `timezone` of this [[records]]"
                );
            }
        }
        if let Some(zones) = &learnt.zones {
            for record in records {
                zones.stamp(record);
            }
        }
        Ok(())
    }
}

fn may_pass(error: &UpstreamError) -> bool {
    matches!(
        error.reason,
        UpstreamReason::RateLimited | UpstreamReason::ClosedHours | UpstreamReason::Unreachable
    )
}

/// Records by whose they are.
enum Theirs {
    Nothing,
    OthersOnly,
    /// At least one.
    Records(Vec<Value>),
}

/// The records that are this patient's, or say of none whose they are. GUIDs come in any case.
fn theirs(records: Vec<Value>, patient: &str) -> Theirs {
    if records.is_empty() {
        return Theirs::Nothing;
    }
    let is_theirs = |record: &Value| {
        let Some(fields) = record.as_object() else { return true };
        let owner = fields
            .iter()
            .find(|(name, _)| matches!(name.to_ascii_lowercase().as_str(), "patientguid" | "patguid"))
            .and_then(|(_, value)| value.as_str())
            .filter(|owner| !owner.is_empty());
        owner.is_none_or(|owner| same_guid(owner, patient))
    };
    let records: Vec<Value> = records.into_iter().filter(is_theirs).collect();
    if records.is_empty() {
        Theirs::OthersOnly
    } else {
        Theirs::Records(records)
    }
}

fn same_guid(left: &str, right: &str) -> bool {
    let plain = |guid: &str| guid.trim().trim_matches(['{', '}']).to_lowercase();
    plain(left) == plain(right)
}

/// An id that is a GUID and still no value for the parameter is one that the system does not know: some say so with code 3,
/// others with no records at all. Anything else that it refuses is our fault or the claim's, and shows nothing.
fn unknown_or_absent(id: &str, code: u32, words: &str) -> Fact {
    let is_guid = uuid::Uuid::try_parse(id.trim().trim_matches(['{', '}'])).is_ok();
    if code == 3 && is_guid {
        return Fact::Absent;
    }
    refused_question(code, words)
}

fn refused_question(code: u32, words: &str) -> Fact {
    let what = if code == 2 {
        "a parameter is missing"
    } else {
        "a parameter has a value that it does not take"
    };
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    };
    Fact::Unknown {
        reason: format!("the system refused the question, {what} (error code {code}){words}"),
    }
}

/// `Milo Reyes` as the search wants it: `Reyes, Milo`.
fn last_name_first(name: &str) -> String {
    let words: Vec<&str> = name.split_whitespace().collect();
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() && !name.contains(',') => format!("{last}, {}", first.join(" ")),
        _ => words.join(" "),
    }
}

#[async_trait]
impl SystemOfRecord for Cloud9 {
    fn name(&self) -> &str {
        &self.name
    }

    /// It throttles by answering nothing, too.
    fn doubts_absence(&self) -> bool {
        true
    }

    async fn look_up(&self, lookup: &Lookup) -> Result<Answer, UpstreamError> {
        let Some(how) = self.lookups.get(&lookup.record).copied() else {
            return Ok(Answer::unasked(format!(
                "Cloud9 is not asked for records of kind `{}`",
                lookup.record
            )));
        };
        let (procedure, parameter, value) = match how {
            Cloud9Lookup::Patient => (Procedure::GetPatientInformation, "patguid", lookup.id.as_ref()),
            Cloud9Lookup::Appointments => (
                Procedure::GetAppointmentListByPatient,
                "patGUID",
                lookup.keys.get("patient"),
            ),
            Cloud9Lookup::PatientSearch => (Procedure::GetPortalPatientLookup, "filter", lookup.keys.get("name")),
        };
        let Some(value) = value else {
            return Ok(Answer::unasked(format!(
                "{procedure} needs {parameter}, and none is known"
            )));
        };
        let sent = match how {
            Cloud9Lookup::PatientSearch => last_name_first(value),
            Cloud9Lookup::Patient | Cloud9Lookup::Appointments => value.clone(),
        };
        let question = match Question::new(procedure).with(parameter, &sent) {
            Ok(question) => question,
            Err(reason) => return Ok(Answer::unasked(format!("{procedure} cannot be asked: {reason}"))),
        };
        let (fact, status) = match how {
            Cloud9Lookup::Patient => self.patient(value, &question).await?,
            Cloud9Lookup::Appointments => self.appointments(value, &question).await?,
            Cloud9Lookup::PatientSearch => self.search(&question).await?,
        };
        Ok(Answer {
            fact,
            request: question.to_evidence(),
            status: Some(status),
        })
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        self.try_locations().await
    }
}

#[cfg(test)]
mod tests;
