use std::sync::{Arc, LazyLock, Mutex};

use http::HeaderMap;
use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tracing::Instrument;
use tracing_subscriber::layer::{Identity, SubscriberExt};

use super::*;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00";

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// Runs `work` with traces and answers the spans that would be sent whose names begin with `service`; the process has one
/// provider for all tests.
fn traced(service: &str, work: impl FnOnce()) -> Vec<SpanData> {
    static KEPT: LazyLock<Kept> = LazyLock::new(Kept::default);
    let Tracing { tracer, provider, .. } = TRACING.get_or_init(|| {
        let sampler = Box::new(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
        let provider = SdkTracerProvider::builder().with_simple_exporter(KEPT.clone());
        let provider = provider.with_sampler(Sampler::AlwaysOn);
        let provider = provider.with_id_generator(sampling::Generator::default()).build();
        Tracing { sampler, tracer: tracer(&provider), provider }
    });
    let others = Identity::new().with_filter(spans());
    let subscriber = tracing_subscriber::registry().with(of(tracer.clone())).with(others);
    tracing::subscriber::with_default(subscriber, work);
    provider.force_flush().unwrap();
    let kept = KEPT.0.lock().unwrap();
    kept.iter().filter(|span| span.name.starts_with(service)).cloned().collect()
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), (*value).parse().unwrap())).collect()
}

fn call(method: &str, headers: &HeaderMap) -> Span {
    let trace = Trace::of(headers);
    let span = if trace.is_sampled() {
        tracing::info_span!(SERVER, otel.name = method, otel.kind = "server", rpc.method = method)
    } else {
        tracing::info_span!(SERVER, rpc.method = method)
    };
    trace.adopt(&span);
    span
}

fn below(name: &str) -> (Span, HeaderMap) {
    let span = tracing::info_span!(TABLET, otel.name = name, otel.kind = "client");
    let mut sent = HeaderMap::new();
    span.in_scope(|| inject(&mut sent));
    (span, sent)
}

fn attribute(span: &SpanData, key: &str) -> Option<Value> {
    span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.clone())
}

#[test]
fn a_call_is_a_part_of_its_callers_trace_and_hands_it_on() {
    let given = [("traceparent", SAMPLED), ("tracestate", "a=1,b=2"), ("baggage", "team=blue")];
    let mut sent = HeaderMap::new();
    let spans = traced("adopted", || {
        let span = call("adopted.S/M", &headers(&given));
        span.in_scope(|| {
            let (below, injected) = below("adopted.T/N");
            called(&below, Code::NotFound);
            sent = injected;
            let mut operation = child("adopted topo Get", || vec![KeyValue::new("vitess.topo.op", "Get")]);
            operation.failed("NO_NODE");
            drop(operation);
            tracing::info!(step = "Freeze", "complete");
            tracing::info!(detail = "secret", "something else");
        });
        served(&span, Code::Ok);
    });
    let [operation, below, server] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(server.span_context.trace_id(), TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap());
    assert_eq!(
        (server.parent_span_id.to_string().as_str(), &server.span_kind),
        ("b7ad6b7169203331", &SpanKind::Server)
    );
    assert_eq!(server.name, "adopted.S/M");
    assert_eq!(attribute(server, "rpc.response.status_code"), Some("OK".into()));
    assert_eq!(server.status, Status::Unset);
    let events: Vec<&str> = server.events.iter().map(|event| event.name.as_ref()).collect();
    assert_eq!(events, ["complete"]);
    assert_eq!((below.parent_span_id, &below.span_kind), (server.span_context.span_id(), &SpanKind::Client));
    assert_eq!(below.status, Status::error("NOT_FOUND"));
    assert_eq!(attribute(below, "error.type"), Some("NOT_FOUND".into()));
    assert_eq!((operation.parent_span_id, &operation.span_kind), (server.span_context.span_id(), &SpanKind::Client));
    assert_eq!(operation.name, "adopted topo Get");
    assert_eq!(attribute(operation, "vitess.topo.op"), Some("Get".into()));
    assert_eq!(
        (attribute(operation, "error.type"), &operation.status),
        (Some("NO_NODE".into()), &Status::error("NO_NODE"))
    );
    assert!(operation.start_time >= server.start_time && operation.end_time <= server.end_time, "{spans:?}");
    let id = below.span_context.span_id();
    assert_eq!(sent["traceparent"].to_str().unwrap(), format!("00-0af7651916cd43dd8448eb211c80319c-{id}-01"));
    assert_eq!(sent["tracestate"], "a=1,b=2");
    assert_eq!(sent["baggage"], "team=blue");
}

