//! Flags of traces, and of where telemetry is sent.

use clap::Args;

use super::vtmigrated::NOT_IN_VTCTLD;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Telemetry")]
pub struct OtelArgs {
    /// Tracer: noop or opentelemetry. vtctld's other tracers are accepted and send nothing
    #[arg(long, value_name = "NAME")]
    pub tracer: Option<String>,
    /// Sampling rate of traces without a sampled parent, from 0 to 1; 0.1 unless OTEL_TRACES_SAMPLER says otherwise
    #[arg(long, value_name = "RATE")]
    pub tracing_sampling_rate: Option<f64>,
    /// Also send metrics by OTLP; without it, OTEL_METRICS_EXPORTER=otlp does
    #[arg(long, help_heading = NOT_IN_VTCTLD)]
    pub otel_metrics: bool,
    /// OTLP collector, host:port or a URL; else OTEL_EXPORTER_OTLP_ENDPOINT, else one on this host
    #[arg(long, default_value = "", value_name = "ADDRESS")]
    pub otel_endpoint: String,
    /// Send without TLS to an OTLP collector that is given as host:port
    #[arg(long)]
    pub otel_insecure: bool,
    /// OTLP protocol, grpc or http/protobuf; else OTEL_EXPORTER_OTLP_PROTOCOL, else grpc
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value = "", value_name = "NAME")]
    pub otel_protocol: String,
}
