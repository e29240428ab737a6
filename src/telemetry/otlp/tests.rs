use super::*;

fn target(options: &Options, signal: Signal, environment: &[(&str, &str)]) -> Result<Target> {
    let find = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    options.target(signal, find)
}

fn url(options: &Options, signal: Signal, environment: &[(&str, &str)]) -> String {
    target(options, signal, environment).unwrap().url
}

const GENERAL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:1/");
const OWN: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://own:2/x");
const HTTP: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");

#[test]
fn without_a_word_it_is_a_collector_on_this_host() {
    let none = Options::default();
    assert_eq!(url(&none, Signal::Traces, &[]), "http://localhost:4317");
    assert_eq!(url(&none, Signal::Traces, &[HTTP]), "http://localhost:4318/v1/traces");
    assert_eq!(url(&none, Signal::Metrics, &[HTTP]), "http://localhost:4318/v1/metrics");
}

#[test]
fn a_signals_own_endpoint_is_complete_and_wins_over_the_shared_one() {
    let none = Options::default();
    assert_eq!(url(&none, Signal::Traces, &[GENERAL, OWN, HTTP]), "http://own:2/x");
    assert_eq!(url(&none, Signal::Metrics, &[GENERAL, OWN, HTTP]), "http://general:1/v1/metrics");
    assert_eq!(url(&none, Signal::Metrics, &[GENERAL, OWN]), "http://general:1/");
}

#[test]
fn flags_win_over_the_environment() {
    let flags = Options { endpoint: Some("flag:3".into()), insecure: true, protocol: Some(Protocol::Grpc) };
    assert_eq!(url(&flags, Signal::Traces, &[GENERAL, OWN, HTTP]), "http://flag:3");
    let flags = Options { insecure: false, protocol: Some(Protocol::Http), ..flags };
    assert_eq!(url(&flags, Signal::Traces, &[GENERAL, OWN]), "https://flag:3/v1/traces");
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    assert_eq!(url(&flags, Signal::Traces, &[insecure]), "http://flag:3/v1/traces");
}

#[test]
fn an_unknown_protocol_is_an_error_that_names_the_variable() {
    let error = target(&Options::default(), Signal::Traces, &[("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json")]);
    let text = error.unwrap_err().to_string();
    assert_eq!(text, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: http/json: it must be grpc or http/protobuf");
}

#[tokio::test]
async fn a_missing_file_with_certificates_is_an_error() {
    for protocol in ["grpc", "http/protobuf"] {
        let environment = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent/ca.pem"),
        ];
        let target = target(&Options::default(), Signal::Traces, &environment).unwrap();
        let error = match target.protocol {
            Protocol::Grpc => target.over_grpc(SpanExporter::builder().with_tonic()).map(drop).unwrap_err(),
            Protocol::Http => target.over_http(SpanExporter::builder().with_http()).map(drop).unwrap_err(),
        };
        assert!(error.to_string().starts_with("cannot read OTEL_EXPORTER_OTLP_CERTIFICATE /nonexistent"), "{error}");
    }
}
