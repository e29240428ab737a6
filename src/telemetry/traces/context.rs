//! The context of a trace: taken from a caller, kept with the span of its call, handed to whatever is called.

use std::sync::LazyLock;

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, SpanKind, TraceContextExt, TraceFlags, TraceId};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SamplingDecision};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::{SERVER, TRACING, is_on, sampling};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
const BAGGAGE: &str = "baggage";

static PROPAGATOR: LazyLock<TraceContextPropagator> = LazyLock::new(TraceContextPropagator::new);
static BAGGAGES: LazyLock<BaggagePropagator> = LazyLock::new(BaggagePropagator::new);

/// Kept with the span of a call, sampled or not.
struct Call(Context);

/// The ids of a call's span.
pub type Ids = SpanContext;

/// The trace that a call is a part of, known before its span is made.
#[derive(Debug)]
pub enum Trace {
    /// There are no traces.
    Off,
    /// The span of the call is the first of it, or one below the span of this context.
    Sampled(Context, TraceId),
    /// The call has this context.
    NotSampled(Context),
}

impl Trace {
    /// By the headers of a call: the trace of its caller, or the begin of one.
    pub fn of(headers: &HeaderMap) -> Self {
        let Some(tracing) = TRACING.get() else { return Self::Off };
        let mut caller = Context::new();
        let carrier = HeaderExtractor(headers);
        if headers.contains_key(PARENT) {
            caller = PROPAGATOR.extract_with_context(&caller, &carrier);
        }
        if headers.contains_key(BAGGAGE) {
            caller = BAGGAGES.extract_with_context(&caller, &carrier);
        }
        let parent = caller.span().span_context().clone();
        let random = RandomIdGenerator::default();
        let trace = if parent.is_valid() { parent.trace_id() } else { random.new_trace_id() };
        let sampled = tracing.sampler.should_sample(Some(&caller), trace, SERVER, &SpanKind::Server, &[], &[]);
        if sampled.decision == SamplingDecision::RecordAndSample {
            return Self::Sampled(caller, trace);
        }
        let ids = Ids::new(trace, random.new_span_id(), TraceFlags::default(), false, sampled.trace_state);
        Self::NotSampled(caller.with_remote_span_context(ids))
    }

    /// Whether the spans of the call are sent.
    pub fn is_sampled(&self) -> bool {
        matches!(self, Self::Sampled(..))
    }

    /// Makes the span of the call a part of it.
    pub fn adopt(self, span: &Span) {
        let context = match self {
            Self::Off => return,
            Self::Sampled(caller, trace) => {
                // the span was made a moment ago: it is there and has not begun
                span.set_parent(caller).ok();
                sampling::within(trace, || span.context())
            }
            Self::NotSampled(context) => context,
        };
        span.with_subscriber(|(id, dispatch)| {
            if let Some(span) = dispatch.downcast_ref::<Registry>().and_then(|registry| registry.span(id)) {
                span.extensions_mut().replace(Call(context));
            }
        });
    }
}

/// Puts the context of what is being done into the headers of a call, in place of any other. Without traces, headers stay
/// as they are.
pub fn inject(headers: &mut HeaderMap) {
    if !is_on() {
        return;
    }
    let Some(context) = current() else { return };
    let mut carrier = HeaderInjector(headers);
    PROPAGATOR.inject_context(&context, &mut carrier);
    if !context.baggage().is_empty() {
        BAGGAGES.inject_context(&context, &mut carrier);
    }
    if headers.get(STATE).is_some_and(http::HeaderValue::is_empty) {
        headers.remove(STATE);
    }
}

/// The context of the innermost span that is part of a trace.
fn current() -> Option<Context> {
    let span = Span::current();
    let own = span.context();
    if own.span().span_context().is_valid() {
        return Some(own);
    }
    // a call that is not sampled has no spans below its own
    around(Context::clone)
}

/// The context of the call that is being served, if it is sampled.
pub(super) fn sampled() -> Option<Context> {
    around(|context| context.span().span_context().is_sampled().then(|| context.clone())).flatten()
}

/// Something of the context of the call that is being served.
fn around<T>(take: impl Fn(&Context) -> T) -> Option<T> {
    let found = Span::current().with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>()?;
        of(registry.span(id), take)
    });
    found.flatten()
}

/// Whether the call around a span is sampled; false when there is none.
pub(super) fn is_sampled<'a, S: LookupSpan<'a>>(span: Option<SpanRef<'a, S>>) -> bool {
    of(span, |context| context.span().span_context().is_sampled()).unwrap_or_default()
}

/// Ids of the call around a span.
pub fn ids<'a, S: LookupSpan<'a>>(span: Option<SpanRef<'a, S>>) -> Option<Ids> {
    of(span, |context| context.span().span_context().clone())
}

fn of<'a, S: LookupSpan<'a>, T>(span: Option<SpanRef<'a, S>>, take: impl Fn(&Context) -> T) -> Option<T> {
    span?.scope().find_map(|span| span.extensions().get::<Call>().map(|call| take(&call.0)))
}
