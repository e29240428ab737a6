//! Calls to other servers without a span of the crate `tracing`: there are many of them, and nothing is logged below.

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _};
use opentelemetry_sdk::trace::Span;

use super::{TRACING, Tracing, context};

/// Such a call. It ends when this is dropped; nothing is told of it when the call that causes it is not sampled.
#[derive(Debug)]
pub struct Child(Option<Span>);

/// A call begins, for whatever call is being served.
pub fn child(name: &'static str, attributes: impl FnOnce() -> Vec<KeyValue>) -> Child {
    let below = |Tracing { tracer, .. }: &Tracing| {
        let parent = context::sampled()?;
        let builder = tracer.span_builder(name).with_kind(SpanKind::Client).with_attributes(attributes());
        Some(tracer.build_with_context(builder, &parent))
    };
    Child(TRACING.get().and_then(below))
}

impl Child {
    /// It failed; `kind` is one of few, and quotes nothing.
    pub fn failed(&mut self, kind: &'static str) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(kind));
        }
    }
}
