//! Writes an answer as the real system does, in the shapes that it is seen in.

use std::fmt::Write as _;

use axum::http::StatusCode;
use quick_xml::escape::escape;
use serde_json::Value;

use super::script::Fault;

/// The namespace of answers: none is usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Namespace {
    /// No namespace.
    #[default]
    None,
    /// The one of requests.
    Right,
    /// Another one.
    Wrong,
}

/// In which case GUIDs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GuidCase {
    /// As the data has them.
    #[default]
    AsGiven,
    /// In capitals.
    Upper,
    /// In small letters.
    Lower,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    pub(super) namespace: Namespace,
    pub(super) guids: GuidCase,
}

#[derive(Debug)]
pub(super) enum Answer {
    Records(Vec<Value>),
    Error(u32),
    Fault(Fault),
}

const PAGE: &str = "<!DOCTYPE html><html><head><title>Service Unavailable</title></head><body>Try later</body></html>";

impl Answer {
    pub(super) fn error(code: u32) -> Self {
        Self::Error(code)
    }

    /// For the log.
    pub(super) fn code(&self) -> Option<u32> {
        match self {
            Self::Error(code) | Self::Fault(Fault::Code(code)) => Some(*code),
            Self::Records(_) | Self::Fault(_) => None,
        }
    }

    /// Status, media type and body.
    pub(super) fn render(&self, shape: Shape) -> (StatusCode, &'static str, String) {
        const XML: &str = "text/xml; charset=utf-8";
        let ok = |text| (StatusCode::OK, XML, text);
        match self {
            Self::Records(records) => ok(success(shape, &elements(shape, records))),
            Self::Error(code) | Self::Fault(Fault::Code(code)) => ok(error(shape, *code)),
            Self::Fault(Fault::ErrorResult) => ok(success(
                shape,
                "<Record><Result>Error: the record is locked by another user</Result></Record>",
            )),
            Self::Fault(Fault::NoRecords) => ok(success(shape, "")),
            Self::Fault(Fault::EmptyBody) => ok(String::new()),
            Self::Fault(Fault::Html) => (StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned()),
            Self::Fault(Fault::Status(status)) => (
                StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY),
                "text/html; charset=utf-8",
                PAGE.to_owned(),
            ),
            Self::Fault(Fault::Cut) => {
                let mut whole = success(shape, "<Record><PatientGUID>5108d45a");
                whole.truncate(whole.find("5108d45a").unwrap_or(whole.len()));
                ok(whole)
            }
            Self::Fault(Fault::Body(body)) => ok(body.clone()),
            // The server waits before it comes here.
            Self::Fault(Fault::Hang) => (StatusCode::SERVICE_UNAVAILABLE, XML, String::new()),
        }
    }
}

fn root(shape: Shape, inner: &str) -> String {
    let namespace = match shape.namespace {
        Namespace::None => "",
        Namespace::Right => " xmlns=\"http://schemas.practica.ws/cloud9/partners/\"",
        Namespace::Wrong => " xmlns=\"http://schemas.example.com/other/\"",
    };
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<GetDataResponse{namespace}>{inner}</GetDataResponse>")
}

fn success(shape: Shape, records: &str) -> String {
    let records = if records.is_empty() {
        "<Records />".to_owned()
    } else {
        format!("<Records>{records}</Records>")
    };
    root(shape, &format!("<ResponseStatus>Success</ResponseStatus>{records}"))
}

fn error(shape: Shape, code: u32) -> String {
    let message = match code {
        1 => "Wrong client, user or password.",
        2 => "A required parameter is missing.",
        3 => "A parameter has an invalid value.",
        6 => "No access to this client.",
        7 => "Outside of the agreed hours.",
        8 => "Too many requests.",
        10 => "No access to this procedure.",
        _ => "Something went wrong.",
    };
    root(
        shape,
        &format!(
            "<ResponseStatus>Error</ResponseStatus><ErrorCode>{code}</ErrorCode><ErrorMessage>{message}</ErrorMessage>"
        ),
    )
}

fn elements(shape: Shape, records: &[Value]) -> String {
    let mut text = String::new();
    for record in records.iter().filter_map(Value::as_object) {
        text.push_str("<Record>");
        for (name, value) in record {
            let value = match value {
                Value::String(value) if name.to_ascii_lowercase().ends_with("guid") => match shape.guids {
                    GuidCase::AsGiven => value.clone(),
                    GuidCase::Upper => value.to_uppercase(),
                    GuidCase::Lower => value.to_lowercase(),
                },
                Value::String(value) => value.clone(),
                Value::Null => continue,
                Value::Bool(flag) => u8::from(*flag).to_string(),
                other => other.to_string(),
            };
            // Writing to a String cannot fail.
            let _ = write!(text, "<{name}>{}</{name}>", escape(&value));
        }
        text.push_str("</Record>");
    }
    text
}
