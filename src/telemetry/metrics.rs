//! Meters of the program, shown as Prometheus text and as `/debug/vars`, and sent by OTLP.
//!
//! Names that dashboards know from stock's vtctld stay, without a unit; calls have the names of OpenTelemetry; ours begin with
//! `vtmigrated.`. Prometheus shows dots as `_` and units as suffixes: `vtmigrated.workflow.lag` in `s` is
//! `vtmigrated_workflow_lag_seconds`. Recording is a no-op until [`install`] was called.

mod clusters;
mod process;
mod push;
mod vars;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider, UpDownCounter};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::{Map, Value};

use super::otlp;
pub use clusters::mounted_tablet;

/// Bound of sending the last metrics.
const LAST: Duration = Duration::from_secs(5);
/// Bounds of the histograms in seconds: those of stock.
const BOUNDS: [f64; 10] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The `--stats_*` flags, and `--otel-metrics`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Variables that are not shown, by their names in `/debug/vars`.
    pub dropped: Vec<String>,
    /// Labels whose values are summed up as `all`.
    pub combined: Vec<String>,
    /// Sent by OTLP, whatever `OTEL_METRICS_EXPORTER` says.
    pub push: bool,
}

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("metrics cannot be set up: {0}")]
    Exporter(#[from] opentelemetry_sdk::error::OTelSdkError),
    #[error("metrics cannot be sent: {0}")]
    Push(#[from] otlp::Error),
}

struct Installed {
    options: Options,
    registry: Registry,
    meters: Meters,
    meter: Meter,
    /// Keeps the meters alive.
    provider: SdkMeterProvider,
}

struct Meters {
    topology_operations: Histogram<f64>,
    topology_errors: Counter<u64>,
    topology_read_waits: Histogram<f64>,
    tablet_calls: Histogram<f64>,
    tablet_connections_new: Counter<u64>,
    tablet_connections_reused: Counter<u64>,
    rpcs: Histogram<f64>,
    rpc_errors: Counter<u64>,
    hung_up: Counter<u64>,
    rpcs_active: UpDownCounter<i64>,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Sets the meters of the process up. A second call changes nothing. To be called inside the runtime when metrics are sent.
///
/// # Errors
/// The exporter cannot be registered; metrics cannot be sent as it is asked for.
pub fn install(options: Options, otlp: &otlp::Options, started: Instant) -> Result<(), Error> {
    if INSTALLED.get().is_some() {
        return Ok(());
    }
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_counter_suffixes()
        .without_target_info()
        .scope_info_enabled(false)
        .build()?;
    let mut provider = SdkMeterProvider::builder().with_reader(exporter).with_resource(otlp::resource());
    if let Some(reader) = push::reader(&options, otlp)? {
        provider = provider.with_reader(reader);
    }
    let provider = provider.build();
    let meter = provider.meter("vtmigrated");
    process::observe(&meter, started);
    let meters = Meters::new(&meter);
    INSTALLED.set(Installed { options, registry, meters, meter, provider }).ok();
    Ok(())
}

impl Meters {
    fn new(meter: &Meter) -> Self {
        let times = |name: &'static str, unit: &'static str, text: &'static str| {
            meter.f64_histogram(name).with_unit(unit).with_description(text).with_boundaries(BOUNDS.to_vec()).build()
        };
        let count = |name: &'static str, text: &'static str| meter.u64_counter(name).with_description(text).build();
        Self {
            topology_operations: times("vtctld_topology_conn_operations", "", "Seconds that topology operations took"),
            topology_errors: count("vtctld_topology_conn_errors", "Topology operations that failed"),
            topology_read_waits: times("vtctld_topology_conn_read_waits", "", "Seconds that topology reads waited"),
            tablet_calls: times("rpc.client.call.duration", "s", "Duration of calls to tablets"),
            tablet_connections_new: count("vtctld_tabletmanagerclient_cachedconn_new", "Tablets connected to"),
            tablet_connections_reused: count("vtctld_tabletmanagerclient_cachedconn_reuse", "Uses of kept connections"),
            rpcs: times("rpc.server.call.duration", "s", "Duration of client calls"),
            rpc_errors: count("vtmigrated.rpc.errors.total", "Client calls that failed"),
            hung_up: count(
                "vtmigrated.connections.hung_up.total",
                "Connections closed because the client floods, does not read, or holds too much",
            ),
            rpcs_active: meter
                .i64_up_down_counter("vtmigrated.rpc.active")
                .with_description("Client calls in progress")
                .build(),
        }
    }
}

impl Installed {
    /// Every call has some: values that are kept somewhere are handed over without a copy.
    fn label(&self, name: &'static str, value: impl Into<opentelemetry::Value>) -> KeyValue {
        let combined = self.options.combined.iter().any(|label| label.eq_ignore_ascii_case(name));
        let value: opentelemetry::Value = if combined { "all".into() } else { value.into() };
        KeyValue::new(name, value)
    }

    fn is_dropped(&self, variable: &str) -> bool {
        self.options.dropped.iter().any(|name| name.eq_ignore_ascii_case(variable))
    }
}

/// Sends the last metrics, for five seconds at most. None are shown afterwards.
pub(super) async fn flush() {
    let Some(installed) = INSTALLED.get().filter(|installed| push::is_on(&installed.options, otlp::variable)) else {
        return;
    };
    let sent = tokio::task::spawn_blocking(|| installed.provider.shutdown());
    match tokio::time::timeout(LAST, sent).await {
        Ok(Ok(Err(error))) => tracing::warn!("cannot send the last metrics: {error}"),
        Err(_) => tracing::warn!("the last metrics were not sent in time"),
        Ok(_) => {}
    }
}

/// Where gauges of other modules are made; `None` until [`install`] was called.
pub fn meter() -> Option<&'static Meter> {
    INSTALLED.get().map(|installed| &installed.meter)
}

