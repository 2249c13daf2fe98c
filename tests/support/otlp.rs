//! A receiver of spans: OTLP over HTTP, as a collector has it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
};
use prost::Message as _;

/// A span as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty: it has none.
    pub(crate) parent: String,
    pub(crate) name: String,
    /// 3 client, 4 producer, 5 consumer.
    pub(crate) kind: i32,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Trace and span.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) failed: bool,
    /// Of the process.
    pub(crate) resource: BTreeMap<String, String>,
}

/// What came so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inbox {
    spans: Arc<Mutex<Vec<Received>>>,
    keys: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<u8>>>,
}

impl Inbox {
    pub(crate) fn spans(&self) -> Vec<Received> {
        self.spans.lock().unwrap().clone()
    }

    /// What was sent as `Authorization`.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }

    /// Whether this text is anywhere in what came.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let bodies = self.bodies.lock().unwrap();
        bodies.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// The only span of this name, among those with this attribute.
    #[track_caller]
    pub(crate) fn one(&self, name: &str, attribute: Option<(&str, &str)>) -> Received {
        let mut found: Vec<Received> = self
            .spans()
            .into_iter()
            .filter(|span| span.name == name)
            .filter(|span| {
                attribute.is_none_or(|(key, value)| span.attributes.get(key).is_some_and(|given| given == value))
            })
            .collect();
        assert_eq!(found.len(), 1, "{name} with {attribute:?} in {:#?}", self.spans());
        found.remove(0)
    }
}

/// Receives on a free port. Answers the address, without a path.
pub(crate) async fn receive() -> (String, Inbox) {
    let inbox = Inbox::default();
    let router = Router::new().route("/v1/traces", post(take)).with_state(inbox.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), inbox)
}

async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
    inbox.bodies.lock().unwrap().extend_from_slice(&body);
    if let Some(key) = headers.get("authorization") {
        inbox.keys.lock().unwrap().push(key.to_str().unwrap().to_owned());
    }
    let mut spans = inbox.spans.lock().unwrap();
    for of_process in request.resource_spans {
        let resource = texts(of_process.resource.unwrap_or_default().attributes);
        for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Received {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                attributes: texts(span.attributes),
                links: span
                    .links
                    .iter()
                    .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
                    .collect(),
                failed: span.status.is_some_and(|status| status.code == 2),
                resource: resource.clone(),
            });
        }
    }
    StatusCode::OK
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
        other => panic!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|attribute| (attribute.key, text(attribute.value)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
