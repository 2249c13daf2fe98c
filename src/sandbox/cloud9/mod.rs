//! A practice's Cloud9 Ortho on loopback: the same XML over the same single address, HTTP 200 for errors too.
//!
//! It is strict in what it takes, so that a request that the real system would refuse is refused here: namespace,
//! credentials, procedure, parameter names. Procedures that write are refused and counted. What it answers is scripted:
//! errors, throttling, closed hours on a clock of its own, records that appear only after some looks.
//!
//! `data` is what the practice holds, `script` how it behaves, `request` reads a request, `answer` writes one.

mod answer;
mod data;
mod request;
mod script;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{
    answer::{Answer, Shape},
    data::Data,
    request::Request,
    script::Script,
};
pub use self::{
    answer::{GuidCase, Namespace},
    data::PracticeError,
    script::{Fault, UnknownGuid},
};
use super::Server;

/// The path of the one address.
pub const PATH: &str = "/GetData.ashx";

/// Who may ask: client id, user, password.
pub const CREDENTIALS: (&str, &str, &str) = ("sandbox-client", "sandbox-user", "sandbox-password");

/// One request as it was answered. Without values: they name people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The procedure, where the request could be read.
    pub procedure: String,
    /// The names of its parameters.
    pub parameters: Vec<String>,
    /// The error code answered; `None` for a success, and for an answer that is none of the protocol's.
    pub code: Option<u32>,
    /// By the practice's clock.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Default)]
struct Log {
    requests: Vec<Logged>,
    malformed: Vec<String>,
    refused_writes: u64,
}

/// A practice: what it holds, how it behaves, and what was asked of it. Everything may be changed while it is served.
#[derive(Debug)]
pub struct Practice {
    data: Mutex<Data>,
    script: Mutex<Script>,
    shape: Mutex<Shape>,
    log: Mutex<Log>,
    credentials: (String, String, String),
}

