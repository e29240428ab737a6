//! Which calls are sampled, and the ids by which that is decided.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler};

/// Part of the traces that is kept, unless told otherwise: as in stock.
const RATE: f64 = 0.1;

/// By the flag's rate, else by what OpenTelemetry's environment variables say. What they say in no known way is read as
/// OpenTelemetry's SDK reads it: all traces are kept.
pub(super) fn sampler(rate: Option<f64>, variable: impl Fn(&str) -> Option<String>) -> Sampler {
    let below = |root: Sampler| Sampler::ParentBased(Box::new(root));
    let ratio = || {
        let given = variable("OTEL_TRACES_SAMPLER_ARG").and_then(|text| text.parse().ok());
        Sampler::TraceIdRatioBased(given.unwrap_or(1.0))
    };
    let name = variable("OTEL_TRACES_SAMPLER");
    match (rate, name.as_deref()) {
        (None, Some("always_on")) => Sampler::AlwaysOn,
        (None, Some("always_off")) => Sampler::AlwaysOff,
        (None, Some("traceidratio")) => ratio(),
        (None, Some("parentbased_always_on")) => below(Sampler::AlwaysOn),
        (None, Some("parentbased_always_off")) => below(Sampler::AlwaysOff),
        (None, Some("parentbased_traceidratio")) => below(ratio()),
        (None, Some(_)) => below(Sampler::AlwaysOn),
        _ => below(Sampler::TraceIdRatioBased(rate.unwrap_or(RATE))),
    }
}

thread_local! {
    /// The trace of which this thread makes a span.
    static MAKING: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Random ids; the first span of a trace gets the one by which the trace was sampled. Others may decide by it, too.
#[derive(Debug, Default)]
pub(super) struct Generator(RandomIdGenerator);

impl IdGenerator for Generator {
    fn new_trace_id(&self) -> TraceId {
        MAKING.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// Makes a span, in this trace if it is the first of one.
pub(super) fn within<T>(trace: TraceId, make: impl FnOnce() -> T) -> T {
    MAKING.set(Some(trace));
    let made = make();
    MAKING.set(None);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_environment() {
        let of = |rate, name: Option<&str>, argument: Option<&str>| {
            let variable = |asked: &str| match asked {
                "OTEL_TRACES_SAMPLER" => name.map(str::to_owned),
                _ => argument.map(str::to_owned),
            };
            format!("{:?}", sampler(rate, variable))
        };
        assert_eq!(of(None, None, None), "ParentBased(TraceIdRatioBased(0.1))");
        assert_eq!(of(Some(0.5), Some("always_off"), None), "ParentBased(TraceIdRatioBased(0.5))");
        assert_eq!(of(None, Some("always_off"), None), "AlwaysOff");
        assert_eq!(of(None, Some("traceidratio"), Some("0.25")), "TraceIdRatioBased(0.25)");
        assert_eq!(of(None, Some("parentbased_traceidratio"), Some("x")), "ParentBased(TraceIdRatioBased(1.0))");
        assert_eq!(of(None, Some("xray"), None), "ParentBased(AlwaysOn)");
    }
}
