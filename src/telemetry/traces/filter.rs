//! Which spans and events become part of traces.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use super::context;
use super::{SERVER, STEP, TABLET};

/// A field that spans of calls have which are sampled, and others have not.
const SAMPLED: &str = "otel.kind";

/// The span of a client's call and the spans that it causes, if it is sampled, and its steps. What nobody's call caused (pages,
/// watchers, the start) and other crates, the exporter's own calls among them, stay out.
pub(super) struct Caused;

enum Kind {
    Always,
    /// Only below a sampled call.
    Sampled,
    Never,
}

fn kind(metadata: &Metadata<'_>) -> Kind {
    if !metadata.target().starts_with("vtmigrated") {
        return Kind::Never;
    }
    if !metadata.is_span() {
        return if metadata.fields().field(STEP).is_some() { Kind::Always } else { Kind::Never };
    }
    match metadata.name() {
        SERVER if metadata.fields().field(SAMPLED).is_some() => Kind::Always,
        TABLET => Kind::Sampled,
        _ => Kind::Never,
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for Caused {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        match kind(metadata) {
            Kind::Always => true,
            Kind::Sampled => context::is_sampled(context.lookup_current()),
            Kind::Never => false,
        }
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match kind(metadata) {
            Kind::Always => Interest::always(),
            Kind::Sampled => Interest::sometimes(),
            Kind::Never => Interest::never(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}
