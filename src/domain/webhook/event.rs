//! What a request says: that a session ended, or something that is none of our business.
//!
//! | shape | ends a session | the session | when | source of the rule |
//! |---|---|---|---|---|
//! | generic | every request | of the path | `ended_at` | ours: docs/webhooks.md |
//! | vapi | `message.type` is `end-of-call-report` | `message.call.id` | `message.endedAt` | <https://docs.vapi.ai/server-url/events> |
//! | retell | `event` is `call_ended`, `call_analyzed`, `chat_ended` or `chat_analyzed` | `call.call_id`, `chat.chat_id` | `call.end_timestamp`, in ms | <https://docs.retellai.com/features/webhook> |
//! | twilio | `CallStatus` is `completed` | `CallSid` | `Timestamp`, as RFC 2822 has it | <https://www.twilio.com/docs/voice/api/call-resource#statuscallback> |
//!
//! Of Twilio's other last statuses (`busy`, `failed`, `no-answer`, `canceled`) none has reached an agent: there is no session.
//!
//! Nothing else of it is read, and nothing of it is kept but this.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    LONGEST_ID, Request, Shape, form,
    pointer::{Pointer, find},
};

/// Letters of a reason that are kept.
const REASON_MOST: usize = 100;

/// What a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session is over.
    Ended(End),
    /// Something else.
    Other,
}

/// A session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Which, by the id that its traces have.
    pub session_id: String,
    /// When, as the sender has it.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why, as the sender has it.
    pub reason: Option<String>,
}

/// What a request that was signed does not say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Its body is not what its shape says.
    #[error("its body cannot be read: {0}")]
    Body(String),
    /// It ends a session and does not say which.
    #[error("there is no text at `{0}`, where the session's id should be")]
    NoSession(String),
    /// A form without what every status callback has.
    #[error("its form has no `{0}`: it is no status callback of Twilio's")]
    NoParameter(&'static str),
    /// The id cannot be one.
    #[error("the session's id has 1 to {LONGEST_ID} bytes and no control characters")]
    BadSession,
}

/// Where JSON went wrong, without what stands there.
fn of_json(error: &serde_json::Error) -> Unreadable {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "it is not as documented",
        _ => "it is no JSON",
    };
    Unreadable::Body(format!("{what}, line {} column {}", error.line(), error.column()))
}

/// Reads what a request says; `at` is where the session's id stands, where that is not the vendor's own.
///
/// # Errors
/// When it cannot be read, or does not say which session it is about.
pub fn read(shape: Shape, at: Option<&Pointer>, request: &Request<'_>) -> Result<Event, Unreadable> {
    let event = match shape {
        Shape::Generic => generic(request)?,
        Shape::Vapi => vapi(at, request.body)?,
        Shape::Retell => retell(at, request.body)?,
        Shape::Twilio => twilio(at, request)?,
    };
    let Event::Ended(end) = event else { return Ok(event) };
    let id = &end.session_id;
    if id.is_empty() || id.len() > LONGEST_ID || id.chars().any(char::is_control) {
        return Err(Unreadable::BadSession);
    }
    let reason = end.reason.map(|reason| {
        let plain = reason.chars().filter(|letter| !letter.is_control());
        plain.take(REASON_MOST).collect::<String>()
    });
    Ok(Event::Ended(End {
        reason: reason.filter(|reason| !reason.is_empty()),
        ..end
    }))
}

/// The body of a generic request, if it has any.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    ended_at: Option<DateTime<Utc>>,
    reason: Option<String>,
}

fn generic(request: &Request<'_>) -> Result<Event, Unreadable> {
    let body = request.body.trim_ascii();
    let said = match body.first() {
        None => Ended::default(),
        // A list in the order of the fields would be taken for an object.
        Some(b'{') => serde_json::from_slice(body).map_err(|error| of_json(&error))?,
        Some(_) => return Err(Unreadable::Body("it is no JSON object".to_owned())),
    };
    Ok(Event::Ended(End {
        session_id: request.session_id.to_owned(),
        ended_at: said.ended_at,
        reason: said.reason,
    }))
}

/// What stands there in the body.
fn in_json(body: &[u8], parts: &[&str]) -> Result<Option<String>, Unreadable> {
    find(body, parts).map_err(|error| of_json(&error))
}

/// The session's id: there, or where the vendor has its own.
fn session(at: Option<&Pointer>, body: &[u8], own: &[&str]) -> Result<String, Unreadable> {
    match at {
        Some(at) => at
            .find(body)
            .map_err(|error| of_json(&error))?
            .ok_or_else(|| Unreadable::NoSession(at.to_string())),
        None => in_json(body, own)?.ok_or_else(|| Unreadable::NoSession(format!("/{}", own.join("/")))),
    }
}

fn vapi(at: Option<&Pointer>, body: &[u8]) -> Result<Event, Unreadable> {
    if in_json(body, &["message", "type"])?.as_deref() != Some("end-of-call-report") {
        return Ok(Event::Other);
    }
    let ended_at = in_json(body, &["message", "endedAt"])?;
    Ok(Event::Ended(End {
        session_id: session(at, body, &["message", "call", "id"])?,
        ended_at: ended_at.and_then(|at| at.parse().ok()),
        reason: in_json(body, &["message", "endedReason"])?,
    }))
}

fn retell(at: Option<&Pointer>, body: &[u8]) -> Result<Event, Unreadable> {
    let (about, id) = match in_json(body, &["event"])?.as_deref() {
        Some("call_ended" | "call_analyzed") => ("call", "call_id"),
        Some("chat_ended" | "chat_analyzed") => ("chat", "chat_id"),
        _ => return Ok(Event::Other),
    };
    let ended_at = in_json(body, &[about, "end_timestamp"])?;
    Ok(Event::Ended(End {
        session_id: session(at, body, &[about, id])?,
        ended_at: ended_at.and_then(|at| DateTime::from_timestamp_millis(at.parse().ok()?)),
        reason: in_json(body, &[about, "disconnection_reason"])?,
    }))
}

/// Parameters of the address stand beside those of the form: what a team adds to the callback's address comes back in it.
fn twilio(at: Option<&Pointer>, request: &Request<'_>) -> Result<Event, Unreadable> {
    let no_form = || Unreadable::Body("it is no form".to_owned());
    let form = form::pairs(request.body).ok_or_else(no_form)?;
    // What is signed is address and form without a seam: of a form that has all of these, no part was moved into the address.
    for name in ["AccountSid", "CallSid", "CallStatus"] {
        if !form.iter().any(|(known, value)| known == name && !value.is_empty()) {
            return Err(Unreadable::NoParameter(name));
        }
    }
    let query = form::pairs(request.query.unwrap_or_default().as_bytes()).ok_or_else(no_form)?;
    let value = |name: &str| {
        let mut all = form.iter().chain(&query);
        all.find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let status = value("CallStatus");
    if status.as_deref() != Some("completed") {
        return Ok(Event::Other);
    }
    let name = at.and_then(Pointer::name).unwrap_or("CallSid");
    let ended_at = value("Timestamp").and_then(|at| DateTime::parse_from_rfc2822(&at).ok());
    Ok(Event::Ended(End {
        session_id: value(name).ok_or_else(|| Unreadable::NoSession(format!("/{name}")))?,
        ended_at: ended_at.map(|at| at.to_utc()),
        reason: status,
    }))
}
