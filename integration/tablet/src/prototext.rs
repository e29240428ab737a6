//! The text form of protobuf messages, in which the sidecar tables keep stream sources and last keys.

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};
use vtmigrated_proto::{
    DESCRIPTORS, binlogdata::BinlogSource, query::QueryResult, tabletmanagerdata::VDiffTableLastPk,
    topodata::TabletAlias,
};

/// Why a text or a message could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("proto: {0}")]
    Text(String),
    #[error("message {0} is not described")]
    Undescribed(&'static str),
    #[error("message cannot be converted: {0}")]
    Wire(#[from] prost::DecodeError),
}

/// A message that has a text form.
pub trait TextForm: Message + Default {
    /// Full protobuf name.
    const NAME: &'static str;
}

impl TextForm for BinlogSource {
    const NAME: &'static str = "binlogdata.BinlogSource";
}

impl TextForm for QueryResult {
    const NAME: &'static str = "query.QueryResult";
}

impl TextForm for VDiffTableLastPk {
    const NAME: &'static str = "tabletmanagerdata.VDiffTableLastPK";
}

impl TextForm for TabletAlias {
    const NAME: &'static str = "topodata.TabletAlias";
}

/// One line, `name:value` separated by single blanks, zero values left out, in the order of field numbers. Nested
/// messages are written `name:{…}`, as Go's marshaller does.
///
/// # Errors
/// None that a generated message can cause.
pub fn encode<M: TextForm>(message: &M) -> Result<String, Error> {
    let descriptor = descriptor::<M>()?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let mut text = String::new();
    push_fields(&mut text, &dynamic);
    Ok(text)
}

/// Reads any text form: blanks, line breaks, `name {…}` and `name:{…}` alike.
///
/// # Errors
/// [`Error::Text`] when it is no such message.
pub fn decode<M: TextForm>(text: &[u8]) -> Result<M, Error> {
    let text = std::str::from_utf8(text).map_err(|error| Error::Text(error.to_string()))?;
    let dynamic =
        DynamicMessage::parse_text_format(descriptor::<M>()?, text).map_err(|error| Error::Text(error.to_string()))?;
    Ok(M::decode(dynamic.encode_to_vec().as_slice())?)
}

fn descriptor<M: TextForm>() -> Result<MessageDescriptor, Error> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(DESCRIPTORS).ok())
        .as_ref()
        .and_then(|pool| pool.get_message_by_name(M::NAME))
        .ok_or(Error::Undescribed(M::NAME))
}

/// Each element of a list as a field of its own: the library would write `name:[…]`, which stock does not.
fn push_fields(text: &mut String, message: &DynamicMessage) {
    let descriptor = message.descriptor();
    let mut fields: Vec<_> = descriptor.fields().filter(|field| message.has_field(field)).collect();
    fields.sort_by_key(|field| field.number());
    for field in fields {
        let kind = field.kind();
        match message.get_field(&field).as_ref() {
            Value::List(values) => values.iter().for_each(|value| push_field(text, field.name(), &kind, value)),
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|(key, _)| key_text(key));
                for (key, value) in entries {
                    push_entry(text, field.name(), &kind, key, value);
                }
            }
            value => push_field(text, field.name(), &kind, value),
        }
    }
}

fn push_entry(text: &mut String, name: &str, kind: &Kind, key: &MapKey, value: &Value) {
    let Kind::Message(entry) = kind else { return };
    separate(text);
    text.push_str(name);
    text.push_str(":{key:");
    text.push_str(&key_text(key));
    push_field(text, "value", &entry.map_entry_value_field().kind(), value);
    text.push('}');
}

fn push_field(text: &mut String, name: &str, kind: &Kind, value: &Value) {
    separate(text);
    text.push_str(name);
    text.push(':');
    match value {
        Value::Message(message) => {
            text.push('{');
            push_fields(text, message);
            text.push('}');
        }
        Value::String(value) => push_quoted(text, value.as_bytes()),
        Value::Bytes(value) => push_quoted(text, value),
        Value::EnumNumber(number) => {
            let known = kind.as_enum().and_then(|kind| kind.get_value(*number));
            text.push_str(&known.map_or_else(|| number.to_string(), |value| value.name().to_owned()));
        }
        other => text.push_str(&other.to_string()),
    }
}

fn separate(text: &mut String) {
    if !text.is_empty() && !text.ends_with('{') {
        text.push(' ');
    }
}

fn key_text(key: &MapKey) -> String {
    let mut text = String::new();
    match key {
        MapKey::String(key) => push_quoted(&mut text, key.as_bytes()),
        other => text.push_str(&Value::from(other.clone()).to_string()),
    }
    text
}

/// Printable UTF-8 as it is; everything else in escapes.
fn push_quoted(text: &mut String, value: &[u8]) {
    text.push('"');
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_control() && c.is_ascii() => text.push_str(&format!("\\x{:02x}", c as u32)),
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text.push('"');
}

#[cfg(test)]
mod tests;
