//! Lines as JSON objects.

use serde_json::{Map, Value};

use super::record::Record;

/// One object with its line's end: `time` (RFC 3339), `level`, `message`, `caller`, `target`, trace ids, and the fields of
/// event and spans by their own names.
pub(super) fn line(record: &Record) -> String {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        object.entry(name).or_insert(value);
    };
    put("time", record.time.timestamp().to_string().into());
    put("level", record.level.as_str().to_lowercase().into());
    put("message", record.message.as_str().into());
    put("caller", format!("{}:{}", record.file, record.line).into());
    put("target", record.target.as_str().into());
    if let Some(ids) = &record.trace {
        put("trace_id", ids.trace.as_str().into());
        put("span_id", ids.span.as_str().into());
    }
    for (name, value) in record.fields.iter().chain(&record.spans) {
        put(name, value.clone());
    }
    format!("{}\n", Value::Object(object))
}
