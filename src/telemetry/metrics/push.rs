//! Metrics by OTLP: a second reader of the same meters. The log is told when they cannot be sent, once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};

use super::Options;
use crate::telemetry::otlp::{self, Signal};

/// Whether metrics are sent, with the environment's variables by `variable`. `OTEL_SDK_DISABLED` has the last word.
pub(super) fn is_on(options: &Options, variable: impl Fn(&str) -> Option<String>) -> bool {
    if variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return false;
    }
    let named = |list: String| list.split(',').any(|name| name.trim() == "otlp");
    options.push || variable("OTEL_METRICS_EXPORTER").is_some_and(named)
}

/// Reads and sends every `OTEL_METRIC_EXPORT_INTERVAL` (60 s); `None` when metrics are not sent. To be called inside the
/// runtime.
pub(super) fn reader(options: &Options, otlp: &otlp::Options) -> otlp::Result<Option<PeriodicReader<Watched>>> {
    if !is_on(options, otlp::variable) {
        return Ok(None);
    }
    let url = otlp.target(Signal::Metrics, otlp::variable)?.url;
    let exporter = Watched { inner: otlp.metric_exporter()?, url, failures: AtomicU64::new(0) };
    Ok(Some(PeriodicReader::builder(exporter).build()))
}

/// An exporter that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    inner: MetricExporter,
    /// For the log.
    url: String,
    /// Since the last success.
    failures: AtomicU64,
}

impl PushMetricExporter for Watched {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let sent = self.inner.export(metrics).await;
        match &sent {
            Ok(()) => {
                let failures = self.failures.swap(0, Ordering::Relaxed);
                if failures > 0 {
                    tracing::info!(url = self.url, failures, "sending metrics again");
                }
            }
            Err(error) => {
                if self.failures.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(url = self.url, "cannot send metrics: {error}");
                }
            }
        }
        sent
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_sent_when_the_flag_or_the_environment_says_so() {
        let on = |push, environment: &[(&str, &str)]| {
            let find =
                |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            is_on(&Options { push, ..Options::default() }, find)
        };
        assert!(!on(false, &[]));
        assert!(on(true, &[]));
        assert!(!on(false, &[("OTEL_METRICS_EXPORTER", "none")]));
        assert!(on(false, &[("OTEL_METRICS_EXPORTER", "prometheus, otlp")]));
        assert!(!on(true, &[("OTEL_SDK_DISABLED", "True")]));
    }
}
