//! Spans: a job that is enqueued, its run, and each call of the run to the outside world.
//!
//! ```text
//!   enqueue analyze_session ─► process analyze_session ─┬─► call source:calls
//!   (producer)                 (consumer)               ├─► call llm:default
//!                                                       └─► enqueue verify_session ─► process verify_session ─► …
//! ```
//!
//! The enqueue's span is written onto the job's row (W3C `traceparent`, `jobs.trace_context`), so that the run is its child
//! in whatever process that is. What a session brings is one trace: where a run enqueues work for another session, as a scan
//! does for each that it found, the enqueue begins a trace of its own and is linked to the run. A retry is one more child of the
//! same enqueue.
//!
//! Without an exporter there are no spans, and the ids are made and handed on all the same: log lines carry them.
//!
//! Attributes are ids, names of the configuration and codes, never what was said, asked or answered, nor words of an error.

use std::{cell::Cell, future::Future, sync::OnceLock};

use opentelemetry::{
    Context, KeyValue,
    trace::{
        FutureExt as _, Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
        TraceId, TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer};
use serde::Deserialize;

/// Where spans go; unset without an exporter.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();
/// The only version of `traceparent` that there is.
const VERSION: &str = "00";

thread_local! {
    /// The id that a trace is to have which begins on this thread.
    static NEXT_TRACE: Cell<TraceId> = const { Cell::new(TraceId::INVALID) };
}

/// From now on spans go there.
pub(super) fn set_tracer(tracer: SdkTracer) {
    // A second start in one process keeps the first.
    let _ = TRACER.set(tracer);
}

/// Ids of spans, and of a trace whose id was there before its first span.
#[derive(Debug)]
pub(super) struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        match NEXT_TRACE.replace(TraceId::INVALID) {
            TraceId::INVALID => RandomIdGenerator::default().new_trace_id(),
            chosen => chosen,
        }
    }

    fn new_span_id(&self) -> SpanId {
        RandomIdGenerator::default().new_span_id()
    }
}

/// Whom a job works for, as far as its arguments say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// The source.
    pub source: Option<String>,
    /// The session in it.
    pub session_id: Option<String>,
}

impl Subject {
    /// Of the arguments of a job. Other programs enqueue, too: whatever else stands there is nobody.
    pub fn of(args: &str) -> Self {
        serde_json::from_str(args).unwrap_or_default()
    }

    fn attributes(&self) -> impl Iterator<Item = KeyValue> {
        // Not `session.id`: what collects traces of agents would take it for a session of theirs.
        let source = self
            .source
            .clone()
            .map(|source| KeyValue::new("aftercall.source", source));
        let session = self
            .session_id
            .clone()
            .map(|session| KeyValue::new("aftercall.session_id", session));
        source.into_iter().chain(session)
    }
}

/// A job that is being enqueued.
#[derive(Debug)]
pub struct Enqueue {
    context: Context,
}

impl Enqueue {
    /// Begins its span. `args` are the job's.
    pub fn start(queue: &'static str, job: &str, args: &str) -> Self {
        let subject = Subject::of(args);
        let current = Context::current();
        let enqueuer = current.span().span_context().clone();
        let same = current.get::<Subject>().is_some_and(|of_run| {
            subject.session_id.is_none() || (of_run.session_id == subject.session_id && of_run.source == subject.source)
        });
        let parent = if enqueuer.is_valid() && same {
            current.clone()
        } else {
            Context::new()
        };
        let Some(tracer) = TRACER.get() else {
            let context = without_exporter(&parent, RandomIdGenerator::default().new_trace_id());
            return Self { context };
        };
        let mut attributes = messaging(queue, job, "enqueue", "send");
        attributes.extend(subject.attributes());
        let mut builder = tracer
            .span_builder(format!("enqueue {queue}"))
            .with_kind(SpanKind::Producer)
            .with_attributes(attributes);
        if enqueuer.is_valid() && !same {
            builder = builder.with_links(vec![Link::with_context(enqueuer)]);
        }
        let span = tracer.build_with_context(builder, &parent);
        Self {
            context: parent.with_span(span),
        }
    }

    /// What goes onto the job's row.
    pub fn traceparent(&self) -> String {
        written(self.context.span().span_context())
    }

    /// A live job does it: none was added.
    pub fn found_twin(&self) {
        self.context
            .span()
            .set_attribute(KeyValue::new("aftercall.enqueue.twin", true));
    }
}

impl Drop for Enqueue {
    fn drop(&mut self) {
        self.context.span().end();
    }
}

/// Where the trace of a job begins or comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    trace: TraceId,
    parent: Option<SpanContext>,
}

impl Origin {
    /// What a job's row says. Nobody, or something else than a `traceparent`: a trace of its own.
    pub fn read(traceparent: Option<&str>) -> Self {
        match traceparent.and_then(parsed) {
            Some(parent) => Self {
                trace: parent.trace_id(),
                parent: Some(parent),
            },
            None => Self {
                trace: RandomIdGenerator::default().new_trace_id(),
                parent: None,
            },
        }
    }

    /// The trace's id, 32 letters.
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }
}

/// The run of a job.
#[derive(Debug)]
pub struct Run {
    context: Context,
}

