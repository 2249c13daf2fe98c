//! Reads a `GetDataRequest` as strictly as the real system does.

use axum::http::{HeaderMap, Method, header};
use quick_xml::{
    NsReader,
    escape::resolve_predefined_entity,
    events::Event,
    name::{Namespace, ResolveResult},
};

const NAMESPACE: &str = "http://schemas.practica.ws/cloud9/partners/";

/// A request that could be read.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) client_id: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) procedure: String,
    /// Names and values, in order.
    pub(super) parameters: Vec<(String, String)>,
}

impl Request {
    /// The value of the one parameter that must be there; the error code when it is missing (2), or another is there that
    /// the procedure does not know (3).
    pub(super) fn parameter(&self, name: &str, optional: &[&str]) -> Result<&str, u32> {
        let known = |other: &str| other == name || optional.contains(&other);
        if self.parameters.iter().any(|(other, _)| !known(other)) {
            return Err(3);
        }
        let mut values = self.parameters.iter().filter(|(other, _)| other == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) if !value.trim().is_empty() => Ok(value),
            (Some(_), Some(_)) => Err(3),
            _ => Err(2),
        }
    }
}

/// Reads it.
///
/// # Errors
/// Says what the real system would not have taken, without values.
pub(super) fn read(method: &Method, headers: &HeaderMap, body: &[u8]) -> Result<Request, String> {
    if method != Method::POST && method != Method::GET {
        return Err(format!("method {method}"));
    }
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if media_type != "application/xml" {
        return Err(format!("content type {media_type:?}"));
    }
    let text = std::str::from_utf8(body).map_err(|_| "not UTF-8".to_owned())?;
    let mut request = Request::default();
    let mut seen: Vec<String> = Vec::new();
    for (path, value) in elements(text)? {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let into = match path.as_slice() {
            ["GetDataRequest"] | ["GetDataRequest", "Parameters"] if value.trim().is_empty() => continue,
            ["GetDataRequest", "ClientID"] => &mut request.client_id,
            ["GetDataRequest", "UserName"] => &mut request.user,
            ["GetDataRequest", "Password"] => &mut request.password,
            ["GetDataRequest", "Procedure"] => &mut request.procedure,
            ["GetDataRequest", "Parameters", name] => {
                request.parameters.push(((*name).to_owned(), value));
                continue;
            }
            _ => return Err("an element or a text that has no place there".to_owned()),
        };
        let name = path.last().copied().unwrap_or_default();
        if seen.iter().any(|known| known == name) {
            return Err(format!("{name} twice"));
        }
        seen.push(name.to_owned());
        *into = value;
    }
    for name in ["ClientID", "UserName", "Password", "Procedure"] {
        if !seen.iter().any(|known| known == name) {
            return Err(format!("no {name}"));
        }
    }
    Ok(request)
}

/// Every element as it closes: the path to it and its text.
fn elements(text: &str) -> Result<Vec<(Vec<String>, String)>, String> {
    let broken = || "not well-formed XML".to_owned();
    let mut reader = NsReader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut texts: Vec<String> = Vec::new();
    let mut closed = Vec::new();
    loop {
        let (resolved, event) = reader.read_resolved_event().map_err(|_| broken())?;
        let is_ours = resolved == ResolveResult::Bound(Namespace(NAMESPACE));
        match event {
            Event::Start(start) => {
                if !is_ours {
                    return Err("another namespace".to_owned());
                }
                path.push(start.local_name().as_ref().to_owned());
                texts.push(String::new());
            }
            Event::Empty(start) => {
                if !is_ours {
                    return Err("another namespace".to_owned());
                }
                let mut inner = path.clone();
                inner.push(start.local_name().as_ref().to_owned());
                closed.push((inner, String::new()));
            }
            Event::End(_) => {
                let words = texts.pop().ok_or_else(broken)?;
                closed.push((path.clone(), words));
                path.pop();
            }
            Event::Text(words) => push(&mut texts, &words.xml10_content())?,
            Event::CData(words) => push(&mut texts, &words.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character.to_string(),
                    _ => resolve_predefined_entity(&reference).ok_or_else(broken)?.to_owned(),
                };
                push(&mut texts, &character)?;
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::PI(_) | Event::DocType(_) => return Err("a document type or an instruction".to_owned()),
            Event::Eof => break,
        }
    }
    if path.is_empty() && !closed.is_empty() {
        Ok(closed)
    } else {
        Err(broken())
    }
}

fn push(texts: &mut [String], words: &str) -> Result<(), String> {
    match texts.last_mut() {
        Some(text) => text.push_str(words),
        None if words.trim().is_empty() => {}
        None => return Err("text outside of the request".to_owned()),
    }
    Ok(())
}
