//! Where traces and metrics go by OTLP: what the flags say, else the `OTEL_*` environment, else a collector on this host.
//!
//! Headers, timeouts and compression are the environment's alone; the exporters read them themselves.

mod http_client;

use std::env;
use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{
    MetricExporter, Protocol as Wire, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};

use super::build;
use http_client::Client;

/// Name of this program where telemetry of several arrives.
const SERVICE: &str = "vtmigrated";

/// The form in which telemetry is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    /// Protobuf over HTTP/1.1.
    Http,
}

impl Protocol {
    /// By OpenTelemetry's names.
    ///
    /// # Errors
    /// A text for any other name.
    pub fn named(name: &str) -> std::result::Result<Self, String> {
        match name {
            "grpc" => Ok(Self::Grpc),
            "http/protobuf" => Ok(Self::Http),
            _ => Err(format!("{name}: it must be grpc or http/protobuf")),
        }
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }
}

/// The `--otel-*` flags. What is not given is taken from the environment.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `host:port`, or a URL.
    pub endpoint: Option<String>,
    /// An endpoint without a scheme is talked to without TLS.
    pub insecure: bool,
    pub protocol: Option<Protocol>,
}

/// Telemetry cannot be sent as it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{variable}: {detail}")]
    Variable { variable: String, detail: String },
    #[error("cannot read {variable} {path}: {source}")]
    Unreadable { variable: String, path: String, source: std::io::Error },
    #[error(transparent)]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Result of setting an exporter up.
pub type Result<T> = std::result::Result<T, Error>;

impl Options {
    /// An exporter of spans. To be called inside the runtime; nothing is sent yet.
    ///
    /// # Errors
    /// The endpoint cannot be one, or the environment says what is not understood.
    pub fn span_exporter(&self) -> Result<SpanExporter> {
        let target = self.target(Signal::Traces, variable)?;
        let builder = SpanExporter::builder();
        Ok(match target.protocol {
            Protocol::Grpc => target.over_grpc(builder.with_tonic())?.build()?,
            Protocol::Http => target.over_http(builder.with_http())?.build()?,
        })
    }

    /// An exporter of metrics, cumulative unless `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` says otherwise. To be
    /// called inside the runtime; nothing is sent yet.
    ///
    /// # Errors
    /// The endpoint cannot be one, or the environment says what is not understood.
    pub fn metric_exporter(&self) -> Result<MetricExporter> {
        let target = self.target(Signal::Metrics, variable)?;
        let builder = MetricExporter::builder();
        Ok(match target.protocol {
            Protocol::Grpc => target.over_grpc(builder.with_tonic())?.build()?,
            Protocol::Http => target.over_http(builder.with_http())?.build()?,
        })
    }

    /// Where one signal goes, with the environment's variables by `variable`.
    ///
    /// # Errors
    /// A protocol that is not one.
    pub fn target(&self, signal: Signal, variable: impl Fn(&str) -> Option<String>) -> Result<Target> {
        let setting = |what: &str| {
            let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name());
            let shared = format!("OTEL_EXPORTER_OTLP_{what}");
            [own, shared].into_iter().find_map(|name| Some((variable(&name)?, name)))
        };
        let protocol = match (self.protocol, setting("PROTOCOL")) {
            (Some(protocol), _) => protocol,
            (None, Some((text, variable))) => {
                Protocol::named(&text).map_err(|detail| Error::Variable { variable, detail })?
            }
            (None, None) => Protocol::Grpc,
        };
        let (endpoint, whole) = match (&self.endpoint, setting("ENDPOINT")) {
            (Some(endpoint), _) => (endpoint.clone(), false),
            // a signal's own endpoint is complete
            (None, Some((endpoint, name))) => (endpoint, name != "OTEL_EXPORTER_OTLP_ENDPOINT"),
            (None, None) if protocol == Protocol::Grpc => ("http://localhost:4317".to_owned(), false),
            (None, None) => ("http://localhost:4318".to_owned(), false),
        };
        let insecure = self.insecure || setting("INSECURE").is_some_and(|(text, _)| text.eq_ignore_ascii_case("true"));
        let mut url = match (endpoint.contains("://"), insecure) {
            (true, _) => endpoint,
            (false, true) => format!("http://{endpoint}"),
            (false, false) => format!("https://{endpoint}"),
        };
        if protocol == Protocol::Http && !whole {
            url = format!("{}/{}", url.trim_end_matches('/'), signal.path());
        }
        let files = ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"].map(|what| setting(what).map(File::from));
        let [ca, certificate, key] = files;
        Ok(Target { protocol, url, ca, certificate, key })
    }
}

/// A file that the environment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    variable: String,
    path: String,
}

impl From<(String, String)> for File {
    fn from((path, variable): (String, String)) -> Self {
        Self { variable, path }
    }
}

impl File {
    fn read(file: Option<&Self>) -> Result<Option<Vec<u8>>> {
        let Some(Self { variable, path }) = file else { return Ok(None) };
        let unreadable = |source| Error::Unreadable { variable: variable.clone(), path: path.clone(), source };
        std::fs::read(path).map(Some).map_err(unreadable)
    }
}

/// Where one signal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub protocol: Protocol,
    /// For HTTP with its path.
    pub url: String,
    /// Files with the collector's authorities, and with what this program shows of itself.
    pub ca: Option<File>,
    pub certificate: Option<File>,
    pub key: Option<File>,
}

impl Target {
    fn over_grpc<B: WithExportConfig + WithTonicConfig>(&self, builder: B) -> Result<B> {
        let builder = builder.with_endpoint(&self.url).with_protocol(Wire::Grpc);
        if !self.url.starts_with("https://") {
            return Ok(builder);
        }
        let mut tls = ClientTlsConfig::new();
        tls = match File::read(self.ca.as_ref())? {
            Some(ca) => tls.ca_certificate(Certificate::from_pem(ca)),
            None => tls.with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (File::read(self.certificate.as_ref())?, File::read(self.key.as_ref())?)
        {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        Ok(builder.with_tls_config(tls))
    }

    fn over_http<B: WithExportConfig + WithHttpConfig>(&self, builder: B) -> Result<B> {
        let builder = builder.with_endpoint(&self.url).with_protocol(Wire::HttpBinary);
        Ok(builder.with_http_client(Client::new(self)?))
    }
}

/// A variable of the environment; empty is as good as absent.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// What is told of this process with all telemetry: `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` win.
pub fn resource() -> Resource {
    static INSTANCE: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());
    let own = [
        KeyValue::new("service.name", SERVICE),
        KeyValue::new("service.version", build::VERSION),
        KeyValue::new("service.instance.id", INSTANCE.as_str()),
    ];
    let builder = Resource::builder_empty()
        .with_attributes(own)
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match variable("OTEL_SERVICE_NAME") {
        Some(name) => builder.with_service_name(name).build(),
        None => builder.build(),
    }
}

#[cfg(test)]
mod tests;