/// A topology operation that took `elapsed`. `cell` is `global` or the name of a cell.
pub fn topology_operation(operation: &'static str, cell: &Arc<str>, elapsed: Duration, failed: bool) {
    let Some(installed) = INSTALLED.get() else { return };
    let labels = [installed.label("Operation", operation), installed.label("Cell", Arc::clone(cell))];
    installed.meters.topology_operations.record(elapsed.as_secs_f64(), &labels);
    if failed {
        installed.meters.topology_errors.add(1, &labels);
    }
}

/// How long a topology read had to wait for others.
pub fn topology_read_wait(operation: &'static str, cell: &Arc<str>, elapsed: Duration) {
    let Some(installed) = INSTALLED.get() else { return };
    let labels = [installed.label("Operation", operation), installed.label("Cell", Arc::clone(cell))];
    installed.meters.topology_read_waits.record(elapsed.as_secs_f64(), &labels);
}

/// A call to the tablet at `address`. `method` is `service/method`, `code` as gRPC writes it, such as `NOT_FOUND`.
pub fn tablet_call(method: &str, address: &str, code: &'static str, elapsed: Duration) {
    let Some(installed) = INSTALLED.get() else { return };
    let labels = [
        installed.label("rpc.method", method.to_owned()),
        installed.label("rpc.response.status_code", code),
        installed.label("vitess.cluster", clusters::of(address)),
    ];
    installed.meters.tablet_calls.record(elapsed.as_secs_f64(), &labels);
}

/// A connection to a tablet was needed: a new one, or one that was kept.
pub fn tablet_connection(is_new: bool) {
    let Some(Installed { meters, .. }) = INSTALLED.get() else { return };
    let counter = if is_new { &meters.tablet_connections_new } else { &meters.tablet_connections_reused };
    counter.add(1, &[]);
}

/// The server hung up on a client; there are few different reasons.
pub fn hung_up(reason: &'static str) {
    if let Some(installed) = INSTALLED.get() {
        installed.meters.hung_up.add(1, &[installed.label("reason", reason)]);
    }
}

/// Client calls in progress: one more, or one less.
pub fn rpc_active(change: i64) {
    if let Some(installed) = INSTALLED.get() {
        installed.meters.rpcs_active.add(change, &[]);
    }
}

/// A client's call that ended. `method` is `service/method`; the caller keeps the number of different ones bounded.
pub fn rpc(method: Arc<str>, code: &'static str, elapsed: Duration) {
    let Some(installed) = INSTALLED.get() else { return };
    let labels = [installed.label("rpc.method", method), installed.label("rpc.response.status_code", code)];
    installed.meters.rpcs.record(elapsed.as_secs_f64(), &labels);
    if code != "OK" {
        installed.meters.rpc_errors.add(1, &labels);
    }
}

/// Everything in Prometheus's text form; empty when nothing is installed.
pub fn prometheus_text() -> String {
    let Some(installed) = INSTALLED.get() else { return String::new() };
    let families = installed.registry.gather().into_iter();
    let shown: Vec<_> = families.filter(|family| !installed.is_dropped(&vars::name(family.name()))).collect();
    let mut text = Vec::new();
    // a Vec takes everything
    TextEncoder::new().encode(&shown, &mut text).ok();
    String::from_utf8(text).unwrap_or_default()
}

/// Everything as Go's expvar shows it, by stock's names where stock has one.
pub fn variables() -> Map<String, Value> {
    let Some(installed) = INSTALLED.get() else { return Map::new() };
    let mut found = vars::build();
    for family in installed.registry.gather() {
        if let Some((name, value)) = vars::variable(&family) {
            found.insert(name, value);
        }
    }
    found.retain(|name, _| !installed.is_dropped(name));
    found
}

#[cfg(test)]
mod tests;
