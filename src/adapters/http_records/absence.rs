//! Whether a 404 or 410 is the API's own: only then there is no such record.
//!
//! Proxies, load balancers and routers answer 404 as well, to a wrong base address, to a service that is not deployed, to a
//! host that nobody knows. nginx, Apache, Tomcat, Cloudflare, AWS's load balancers and the default handlers of Express,
//! Django, Flask and Rails send a page of HTML; object stores send XML. An API says no with JSON (Rails, Django REST
//! framework, Spring, ASP.NET, an OperationOutcome of FHIR), with nothing at all (Spring's `notFound()`, Rails'
//! `head :not_found`) or with a few words (Express's `sendStatus` and `send`, Starlette).

use serde_json::Value;

use crate::adapters::client::Reply;

/// A longer text is no "not found" of an API's.
const LONGEST_TEXT: usize = 256;

/// What routers say of themselves when nobody is behind them: Traefik and Go's router, ingress-nginx, Kong, Vercel.
const NO_ROUTE: [&str; 4] = [
    "404 page not found",
    "default backend - 404",
    "no route matched with those values",
    "the page could not be found",
];

/// Why an answer with 404 or 410 need not come from the API, in words; `None` where it is the API's own. `body` is its JSON, null where
/// it is empty.
pub(super) fn somebody_elses(reply: &Reply, body: Option<&Value>) -> Option<&'static str> {
    match body {
        Some(Value::Null) if is_blank(reply) => None,
        _ if is_a_routers(reply) => Some(
            "the words of a router that found no API: check base_url and the lookup's path; where the API itself says so that \
             there is no such record, name its words in absent_when",
        ),
        // Its type does not matter: older APIs call their JSON text/html.
        Some(_) => None,
        None if is_page(reply) => Some(
            "a page for people, which need not come from the API: check base_url and the lookup's path; where the API itself says \
             so that there is no such record, name its words in absent_when",
        ),
        None if is_short_text(reply) => None,
        None => Some(
            "no JSON, and need not come from the API: check base_url and the lookup's path; where the API itself says so that there \
             is no such record, name its words in absent_when",
        ),
    }
}

/// The body for a condition, where it is no JSON: a playbook may know the words of its API.
pub(super) fn as_text(reply: &Reply) -> Value {
    Value::String(String::from_utf8_lossy(&reply.body).into_owned())
}

fn is_blank(reply: &Reply) -> bool {
    reply.body.iter().all(u8::is_ascii_whitespace)
}

fn is_a_routers(reply: &Reply) -> bool {
    let start = reply.body.get(..LONGEST_TEXT).unwrap_or(&reply.body);
    let start = String::from_utf8_lossy(start).to_ascii_lowercase();
    !start.trim_start().starts_with('<') && NO_ROUTE.iter().any(|words| start.contains(words))
}

/// Markup, whatever it calls itself. XML that is no HTML is none for people.
fn is_page(reply: &Reply) -> bool {
    let is_marked_up = reply.body.trim_ascii_start().starts_with(b"<");
    reply.media_type == "application/xhtml+xml" || is_marked_up && !reply.body.trim_ascii_start().starts_with(b"<?xml")
}

fn is_short_text(reply: &Reply) -> bool {
    // `text/html` is what Express and PHP call any text.
    let is_text = matches!(reply.media_type.as_str(), "" | "text/plain" | "text/html");
    is_text
        && reply.body.len() <= LONGEST_TEXT
        && !reply.body.contains(&b'<')
        && std::str::from_utf8(&reply.body).is_ok()
}
