//! Metric families in the form of Go's expvar, with stock's names.

use prometheus::proto::{Metric, MetricFamily, MetricType};
use serde_json::{Map, Value, json};

use super::BOUNDS;
use crate::telemetry::build;

/// Families by the names of stock's variables, and the labels whose values make a key, in stock's order.
const STOCK: &[(&str, &str, &[&str])] = &[
    ("vtctld_topology_conn_operations", "TopologyConnOperations", &["Operation", "Cell"]),
    ("vtctld_topology_conn_errors", "TopologyConnErrors", &["Operation", "Cell"]),
    ("vtctld_topology_conn_read_waits", "TopologyConnReadWaits", &["Operation", "Cell"]),
    ("vtctld_tabletmanagerclient_cachedconn_new", "tabletmanagerclient_cachedconn_new", &[]),
    ("vtctld_tabletmanagerclient_cachedconn_reuse", "tabletmanagerclient_cachedconn_reuse", &[]),
    ("vtctld_uptime", "Uptime", &[]),
    ("vtctld_max_fds", "MaxFds", &[]),
    ("vtctld_build_number", "BuildNumber", &[]),
    ("vtctld_build_timestamp", "BuildTimestamp", &[]),
    ("vtctld_build_information", "BuildInformation", BUILD_LABELS),
    ("rpc_server_call_duration_seconds", "GRPCServerCalls", &["rpc_method", "rpc_response_status_code"]),
    (
        "rpc_client_call_duration_seconds",
        "GRPCTabletCalls",
        &["rpc_method", "rpc_response_status_code", "vitess_cluster"],
    ),
    ("vtmigrated_rpc_errors_total", "GRPCServerErrors", &["rpc_method", "rpc_response_status_code"]),
    ("vtmigrated_rpc_active", "GRPCServerActive", &[]),
];

const BUILD_LABELS: &[&str] =
    &["BuildHost", "BuildUser", "BuildTimestamp", "BuildGitRev", "BuildGitBranch", "BuildNumber"];

/// Labels of `build_information`, in stock's order.
pub(super) fn build_labels() -> [(&'static str, String); 6] {
    [
        ("BuildHost", build::HOST.to_owned()),
        ("BuildUser", build::USER.to_owned()),
        ("BuildTimestamp", build::timestamp().to_string()),
        ("BuildGitRev", build::REVISION.to_owned()),
        ("BuildGitBranch", build::BRANCH.to_owned()),
        ("BuildNumber", build::number().to_string()),
    ]
}

/// Facts that are no metrics.
pub(super) fn build() -> Map<String, Value> {
    let (system, processor) = build::platform();
    let version = format!("{}-vtmigrated-{}", build::VITESS_VERSION, build::VERSION);
    let facts = [
        ("BuildHost", build::HOST),
        ("BuildUser", build::USER),
        ("BuildVersion", &version),
        ("BuildGitRev", build::REVISION),
        ("BuildGitBranch", build::BRANCH),
        ("GoOS", system),
        ("GoArch", processor),
        ("RustVersion", build::COMPILER),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// The variable's name of a family: stock's, or the family's own.
pub(super) fn name(family: &str) -> String {
    let stock = STOCK.iter().find(|(known, ..)| *known == family);
    stock.map_or(family, |(_, variable, _)| variable).to_owned()
}

/// A family as a variable. Families that only Prometheus knows in stock, `process_…`, are none.
pub(super) fn variable(family: &MetricFamily) -> Option<(String, Value)> {
    if family.name().starts_with("process_") {
        return None;
    }
    let labels = STOCK.iter().find(|(known, ..)| *known == family.name()).map(|(.., labels)| *labels);
    let metrics = family.get_metric();
    let value = if family.get_field_type() == MetricType::HISTOGRAM {
        timings(metrics, labels)
    } else if labels.is_some_and(<[&str]>::is_empty) {
        metrics.first().map_or(Value::from(0), |metric| number(scalar(metric)))
    } else {
        metrics.iter().map(|metric| (key(metric, labels), number(scalar(metric)))).collect::<Map<_, _>>().into()
    };
    Some((name(family.name()), value))
}

/// Values of the labels with dots between; dots within a value become `_`, as in stock.
fn key(metric: &Metric, labels: Option<&[&str]>) -> String {
    let value = |label: &str| {
        let pair = metric.get_label().iter().find(|pair| pair.name() == label);
        pair.map(|pair| pair.value().replace('.', "_")).unwrap_or_default()
    };
    match labels {
        Some(labels) => labels.iter().map(|label| value(label)).collect::<Vec<_>>().join("."),
        None => metric.get_label().iter().map(|pair| value(pair.name())).collect::<Vec<_>>().join("."),
    }
}

fn scalar(metric: &Metric) -> f64 {
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

#[expect(clippy::cast_possible_truncation, reason = "Go shows integers; counts are far below 2^53")]
fn number(value: f64) -> Value {
    if value.fract() == 0.0 { (value as i64).into() } else { value.into() }
}

/// Counts by upper bound in nanoseconds, not summed up; times in nanoseconds.
fn timings(metrics: &[Metric], labels: Option<&[&str]>) -> Value {
    let mut histograms = Map::new();
    let (mut total_count, mut total_time) = (0, 0.0);
    for metric in metrics {
        let histogram = metric.get_histogram();
        let mut before = 0;
        let mut shown = Map::new();
        for (bound, bucket) in BOUNDS.iter().zip(histogram.get_bucket()) {
            let count = bucket.cumulative_count();
            shown.insert(number((bound * 1e9).round()).to_string(), (count - before).into());
            before = count;
        }
        let (count, time) = (histogram.get_sample_count(), (histogram.get_sample_sum() * 1e9).round());
        shown.insert("inf".into(), (count - before).into());
        shown.insert("Count".into(), count.into());
        shown.insert("Time".into(), number(time));
        histograms.insert(key(metric, labels), shown.into());
        total_count += count;
        total_time += time;
    }
    json!({"TotalCount": total_count, "TotalTime": number(total_time), "Histograms": histograms})
}