impl Default for Practice {
    fn default() -> Self {
        Self::new()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Practice {
    /// Nobody in it yet; open at all hours.
    pub fn new() -> Self {
        let (client_id, user, password) = CREDENTIALS;
        Self {
            data: Mutex::default(),
            script: Mutex::default(),
            shape: Mutex::default(),
            log: Mutex::default(),
            credentials: (client_id.to_owned(), user.to_owned(), password.to_owned()),
        }
    }

    /// Reads a JSON file, or every `*.json` of a folder: `{"patients": […], "appointments": […], "locations": […]}`, also
    /// inside a member `cloud9`.
    ///
    /// # Errors
    /// When something cannot be read, holds no such lists, or one of their records is not an object.
    pub fn load(path: &Path) -> Result<Self, PracticeError> {
        let practice = Self::new();
        *locked(&practice.data) = Data::load(path)?;
        Ok(practice)
    }

    /// With these credentials in place of [`CREDENTIALS`].
    #[must_use]
    pub fn with_credentials(mut self, client_id: &str, user: &str, password: &str) -> Self {
        self.credentials = (client_id.to_owned(), user.to_owned(), password.to_owned());
        self
    }

    /// Adds records: `{"patients": […], "appointments": […], "locations": […]}`, all lists optional, each record an object of
    /// texts under Cloud9's names. A record whose GUID is known takes its place; one with `after_looks` is not shown to
    /// the first so many looks at its patient.
    /// What is no such list is left out.
    pub fn add(&self, records: &Value) {
        locked(&self.data).add(records);
    }

    /// [`Practice::add`] before it is served.
    #[must_use]
    pub fn with(self, records: &Value) -> Self {
        self.add(records);
        self
    }

    /// Takes an appointment away.
    pub fn remove_appointment(&self, guid: &str) {
        locked(&self.data).remove_appointment(guid);
    }

    /// Lets the next `times` requests of a procedure fail, after those that were said to fail before; the empty name stands
    /// for every procedure.
    pub fn fail(&self, procedure: &str, fault: Fault, times: u64) {
        locked(&self.script).fail(procedure, fault, times);
    }

    /// Ends every scripted failure.
    pub fn heal(&self) {
        locked(&self.script).heal();
    }

    /// What a GUID that nobody has is answered with.
    pub fn answer_unknown_guid(&self, answer: UnknownGuid) {
        locked(&self.script).unknown_guid = answer;
    }

    /// Asked outside of these minutes of the day in UTC it answers code 7; `None` is open at all hours.
    pub fn set_allowed_hours(&self, window: Option<(u32, u32)>) {
        locked(&self.script).allowed_hours = window;
    }

    /// Sets its clock, which stands still from now on and is what it says in `Date`.
    pub fn set_clock(&self, now: DateTime<Utc>) {
        locked(&self.script).set_clock(now);
    }

    /// Starts its clock at this instant.
    pub fn start_clock(&self, now: DateTime<Utc>) {
        locked(&self.script).start_clock(now);
    }

    /// Moves its clock.
    pub fn advance_clock(&self, by: Duration) {
        locked(&self.script).advance_clock(by);
    }

    /// More requests than this within a second of its clock are answered code 8; `None` is no limit.
    pub fn limit_rate(&self, per_second: Option<u32>) {
        locked(&self.script).per_second = per_second;
    }

    /// The namespace of its answers.
    pub fn set_namespace(&self, namespace: Namespace) {
        locked(&self.shape).namespace = namespace;
    }

    /// In which case it writes GUIDs.
    pub fn set_guid_case(&self, case: GuidCase) {
        locked(&self.shape).guids = case;
    }

    /// What was asked, in order.
    pub fn requests(&self) -> Vec<Logged> {
        locked(&self.log).requests.clone()
    }

    /// Requests for a procedure that writes. All were refused.
    pub fn refused_writes(&self) -> u64 {
        locked(&self.log).refused_writes
    }

    /// What was wrong with requests that the real system could not have read, without values.
    pub fn malformed(&self) -> Vec<String> {
        locked(&self.log).malformed.clone()
    }

    /// The answer to a request, and what the log says of it.
    fn answer(&self, method: &Method, headers: &HeaderMap, body: &[u8]) -> Answer {
        let request = match request::read(method, headers, body) {
            Ok(request) => request,
            Err(reason) => {
                locked(&self.log).malformed.push(reason);
                let answer = Answer::error(0);
                self.note(&Request::default(), &answer);
                return answer;
            }
        };
        let answer = self.answer_to(&request);
        self.note(&request, &answer);
        answer
    }

    fn answer_to(&self, request: &Request) -> Answer {
        if request.procedure.starts_with("Set") {
            locked(&self.log).refused_writes += 1;
            return Answer::error(10);
        }
        let mut script = locked(&self.script);
        if let Some(fault) = script.next_fault(&request.procedure) {
            return Answer::Fault(fault);
        }
        let (client_id, user, password) = &self.credentials;
        if request.client_id != *client_id {
            return Answer::error(6);
        }
        if request.user != *user || request.password != *password {
            return Answer::error(1);
        }
        if !script.is_open() {
            return Answer::error(7);
        }
        if !script.takes_another() {
            return Answer::error(8);
        }
        let unknown_guid = script.unknown_guid;
        drop(script);
        let mut data = locked(&self.data);
        match request.procedure.as_str() {
            "GetPatientInformation" => by_guid(request, "patguid", |guid| data.patient(guid), unknown_guid),
            "GetAppointmentListByPatient" => by_guid(request, "patGUID", |guid| data.appointments(guid), unknown_guid),
            "GetPortalPatientLookup" => {
                let optional = ["lookupByPatient", "showInactive", "pageIndex", "pageSize"];
                match request.parameter("filter", &optional) {
                    Ok(filter) => Answer::Records(data.patients_like(filter)),
                    Err(code) => Answer::error(code),
                }
            }
            "GetLocations" if request.parameters.is_empty() => Answer::Records(data.locations()),
            "GetLocations" => Answer::error(3),
            _ => Answer::error(10),
        }
    }

    fn note(&self, request: &Request, answer: &Answer) {
        let at = locked(&self.script).now();
        locked(&self.log).requests.push(Logged {
            procedure: request.procedure.clone(),
            parameters: request.parameters.iter().map(|(name, _)| name.clone()).collect(),
            code: answer.code(),
            at,
        });
    }
}

/// `find` answers `None` for a GUID that nobody has.
fn by_guid(
    request: &Request,
    parameter: &str,
    find: impl FnOnce(&str) -> Option<Vec<Value>>,
    unknown: UnknownGuid,
) -> Answer {
    let guid = match request.parameter(parameter, &[]) {
        Ok(guid) => guid,
        Err(code) => return Answer::error(code),
    };
    if uuid::Uuid::try_parse(guid).is_err() {
        return Answer::error(3);
    }
    match (find(guid), unknown) {
        (Some(records), _) => Answer::Records(records),
        (None, UnknownGuid::NoRecords) => Answer::Records(Vec::new()),
        (None, UnknownGuid::Code3) => Answer::error(3),
    }
}

#[derive(Clone)]
struct Shared {
    practice: Arc<Practice>,
    stopping: CancellationToken,
}

/// Serves a practice on a listener of the caller's until `stopping` is cancelled.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(practice: Arc<Practice>, listener: TcpListener, stopping: CancellationToken) -> io::Result<()> {
    let router = router(practice, stopping.clone());
    axum::serve(listener, router)
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await
}

/// Serves a practice on a free port of 127.0.0.1, below [`PATH`].
///
/// # Errors
/// When no port can be had.
pub async fn start(practice: Arc<Practice>) -> io::Result<Server> {
    let stopping = CancellationToken::new();
    Server::start(router(practice, stopping.clone()), stopping).await
}

/// What it answers. `stopping` is what answers that hang wait for.
pub(super) fn router(practice: Arc<Practice>, stopping: CancellationToken) -> Router {
    Router::new()
        .fallback(handle)
        .layer(DefaultBodyLimit::max(1_000_000))
        .with_state(Shared { practice, stopping })
}

async fn handle(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if uri.path() != PATH {
        return StatusCode::NOT_FOUND.into_response();
    }
    let answer = shared.practice.answer(&method, &headers, &body);
    if matches!(answer, Answer::Fault(Fault::Hang)) {
        shared.stopping.cancelled().await;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let (status, media_type, text) = answer.render(*locked(&shared.practice.shape));
    let mut response = (status, [(header::CONTENT_TYPE, media_type)], text).into_response();
    if let Some(date) = locked(&shared.practice.script).date() {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}
