//! Traces: from the caller's context (W3C `traceparent`, `tracestate`, `baggage`) through the span of a call to a span for
//! each topology operation and each call to a tablet that it causes, sent by OTLP.
//!
//! Whether a call is sampled is decided before its span is made. Spans are those of the crate `tracing` with the names below; those
//! of topology operations are OpenTelemetry's alone (`child.rs`). Calls that are not sampled have only the span of the call, of
//! which the layer of traces knows nothing, and which carries the ids for the log and for what is called. Nothing costs anything
//! until [`layer`] was installed.

mod child;
mod context;
mod exporter;
mod filter;
mod sampling;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{Status, TracerProvider};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, ShouldSample,
};
use tonic::Code;
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use super::otlp;
use super::{build, grpc_code};
pub use child::{Child, child};
pub use context::{Ids, Trace, ids, inject};
use exporter::Watched;
use filter::Caused;

/// Name of the span of a client's call.
pub const SERVER: &str = "rpc";
/// Name of the span of a call to a tablet that it causes.
pub const TABLET: &str = "tablet";
/// Events with this field are told in traces, too.
pub const STEP: &str = "step";

/// Spans that wait to be sent, and spans sent at once; more are dropped. For a create of 64 shards with room to spare.
const QUEUE: usize = 8192;
const BATCH: usize = 1024;
/// Bound of sending the last spans.
const LAST: Duration = Duration::from_secs(5);

static TRACING: OnceLock<Tracing> = OnceLock::new();

/// What decides about traces, and what sends their spans.
#[derive(Debug)]
struct Tracing {
    sampler: Box<dyn ShouldSample>,
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

/// What is done with traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracer {
    Noop,
    OpenTelemetry,
}

/// The flags `--tracer` and `--tracing-sampling-rate`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// None: `OTEL_TRACES_EXPORTER` decides.
    pub tracer: Option<Tracer>,
    /// From 0 to 1. None: `OTEL_TRACES_SAMPLER` decides.
    pub rate: Option<f64>,
}

impl Options {
    /// Whether there are traces, with the environment's variables by `variable`. `OTEL_SDK_DISABLED` has the last word.
    pub fn is_on(&self, variable: impl Fn(&str) -> Option<String>) -> bool {
        if variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return false;
        }
        match self.tracer {
            Some(tracer) => tracer == Tracer::OpenTelemetry,
            None => variable("OTEL_TRACES_EXPORTER").is_some_and(|name| name == "otlp"),
        }
    }
}

/// The layer that makes spans into traces, and the sender behind it; `None` when traces are off. To be called inside the
/// runtime.
///
/// # Errors
/// They cannot be sent as it is asked for.
pub fn layer<S>(options: &Options, otlp: &otlp::Options) -> otlp::Result<Option<impl Layer<S> + use<S>>>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    if !options.is_on(otlp::variable) {
        return Ok(None);
    }
    let target = otlp.target(otlp::Signal::Traces, otlp::variable)?;
    let exporter = Watched::new(otlp.span_exporter()?, target.url);
    let mut batches = BatchConfigBuilder::default();
    if otlp::variable("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
        batches = batches.with_max_queue_size(QUEUE);
    }
    if otlp::variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").is_none() {
        batches = batches.with_max_export_batch_size(BATCH);
    }
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches.build()).build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_resource(otlp::resource())
        // what comes so far is sampled
        .with_sampler(Sampler::AlwaysOn)
        .with_id_generator(sampling::Generator::default())
        .build();
    let tracer = tracer(&provider);
    let layer = of(tracer.clone());
    let sampler = sampling::sampler(options.rate, otlp::variable);
    TRACING.set(Tracing { sampler, tracer, provider }).ok();
    Ok(Some(layer))
}

fn tracer(provider: &SdkTracerProvider) -> SdkTracer {
    provider.tracer_with_scope(InstrumentationScope::builder("vtmigrated").with_version(build::VERSION).build())
}

fn of<S>(tracer: SdkTracer) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false).with_target(false);
    // no error's text is for traces, whoever logs it
    let layer = layer.with_error_fields_to_exceptions(false).with_error_records_to_exceptions(false);
    let layer = layer.with_error_events_to_exceptions(false).with_error_events_to_status(false);
    // contexts are handed over in headers, nobody asks for the thread's
    layer.with_context_activation(false).with_filter(Caused)
}

/// Spans that are needed for the contexts that they carry, whatever is logged.
pub fn spans() -> FilterFn {
    let needed = |metadata: &Metadata<'_>| {
        metadata.is_span() && metadata.target().starts_with("vtmigrated") && metadata.name() == SERVER
    };
    filter_fn(needed as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::INFO)
}

/// Whether there are traces.
fn is_on() -> bool {
    TRACING.get().is_some()
}

/// The code with which a client's call ended.
pub fn served(span: &Span, code: Code) {
    // by the semantic conventions, the others are the caller's mistakes
    let is_error = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    answered(span, code, is_error);
}

/// The code with which a call to another server ended.
pub fn called(span: &Span, code: Code) {
    answered(span, code, code != Code::Ok);
}

fn answered(span: &Span, code: Code, is_error: bool) {
    if !is_on() {
        return;
    }
    let name = grpc_code::name(code);
    span.set_attribute("rpc.response.status_code", name);
    if is_error {
        span.set_attribute("error.type", name);
        span.set_status(Status::error(name));
    }
}

/// A client's call that may still be given up. Dropped without [`Open::answered`], it ended as cancelled.
#[derive(Debug)]
pub struct Open(Option<Span>);

impl Open {
    /// A call that began; nothing is to be told of one that is not sampled.
    pub fn new(span: Option<Span>) -> Self {
        Self(span)
    }

    /// The call has an answer, whose end is to be told by [`served`].
    pub fn answered(mut self) -> Option<Span> {
        self.0.take()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(span) = &self.0 {
            served(span, Code::Cancelled);
        }
    }
}

/// Sends the last spans, for five seconds at most.
pub(super) async fn flush() {
    let Some(Tracing { provider, .. }) = TRACING.get() else { return };
    let sent = tokio::task::spawn_blocking(|| provider.shutdown_with_timeout(LAST)).await;
    if let Ok(Err(error)) = sent {
        tracing::warn!("cannot send the last spans: {error}");
    }
}

#[cfg(test)]
mod tests;