impl Run {
    /// Begins its span.
    pub fn start(origin: &Origin, queue: &'static str, job: &str, attempt: u32, args: &str) -> Self {
        let subject = Subject::of(args);
        let parent = match &origin.parent {
            Some(parent) => Context::new().with_remote_span_context(parent.clone()),
            None => Context::new(),
        };
        let context = match TRACER.get() {
            None => without_exporter(&parent, origin.trace),
            Some(tracer) => {
                let mut attributes = messaging(queue, job, "process", "process");
                attributes.push(KeyValue::new("aftercall.job.attempt", i64::from(attempt)));
                attributes.extend(subject.attributes());
                let builder = tracer
                    .span_builder(format!("process {queue}"))
                    .with_kind(SpanKind::Consumer)
                    .with_attributes(attributes);
                NEXT_TRACE.set(origin.trace);
                let span = tracer.build_with_context(builder, &parent);
                NEXT_TRACE.replace(TraceId::INVALID);
                parent.with_span(span)
            }
        };
        Self {
            context: context.with_value(subject),
        }
    }

    /// Whatever is enqueued or called in there belongs to the run.
    pub fn scope<F: Future>(&self, run: F) -> impl Future<Output = F::Output> {
        run.with_context(self.context.clone())
    }

    /// Ends its span. `outcome` is a code.
    pub fn end(self, outcome: &'static str, failed: bool) {
        let span = self.context.span();
        span.set_attribute(KeyValue::new("aftercall.job.outcome", outcome));
        if failed {
            span.set_attribute(KeyValue::new("error.type", outcome));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// A call of a run to the outside world.
pub struct Call {
    span: Option<opentelemetry_sdk::trace::Span>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

impl Call {
    /// Begins its span. The upstream is named by its gate: `llm:default/calls`, `records:till`, `source:calls`.
    pub fn start(gate: &str) -> Self {
        let upstream = gate.split('/').next().unwrap_or(gate);
        let (kind, name) = upstream.split_once(':').unwrap_or(("", upstream));
        let span = TRACER.get().map(|tracer| {
            let builder = tracer
                .span_builder(format!("call {upstream}"))
                .with_kind(SpanKind::Client)
                .with_attributes([
                    KeyValue::new("aftercall.upstream", upstream.to_owned()),
                    KeyValue::new("aftercall.upstream.kind", kind.to_owned()),
                    KeyValue::new("service.peer.name", name.to_owned()),
                ]);
            tracer.build_with_context(builder, &Context::current())
        });
        Self { span }
    }

    /// Ends its span. `error` is a code.
    pub fn end(mut self, error: Option<&'static str>) {
        let Some(span) = &mut self.span else { return };
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// What OpenTelemetry's conventions for messaging ask for.
fn messaging(queue: &'static str, job: &str, operation: &'static str, kind: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "aftercall"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", kind),
        KeyValue::new("messaging.destination.name", queue),
        KeyValue::new("messaging.message.id", job.to_owned()),
    ]
}

/// Ids without a span: of the parent's trace, or of this one.
fn without_exporter(parent: &Context, trace: TraceId) -> Context {
    let above = parent.span().span_context().clone();
    let (trace, flags) = if above.is_valid() {
        (above.trace_id(), above.trace_flags())
    } else {
        // Nobody decided against it: who exports follows its own ratio for a trace that begins with it.
        (trace, TraceFlags::SAMPLED)
    };
    let span = RandomIdGenerator::default().new_span_id();
    parent.with_remote_span_context(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}

fn written(span: &SpanContext) -> String {
    format!(
        "{VERSION}-{}-{}-{:02x}",
        span.trace_id(),
        span.span_id(),
        span.trace_flags() & TraceFlags::SAMPLED
    )
}

/// A `traceparent` of W3C Trace Context. Versions to come may add parts.
fn parsed(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex(version, 2) || version == "ff" || !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    if version == VERSION && parts.next().is_some() {
        return None;
    }
    let span = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    span.is_valid().then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_as_it_was_written_and_anything_else_begins_a_trace() {
        let parent = parsed(PARENT).unwrap();
        assert_eq!(written(&parent), PARENT);
        assert_eq!(
            Origin::read(Some(PARENT)).trace_id(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert!(parsed("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes").is_some());
        for bad in [
            "",
            "hello",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-äaf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
            assert_eq!(Origin::read(Some(bad)).trace_id().len(), 32);
        }
        assert_ne!(Origin::read(None).trace_id(), Origin::read(None).trace_id());
    }

    #[tokio::test]
    async fn what_a_session_brings_is_one_trace_and_work_for_another_session_begins_its_own() {
        let session = r#"{"source":"calls","session_id":"s-1","generation":1}"#;
        let run = Run::start(&Origin::read(Some(PARENT)), "analyze_session", "job", 1, session);
        let trace_of = |args: &str| {
            let enqueue = Enqueue::start("q", "job", args);
            Origin::read(Some(&enqueue.traceparent())).trace_id()
        };
        let of_parent = Origin::read(Some(PARENT)).trace_id();
        run.scope(async {
            assert_eq!(trace_of(session), of_parent);
            assert_eq!(trace_of(r#"{"destination":"slack"}"#), of_parent, "nobody's own work");
            for other in [
                r#"{"source":"calls","session_id":"s-2"}"#,
                r#"{"source":"others","session_id":"s-1"}"#,
            ] {
                assert_ne!(trace_of(other), of_parent, "{other}");
            }
        })
        .await;
        assert_ne!(trace_of(session), of_parent, "outside of the run");
    }

    #[test]
    fn a_subject_is_what_the_arguments_say_and_nothing_else() {
        assert_eq!(
            Subject::of(r#"{"source":"calls","session_id":"s-1","generation":1}"#)
                .session_id
                .as_deref(),
            Some("s-1")
        );
        for nobody in ["", "[]", r#"{"session_id":7}"#, r#"{"tick":"now"}"#] {
            assert_eq!(Subject::of(nobody), Subject::default(), "{nobody}");
        }
    }
}
