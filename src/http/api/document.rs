//! The document: OpenAPI 3.1, made from the handlers, and the routes, which are the same list.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api, audit, bulk, coverage, fleet, gates, jobs, limits, operations,
    problem::{self, Code, Problem},
    queues,
    rules::{SCHEME, SIGNATURE},
    sessions, sources, tokens, webhooks, which, why, workers,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "aftercall",
        description = "What the command line shows and does, over HTTP. Errors are RFC 9457 problems with a stable `code`. \
                       Lists come in pages: pass `next` as `after`. Answers carry an `ETag`. Writes take a JSON body, a token of \
                       scope `operate` and, if they should happen once however often they are sent, an `Idempotency-Key`.",
    ),
    servers((url = "/", description = "where this document is served")),
    components(schemas(Problem)),
    modifiers(&Bearer),
    tags(
        (name = "queues", description = "Depth, what runs, limits and pauses"),
        (name = "jobs", description = "What was called for, attempt by attempt"),
        (name = "operations", description = "What is done to many jobs or sessions at once"),
        (name = "why", description = "What holds a queue, a job or a session"),
        (name = "workers", description = "Processes of the fleet"),
        (name = "fleet", description = "All of it at one moment, and who answers"),
        (name = "gates", description = "Upstreams that are down, and what they hold"),
        (name = "sessions", description = "What was judged, and why"),
        (name = "sources", description = "Where sessions come from, and whether all are accounted for"),
        (name = "webhooks", description = "What says from outside that a session is over"),
        (name = "audit", description = "Who changed what"),
        (name = "tokens", description = "Who may ask"),
        (name = "reference", description = "This document"),
    )
)]
struct Described;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("aftercall_<id>_<secret>")
            .description(Some(
                "A token of `aftercall token create`, of scope `read` or `operate`. On loopback, and as long as there never was \
                 a token, reads are answered without one.",
            ))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme(SCHEME, SecurityScheme::Http(scheme));
        let scheme = ApiKeyValue::with_description(
            "Aftercall-Signature",
            "No token, but a signature with a secret of the source's `[[source.webhook]]`: `v1=` and HMAC-SHA256 in hex over \
             `Aftercall-Timestamp`, the source, the session's id and the body, each behind a line break. Vendors sign in their own \
             way, in headers of their own; see docs/webhooks.md.",
        );
        components.add_security_scheme(SIGNATURE, SecurityScheme::ApiKey(ApiKey::Header(scheme)));
    }
}

/// Every route there is.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(queues::list))
        .routes(routes!(queues::show))
        .routes(routes!(queues::pause))
        .routes(routes!(queues::resume))
        .routes(routes!(limits::set))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::cancel))
        .routes(routes!(operations::list))
        .routes(routes!(bulk::retry))
        .routes(routes!(bulk::cancel))
        .routes(routes!(bulk::discard))
        .routes(routes!(bulk::delete))
        .routes(routes!(bulk::reprioritise))
        .routes(routes!(bulk::move_to))
        .routes(routes!(bulk::reprocess))
        .routes(routes!(operations::show))
        .routes(routes!(operations::stop))
        .routes(routes!(operations::undo))
        .routes(routes!(why::show))
        .routes(routes!(workers::list))
        .routes(routes!(fleet::top))
        .routes(routes!(fleet::about))
        .routes(routes!(gates::list))
        .routes(routes!(gates::open))
        .routes(routes!(gates::close))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::show))
        .routes(routes!(sessions::reprocess))
        .routes(routes!(sessions::analyze))
        .routes(routes!(sessions::diagnose))
        .routes(routes!(sources::list))
        .routes(routes!(sources::discover))
        .routes(routes!(webhooks::ended))
        .routes(routes!(webhooks::vendor))
        .routes(routes!(coverage::list))
        .routes(routes!(coverage::days))
        .routes(routes!(audit::list))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(openapi_json))
        .routes(routes!(reference))
}

/// The document as text: what `/api/v1/openapi.json` answers.
pub fn openapi() -> String {
    document().to_string()
}

/// The document, with what holds for every operation.
pub(super) fn document() -> Value {
    let (_, described) = routes().split_for_parts();
    let mut document = serde_json::to_value(described).unwrap_or_default();
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                complete(path, method, operation);
            }
        }
    }
    for name in which::NOT_EMPTY {
        document["components"]["schemas"][name]["minProperties"] = 1.into();
    }
    admit_null(&mut document);
    document
}

