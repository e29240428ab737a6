//! One event with what its spans say, whatever the form of the line.

use std::fmt;

use jiff::Zoned;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Severity;
use crate::telemetry::trace_ids::{self, TraceIds};

/// The field with what an error says: it may quote requests and statements.
const DETAIL: &str = "detail";

/// Fields that are for traces only: every line would repeat them.
const FOR_TRACES: [&str; 3] = ["otel.kind", "otel.name", "rpc.system.name"];

/// Names and values, in the order they were given. A later value takes the place of an earlier one.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub Vec<(&'static str, Value)>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match self.0.iter_mut().find(|(name, _)| *name == field.name()) {
            Some(known) => known.1 = value,
            None => self.0.push((field.name(), value)),
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        match self.0.remove(at).1 {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }
}

/// Whether lines do without a field.
fn is_for_traces(field: &Field) -> bool {
    FOR_TRACES.contains(&field.name())
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !is_for_traces(field) {
            self.put(field, value.into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !is_for_traces(field) {
            self.put(field, format!("{value:?}").into());
        }
    }
}

/// What one line is about.
#[derive(Debug)]
pub(super) struct Record {
    pub time: Zoned,
    pub level: Level,
    pub severity: Severity,
    /// Source file without its folders, and line.
    pub file: &'static str,
    pub line: u32,
    pub target: String,
    pub message: String,
    /// Of the event.
    pub fields: Vec<(&'static str, Value)>,
    /// Of the spans around it, outermost first; what an inner one repeats is in there once, with its value.
    pub spans: Vec<(&'static str, Value)>,
    pub trace: Option<TraceIds>,
}

impl Record {
    pub(super) fn new<S>(event: &Event<'_>, context: &Context<'_, S>, sanitize: bool) -> Self
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut message = fields.take("message").unwrap_or_default();
        if let Some(detail) = fields.take(DETAIL) {
            message = format!("{message}: {}", if sanitize { "(not logged)" } else { &detail });
        }
        let mut spans = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            for (name, value) in span.extensions().get::<Fields>().map(|fields| fields.0.clone()).unwrap_or_default() {
                spans.0.retain(|(known, _)| *known != name);
                spans.0.push((name, value));
            }
        }
        Self {
            time: Zoned::now(),
            level: *metadata.level(),
            severity: Severity::of(*metadata.level()),
            file: metadata.file().map_or("", |path| path.rsplit('/').next().unwrap_or(path)),
            line: metadata.line().unwrap_or_default(),
            target: metadata.target().to_owned(),
            message,
            fields: fields.0,
            spans: spans.0,
            trace: trace_ids::of(context.event_span(event)),
        }
    }
}
