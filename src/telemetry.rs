//! What the program tells of itself: log, metrics, traces, facts of its build. It knows no other module.

pub mod build;
pub mod grpc_code;
pub mod log;
pub mod metrics;
pub mod otlp;
pub mod shadow;
pub mod trace_ids;
pub mod traces;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Why the program would be mute.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write log files to {folder}: {source}")]
    Log { folder: String, source: std::io::Error },
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    #[error("traces cannot be sent: {0}")]
    Traces(#[from] otlp::Error),
}

/// Installs subscriber and meters of the process. `RUST_LOG` overrides the levels of the flags. To be called inside the
/// runtime.
///
/// # Errors
/// The folder of the log files cannot be written to; telemetry cannot be sent as it is asked for.
pub fn init(
    options: &log::Options,
    metrics: metrics::Options,
    traces: &traces::Options,
    otlp: &otlp::Options,
) -> Result<(), Error> {
    let started = std::time::Instant::now();
    let lines = log::Lines::open(options).map_err(|source| Error::Log {
        folder: options.folder.as_deref().unwrap_or(std::path::Path::new("")).display().to_string(),
        source,
    })?;
    let filter = match EnvFilter::try_from_default_env() {
        Ok(filter) if traces.is_on(otlp::variable) => FilterExt::boxed(filter.or(traces::spans())),
        Ok(filter) => FilterExt::boxed(filter),
        Err(_) => FilterExt::boxed(log::Levels::new(options)),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    match traces::layer(traces, otlp)? {
        Some(layer) => subscriber.with(layer).try_init().ok(),
        None => subscriber.try_init().ok(),
    };
    Ok(metrics::install(metrics, otlp, started)?)
}

/// Sends what is still to be sent, for a bounded time.
pub async fn flush() {
    tokio::join!(traces::flush(), metrics::flush());
}