/// What may be null is written as one of two schemas. Where the first takes null as well, that is both of them.
fn admit_null(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let null = json!({"type": "null"});
            let may_be_null = fields
                .get("oneOf")
                .and_then(Value::as_array)
                .is_some_and(|all| all.contains(&null));
            if may_be_null && let Some(either) = fields.remove("oneOf") {
                fields.insert("anyOf".to_owned(), either);
            }
            fields.values_mut().for_each(admit_null);
        }
        Value::Array(items) => items.iter_mut().for_each(admit_null),
        _ => {}
    }
}

/// What an operation can answer beside what its handler says, and the headers that it takes.
fn complete(path: &str, method: &str, operation: &mut Value) {
    let is_read = method == "get";
    let is_signed = operation["security"][0][SIGNATURE].is_array();
    operation["operationId"] = operation_id(path, method).into();
    let mut codes = vec![
        Code::BadRequest,
        Code::BadQuery,
        Code::TooManyRequests,
        Code::Internal,
        Code::DatabaseUnavailable,
    ];
    if is_signed {
        codes.extend([Code::NoSignature, Code::TooLarge]);
    } else {
        codes.extend([Code::NoToken, Code::ScopeTooSmall]);
        if path.contains('{') {
            codes.push(Code::UnknownRoute);
        }
    }
    if is_signed {
        // It is sent again as it is, and needs no key for that.
    } else if is_read {
        operation["responses"]["304"] =
            json!({"description": "The client has this answer: `If-None-Match` named its ETag"});
        header_parameter(
            operation,
            "If-None-Match",
            "The ETag of the answer that the client has",
            &json!({"type": "string"}),
        );
    } else {
        codes.extend([Code::RequestUnderWay, Code::TooLarge, Code::NotJson]);
        let schema = json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"});
        header_parameter(
            operation,
            "Idempotency-Key",
            "Sent again with the same key within 24 h, it is answered the same and not done again",
            &schema,
        );
    }
    for code in codes {
        let status = code.status();
        let description = match code {
            Code::UnknownRoute => "What the path names is not there",
            Code::RequestUnderWay => {
                "It does not fit the state of things, or the first request with this key is under way"
            }
            Code::DatabaseUnavailable => "The database is away, or too much is being asked at once",
            Code::NoToken => "No token, or none that is good",
            Code::NoSignature => "No signature, none that is good, or one that is too old; or there is no such webhook",
            Code::BadQuery if is_signed => "The path or the body does not fit",
            Code::BadQuery => "The path, the query, the body or the Idempotency-Key does not fit",
            code => code.title(),
        };
        let schema = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
        let mut response = json!({"description": description, "content": {problem::MEDIA_TYPE: schema}});
        let headers = headers_of(code);
        if !headers.is_empty() {
            response["headers"] = headers.into();
        }
        operation["responses"][status.as_str()] = response;
    }
}

/// `get_sessions_by_source_by_id`: of the path, so that no two are the same.
fn operation_id(path: &str, method: &str) -> String {
    let words = path.trim_start_matches("/api/v1/").split('/').map(|word| {
        let name = word.trim_start_matches('{').trim_end_matches('}');
        let by = if name == word { "" } else { "by_" };
        format!("_{by}{}", name.replace('.', "_"))
    });
    words.fold(method.to_owned(), |id, word| id + &word)
}

fn headers_of(code: Code) -> Map<String, Value> {
    let header = |name: &str, description: &str, kind: &str| {
        (
            name.to_owned(),
            json!({"description": description, "schema": {"type": kind}}),
        )
    };
    let named = match code {
        Code::NoToken => Some(header("WWW-Authenticate", "`Bearer`", "string")),
        Code::NoSignature => Some(header("WWW-Authenticate", "`Aftercall-Signature`", "string")),
        Code::TooManyRequests | Code::DatabaseUnavailable => Some(header(
            "Retry-After",
            "Seconds until it is worth another try",
            "integer",
        )),
        _ => None,
    };
    named.into_iter().collect()
}

fn header_parameter(operation: &mut Value, name: &str, description: &str, schema: &Value) {
    let parameter =
        json!({"name": name, "in": "header", "required": false, "description": description, "schema": schema});
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
}

/// This document
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "reference",
    security(("token" = ["read"])),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Value))
)]
pub(super) async fn openapi_json(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], api.document.clone()).into_response()
}

/// The same for people
#[utoipa::path(
    get,
    path = "/api/v1/docs",
    tag = "reference",
    security(("token" = ["read"])),
    responses((status = 200, description = "A page without scripts", content_type = "text/html", body = String))
)]
pub(super) async fn reference(State(api): State<Api>) -> Response {
    api.reference.answer()
}