#[test]
fn what_is_not_sampled_is_passed_on_and_logged_but_not_sent() {
    let mut sent = HeaderMap::new();
    let mut logged = None;
    let spans = traced("unsampled", || {
        let span = call("unsampled.S/M", &headers(&[("traceparent", NOT_SAMPLED)]));
        span.in_scope(|| {
            sent = below("unsampled.T/N").1;
            drop(child("unsampled topo Get", Vec::new));
            logged = Span::current().with_subscriber(|(id, dispatch)| {
                let registry = dispatch.downcast_ref::<tracing_subscriber::Registry>().unwrap();
                ids(registry.span(id)).unwrap()
            });
        });
    });
    assert!(spans.is_empty(), "{spans:?}");
    let ids = logged.unwrap();
    assert_eq!(ids.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319d");
    let expected = format!("00-0af7651916cd43dd8448eb211c80319d-{}-00", ids.span_id());
    assert_eq!(sent["traceparent"].to_str().unwrap(), expected);
    assert!(!sent.contains_key("tracestate"));
}

#[test]
fn a_header_that_is_none_begins_a_trace_and_so_does_none() {
    for (service, given) in [("rootless", &[][..]), ("garbage", &[("traceparent", "garbage")][..])] {
        let spans = traced(service, || drop(call(&format!("{service}.S/M"), &headers(given))));
        assert!(spans[0].parent_span_id == opentelemetry::trace::SpanId::INVALID, "{spans:?}");
    }
}

#[test]
fn a_trace_that_begins_has_the_id_by_which_it_was_sampled() {
    let mut expected = Vec::new();
    let spans = traced("begun", || {
        for _ in 0..2 {
            let trace = Trace::of(&HeaderMap::new());
            let Trace::Sampled(_, id) = &trace else { panic!("{trace:?}") };
            expected.push(*id);
            trace.adopt(&tracing::info_span!(SERVER, otel.name = "begun.S/M", otel.kind = "server"));
        }
    });
    let ids: Vec<TraceId> = spans.iter().map(|span| span.span_context.trace_id()).collect();
    assert_eq!(ids, expected);
}

#[test]
fn spans_that_no_call_caused_stay_out() {
    let spans = traced("uncaused", || {
        let (_, sent) = below("uncaused.T/N");
        drop(child("uncaused topo Get", Vec::new));
        assert!(sent.is_empty());
    });
    assert!(spans.is_empty(), "{spans:?}");
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_as_cancelled() {
    let spans = traced("cancelled", || {
        let span = call("cancelled.S/M", &HeaderMap::new());
        let open = Open::new(Some(span.clone()));
        let waiting = std::future::pending::<()>().instrument(span);
        drop((waiting, open));
    });
    assert_eq!(attribute(&spans[0], "rpc.response.status_code"), Some("CANCELLED".into()));
}

#[test]
fn flags_win_over_the_environment() {
    let on = |tracer, pairs: &[(&str, &str)]| {
        let options = Options { tracer, rate: None };
        options.is_on(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    };
    let otlp = ("OTEL_TRACES_EXPORTER", "otlp");
    assert!(!on(None, &[]) && on(None, &[otlp]) && !on(Some(Tracer::Noop), &[otlp]));
    assert!(on(Some(Tracer::OpenTelemetry), &[("OTEL_TRACES_EXPORTER", "none")]));
    assert!(!on(Some(Tracer::OpenTelemetry), &[("OTEL_SDK_DISABLED", "true")]));
}
