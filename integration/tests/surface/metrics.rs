//! Metrics: their names and labels against dashboard, alerts and docs/metrics.md, Prometheus's own checks, and what they say while a
//! migration lives, by Prometheus and by OTLP.

mod full;
mod life;
mod names;
mod promtool;
mod scrape;
