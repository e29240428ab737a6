//! Messages as text, in the order and the form of Go's printers.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::topo::json::{self, Style};

/// One line of text format: `name:"x" range:{end:"\x80"} cells:"a" cells:"b"`.
pub(super) fn text(message: &DynamicMessage) -> String {
    let fields = message.fields().flat_map(|(field, value)| field_texts(&field, value));
    fields.collect::<Vec<_>>().join(" ")
}

/// JSON with two blanks of indent, fields as the `.proto` names and orders them, map keys ascending.
///
/// # Errors
/// Values that JSON cannot hold.
pub(super) fn json(message: &DynamicMessage, descriptor: &MessageDescriptor) -> serde_json::Result<String> {
    let style = Style { proto_names: true, ..Style::default() };
    serde_json::to_string_pretty(&json::ordered_message(message, descriptor, style)?)
}

fn field_texts(field: &FieldDescriptor, value: &Value) -> Vec<String> {
    let name = field.name();
    match value {
        Value::List(values) => {
            values.iter().map(|value| format!("{name}:{}", value_text(value, &field.kind()))).collect()
        }
        Value::Map(entries) => {
            let Kind::Message(entry) = field.kind() else { return Vec::new() };
            let kind = entry.map_entry_value_field().kind();
            let entries: BTreeMap<String, String> = entries
                .iter()
                .map(|(key, value)| (value_text(&Value::from(key.clone()), &kind), value_text(value, &kind)))
                .collect();
            entries.into_iter().map(|(key, value)| format!("{name}:{{key:{key} value:{value}}}")).collect()
        }
        single => vec![format!("{name}:{}", value_text(single, &field.kind()))],
    }
}

fn value_text(value: &Value, kind: &Kind) -> String {
    match (value, kind) {
        (Value::Message(message), _) => format!("{{{}}}", text(message)),
        (Value::EnumNumber(number), Kind::Enum(names)) => {
            names.get_value(*number).map_or_else(|| number.to_string(), |value| value.name().to_owned())
        }
        (Value::String(text), _) => quoted(text.as_bytes()),
        (Value::Bytes(bytes), _) => quoted(bytes),
        (Value::F32(number), _) => number.to_string(),
        (Value::F64(number), _) => number.to_string(),
        (other, _) => other.to_string(),
    }
}

/// In double quotes; text as it is, control characters and what is no text as `\xNN`.
fn quoted(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => quoted.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| quoted.push_str(&format!("\\x{byte:02x}")));
    }
    quoted.push('"');
    quoted
}
