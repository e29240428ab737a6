//! Lines as glog writes them: `I1122 00:37:42.509041    4711 app.rs:57] message key=value`.

use std::fmt::Write;

use serde_json::Value;

use super::Severity;
use super::record::Record;

/// One line with its end. Line breaks within become `\n`, so that nobody can forge a line.
pub(super) fn line(record: &Record) -> String {
    let letter = match record.severity {
        Severity::Info => 'I',
        Severity::Warning => 'W',
        Severity::Error => 'E',
        Severity::Fatal => 'F',
    };
    let time = record.time.strftime("%m%d %H:%M:%S%.6f");
    let mut line = format!("{letter}{time} {:7} {}:{}] ", std::process::id(), record.file, record.line);
    escape(&mut line, &record.message);
    for (name, value) in record.fields.iter().chain(&record.spans) {
        // a String takes everything
        write!(line, " {name}=").ok();
        match value {
            Value::String(text) if is_plain(text) => line.push_str(text),
            Value::String(text) => write!(line, "{text:?}").unwrap_or_default(),
            other => write!(line, "{other}").unwrap_or_default(),
        }
    }
    if let Some(ids) = &record.trace {
        write!(line, " trace_id={} span_id={}", ids.trace, ids.span).ok();
    }
    line.push('\n');
    line
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_./:,+@%".contains(c))
}

fn escape(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            c if c.is_control() && c != '\t' => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
}
