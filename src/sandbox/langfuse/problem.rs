//! Everything but an answer: the error shapes of the releases, down to what their validation libraries say.

use axum::{
    Json,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::version::Version;

/// An answer that is none.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) body: Body,
    pub(super) headers: Vec<(HeaderName, String)>,
}

#[derive(Debug)]
pub(super) enum Body {
    Json(Value),
    /// Media type and text.
    Text(&'static str, String),
}

const HTML: &str = "text/html; charset=utf-8";
const EVENTS_ONLY: &str = "This endpoint is not available on deployments running in Langfuse v4 events_only mode. \
                           Learn more about Langfuse v4 at: https://langfuse.com/docs/v4";
const NO_OBSERVATIONS_V2: &str = "The observations v2 API is only available in a Langfuse v4 write mode. \
                                  Learn more about Langfuse v4 at: https://langfuse.com/docs/v4";

impl Problem {
    fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Body::Json(body),
            headers: Vec::new(),
        }
    }

    /// 400 with the validation library's issues.
    pub(super) fn issues(issues: &[Value]) -> Self {
        Self::json(400, json!({"message": "Invalid request data", "error": issues}))
    }

    /// 400 of the server's own.
    pub(super) fn invalid(message: &str) -> Self {
        Self::json(400, json!({"message": message, "error": "InvalidRequestError"}))
    }

    /// The body of a request is no JSON at all.
    pub(super) fn no_json() -> Self {
        Self {
            status: 400,
            body: Body::Text("text/plain; charset=utf-8", "Invalid JSON".to_owned()),
            headers: Vec::new(),
        }
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::json(401, json!({ "message": message }))
    }

    pub(super) fn denied() -> Self {
        Self::json(
            403,
            json!({"message": "Access denied - insufficient permissions for this endpoint"}),
        )
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::json(404, json!({"message": message, "error": "LangfuseNotFoundError"}))
    }

    /// An old read, asked of a server that has none.
    pub(super) fn events_only() -> Self {
        Self::json(404, json!({ "message": EVENTS_ONLY }))
    }

    /// The new read, asked of a server that has it switched off.
    pub(super) fn no_new_reads() -> Self {
        Self::not_found(NO_OBSERVATIONS_V2)
    }

    /// No route of this release: the web application answers.
    pub(super) fn no_route() -> Self {
        let page = "<!DOCTYPE html><html lang=\"en\"><head><title>404: This page could not be found.</title></head>\
                    <body><h1>404</h1><h2>This page could not be found.</h2></body></html>";
        Self {
            status: 404,
            body: Body::Text(HTML, page.to_owned()),
            headers: Vec::new(),
        }
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::json(
            405,
            json!({"message": "Method not allowed", "error": "MethodNotAllowedError"}),
        )
    }

    /// The query is too large for the database behind the server.
    pub(super) fn too_large() -> Self {
        let message = "Your query could not be completed. Please narrow your request by adding more specific filters \
                       (e.g., a shorter date range).";
        Self::json(422, json!({"message": message, "error": "Request timed out"}))
    }

    pub(super) fn internal(error: &str) -> Self {
        Self::json(500, json!({"message": "Internal Server Error", "error": error}))
    }

    /// Any status in the server's usual shape.
    pub(super) fn status(status: u16) -> Self {
        match status {
            422 => Self::too_large(),
            500 => Self::internal("An unknown error occurred"),
            503 => Self::json(503, json!({"message": "Service Unavailable"})),
            other => Self::json(other, json!({"message": "scripted fault"})),
        }
    }

    /// A page for people, from something in front of the server.
    pub(super) fn html(status: u16) -> Self {
        Self {
            status,
            body: Body::Text(HTML, "<html><body><h1>Please stand by</h1></body></html>".to_owned()),
            headers: Vec::new(),
        }
    }

    pub(super) fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = match self.body {
            Body::Json(body) => (status, Json(body)).into_response(),
            Body::Text(media_type, text) => (status, [(CONTENT_TYPE, media_type)], text).into_response(),
        };
        for (name, value) in self.headers {
            if let Ok(value) = value.try_into() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// A query value that should be a number.
pub(super) fn not_a_number(version: Version, field: &str) -> Value {
    if version.is_v2() {
        json!({"code": "invalid_type", "expected": "number", "received": "nan", "path": [field],
               "message": "Expected number, received nan"})
    } else {
        json!({"expected": "number", "code": "invalid_type", "received": "NaN", "path": [field],
               "message": "Invalid input: expected number, received NaN"})
    }
}

pub(super) fn too_big(version: Version, field: &str, maximum: i64) -> Value {
    if version.is_v2() {
        json!({"code": "too_big", "maximum": maximum, "type": "number", "inclusive": true, "exact": false,
               "message": format!("Number must be less than or equal to {maximum}"), "path": [field]})
    } else {
        json!({"origin": "number", "code": "too_big", "maximum": maximum, "inclusive": true, "path": [field],
               "message": format!("Too big: expected number to be <={maximum}")})
    }
}

/// Only from v3 on: v2 lets the number through to its database.
pub(super) fn too_small(field: &str, minimum: i64, inclusive: bool) -> Value {
    let sign = if inclusive { ">=" } else { ">" };
    json!({"origin": "number", "code": "too_small", "minimum": minimum, "inclusive": inclusive, "path": [field],
           "message": format!("Too small: expected number to be {sign}{minimum}")})
}

pub(super) fn not_a_date_time(version: Version, field: &str) -> Value {
    if version.is_v2() {
        json!({"code": "invalid_string", "validation": "datetime", "message": "Invalid datetime", "path": [field]})
    } else {
        // The real one spells its whole regular expression out.
        json!({"origin": "string", "code": "invalid_format", "format": "datetime", "pattern": "/^…$/", "path": [field],
               "message": "Invalid ISO datetime"})
    }
}

pub(super) fn not_one_of(version: Version, path: &Value, options: &[&str], received: &str) -> Value {
    if version.is_v2() {
        let listed: Vec<String> = options.iter().map(|option| format!("'{option}'")).collect();
        let message = format!(
            "Invalid enum value. Expected {}, received '{received}'",
            listed.join(" | ")
        );
        json!({"received": received, "code": "invalid_enum_value", "options": options, "path": path, "message": message})
    } else {
        let listed: Vec<String> = options.iter().map(|option| format!("\"{option}\"")).collect();
        let message = format!("Invalid option: expected one of {}", listed.join("|"));
        json!({"code": "invalid_value", "values": options, "path": path, "message": message})
    }
}

/// A field of a request's body that has another type. `received` as JavaScript names types.
pub(super) fn wrong_type(version: Version, field: &str, expected: &str, received: &str) -> Value {
    if version.is_v2() {
        let message = if received == "undefined" {
            "Required".to_owned()
        } else {
            format!("Expected {expected}, received {received}")
        };
        json!({"code": "invalid_type", "expected": expected, "received": received, "path": [field], "message": message})
    } else {
        json!({"expected": expected, "code": "invalid_type", "path": [field],
               "message": format!("Invalid input: expected {expected}, received {received}")})
    }
}

/// A rule that the server added to its validation library.
pub(super) fn custom(path: &[&str], message: &str) -> Value {
    json!({"code": "custom", "path": path, "message": message})
}
