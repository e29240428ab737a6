//! Metrics: their names and labels against dashboard, alerts and docs/metrics.md, Prometheus's own checks, and what they say while a
//! migration lives, by Prometheus and by OTLP.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

#[path = "metrics/full.rs"]
mod full;
#[path = "metrics/life.rs"]
mod life;
#[path = "metrics/names.rs"]
mod names;
#[path = "metrics/promtool.rs"]
mod promtool;
#[path = "metrics/scrape.rs"]
mod scrape;
