//! Which calls are sampled, and the ids by which that is decided.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{Config, IdGenerator, RandomIdGenerator, Sampler, ShouldSample};

/// Part of the traces that is kept, unless told otherwise: as in stock.
const RATE: f64 = 0.1;

/// By the flag's rate, else by what OpenTelemetry's environment variables say, as its SDK reads them.
pub(super) fn sampler(rate: Option<f64>, variable: impl Fn(&str) -> Option<String>) -> Box<dyn ShouldSample> {
    if rate.is_none() && variable("OTEL_TRACES_SAMPLER").is_some() {
        return Config::default().sampler;
    }
    let root = Sampler::TraceIdRatioBased(rate.unwrap_or(RATE));
    Box::new(Sampler::ParentBased(Box::new(root)))
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
    use crate::telemetry::otlp;

    #[test]
    fn a_flag_wins_over_the_environment() {
        let of = |rate, name: Option<&str>| format!("{:?}", sampler(rate, |_| name.map(str::to_owned)));
        assert_eq!(of(None, None), "ParentBased(TraceIdRatioBased(0.1))");
        assert_eq!(of(Some(0.5), None), "ParentBased(TraceIdRatioBased(0.5))");
        assert_eq!(of(Some(0.5), Some("always_off")), "ParentBased(TraceIdRatioBased(0.5))");
    }

    /// The SDK asks the environment of its process: this test runs itself in one for each case.
    #[test]
    fn the_environment_chooses_the_sampler() {
        const INNER: &str = "VTMIGRATED_TEST_PRINTS_ITS_SAMPLER";
        if std::env::var_os(INNER).is_some() {
            println!("<{:?}>", sampler(None, otlp::variable));
            return;
        }
        let name = format!("{}::the_environment_chooses_the_sampler", module_path!());
        let (_, name) = name.split_once("::").unwrap();
        for (chosen, argument, expected) in [
            ("always_on", None, "AlwaysOn"),
            ("always_off", None, "AlwaysOff"),
            ("traceidratio", Some("0.25"), "TraceIdRatioBased(0.25)"),
            ("parentbased_always_on", None, "ParentBased(AlwaysOn)"),
            ("parentbased_always_off", None, "ParentBased(AlwaysOff)"),
            ("parentbased_traceidratio", Some("0.25"), "ParentBased(TraceIdRatioBased(0.25))"),
            ("parentbased_traceidratio", Some("x"), "ParentBased(TraceIdRatioBased(1.0))"),
            ("xray", None, "ParentBased(AlwaysOn)"),
            ("", None, "ParentBased(TraceIdRatioBased(0.1))"),
        ] {
            let mut test = std::process::Command::new(std::env::current_exe().unwrap());
            test.args(["--exact", name, "--nocapture"]).env(INNER, "1").env("OTEL_TRACES_SAMPLER", chosen);
            test.env_remove("OTEL_TRACES_SAMPLER_ARG").envs(argument.map(|text| ("OTEL_TRACES_SAMPLER_ARG", text)));
            let output = test.output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(printed.contains(&format!("<{expected}>")), "{chosen}: {printed}");
        }
    }
}
