//! Which calls are sampled.

use opentelemetry_sdk::trace::Sampler;

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
