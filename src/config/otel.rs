//! From the flags of telemetry to what they mean.

use http::Uri;

use super::Error;
use crate::cli::OtelArgs;
use crate::telemetry::otlp::{self, Protocol};
use crate::telemetry::traces::{self, Tracer};

/// Tracers of stock that this program does not have.
const OTHER_TRACERS: [&str; 2] = ["opentracing-jaeger", "opentracing-datadog"];

pub(super) struct Telemetry {
    pub otlp: otlp::Options,
    pub traces: traces::Options,
    /// Metrics are sent, too.
    pub metrics: bool,
    /// For the log.
    pub note: Option<String>,
}

pub(super) fn telemetry(args: OtelArgs) -> Result<Telemetry, Error> {
    let OtelArgs { tracer, tracing_sampling_rate, otel_metrics, otel_endpoint, otel_insecure, otel_protocol } = args;
    let bad = |flag: &'static str| move |detail: String| Error::BadValue { flag, detail };
    let mut note = None;
    let tracer = match tracer.as_deref() {
        None | Some("") => None,
        Some("noop") => Some(Tracer::Noop),
        Some("opentelemetry") => Some(Tracer::OpenTelemetry),
        Some(other) if OTHER_TRACERS.contains(&other) => {
            note =
                Some(format!("--tracer={other} is not supported and sends nothing: opentelemetry is the only tracer"));
            Some(Tracer::Noop)
        }
        Some(other) => return Err(bad("tracer")(format!("{other}: it must be noop or opentelemetry"))),
    };
    if tracing_sampling_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
        return Err(bad("tracing-sampling-rate")("it must be from 0 to 1".to_owned()));
    }
    let protocol = match otel_protocol.as_str() {
        "" => None,
        name => Some(Protocol::named(name).map_err(bad("otel-protocol"))?),
    };
    if !otel_endpoint.is_empty() && !is_endpoint(&otel_endpoint) {
        return Err(bad("otel-endpoint")("it must be host:port, or a URL with http or https".to_owned()));
    }
    Ok(Telemetry {
        otlp: otlp::Options {
            endpoint: Some(otel_endpoint).filter(|endpoint| !endpoint.is_empty()),
            insecure: otel_insecure,
            protocol,
        },
        traces: traces::Options { tracer, rate: tracing_sampling_rate },
        metrics: otel_metrics,
        note,
    })
}

fn is_endpoint(text: &str) -> bool {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    url.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(tracer: Option<&str>, rate: Option<f64>, endpoint: &str, protocol: &str) -> Result<Telemetry, Error> {
        telemetry(OtelArgs {
            tracer: tracer.map(str::to_owned),
            tracing_sampling_rate: rate,
            otel_metrics: false,
            otel_endpoint: endpoint.to_owned(),
            otel_insecure: false,
            otel_protocol: protocol.to_owned(),
        })
    }

    #[test]
    fn tracers_of_stock_are_taken_and_others_refused() {
        assert_eq!(flags(None, None, "", "").unwrap().traces.tracer, None);
        assert_eq!(flags(Some("opentelemetry"), None, "", "").unwrap().traces.tracer, Some(Tracer::OpenTelemetry));
        let jaeger = flags(Some("opentracing-jaeger"), None, "", "").unwrap();
        assert_eq!(jaeger.traces.tracer, Some(Tracer::Noop));
        assert!(jaeger.note.unwrap().contains("opentracing-jaeger is not supported and sends nothing"));
        assert!(flags(Some("zipkin"), None, "", "").is_err());
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for rate in [-0.1, 1.1, f64::NAN] {
            assert!(flags(None, Some(rate), "", "").is_err(), "{rate}");
        }
        for endpoint in ["://", "ftp://host:1", "host name", "http://"] {
            assert!(flags(None, None, endpoint, "").is_err(), "{endpoint}");
        }
        assert!(flags(None, None, "", "http/json").is_err());
        for endpoint in ["collector:4317", "[::1]:4317", "https://collector/otlp"] {
            let given = flags(None, Some(0.5), endpoint, "http/protobuf").unwrap();
            assert_eq!(given.otlp.endpoint.as_deref(), Some(endpoint));
            assert_eq!(given.otlp.protocol, Some(Protocol::Http));
        }
    }
}
