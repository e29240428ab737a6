//! `/debug/vars`, `/metrics` and `/debug/config`.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Pages;
use crate::telemetry::metrics;

/// Variables as Go's expvar shows them.
pub async fn vars(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    let mut found = metrics::variables();
    found.insert("cmdline".into(), pages.options.command_line.clone().into());
    let json = serde_json::to_string_pretty(&found).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], json)
}

/// Prometheus's text form.
pub async fn metrics() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], metrics::prometheus_text())
}

/// One line for each flag, in YAML: the file can be used as `--config-file`.
pub async fn config(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    let mut text = String::new();
    for setting in &pages.options.settings {
        let effect = if setting.has_effect { "" } else { ", no effect" };
        // a String takes everything
        writeln!(text, "{}: {}  # {}{effect}", setting.name, quoted(&setting.value), setting.origin).ok();
    }
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text)
}

/// JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
