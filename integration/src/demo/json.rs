//! Messages of Vitess as JSON, as the stock client reads and prints them.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;
use vtmigrated_proto::DESCRIPTORS;

use super::Error;

/// Reads a message of the type `name`, such as `vschema.Keyspace`.
///
/// # Errors
/// The text is no JSON, or has a field that the message has not.
pub fn parse<M: Message + Default>(name: &str, text: &str) -> Result<M, Error> {
    let mut source = serde_json::Deserializer::from_str(text);
    let dynamic = DynamicMessage::deserialize(descriptor(name)?, &mut source).map_err(fail)?;
    M::decode(dynamic.encode_to_vec().as_slice()).map_err(fail)
}

/// A message of the type `name` as text, fields by their names in the definition, one entry a line down to the second level.
///
/// # Errors
/// The message is not of that type.
pub fn print(name: &str, message: &impl Message) -> Result<String, Error> {
    let dynamic = DynamicMessage::decode(descriptor(name)?, message.encode_to_vec().as_slice()).map_err(fail)?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let value = dynamic.serialize_with_options(serde_json::value::Serializer, &options).map_err(fail)?;
    Ok(pretty(&value, 0))
}

fn descriptor(name: &str) -> Result<MessageDescriptor, Error> {
    static POOL: LazyLock<Result<DescriptorPool, String>> =
        LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).map_err(|error| error.to_string()));
    let pool = POOL.as_ref().map_err(|error| Error::Json(error.clone()))?;
    pool.get_message_by_name(name).ok_or_else(|| Error::Json(format!("no message {name}")))
}

fn pretty(value: &Value, level: usize) -> String {
    match value {
        Value::Object(fields) if level < 2 && !fields.is_empty() => {
            let indent = "  ".repeat(level);
            let entries = fields.iter().map(|(key, value)| format!("{indent}  {key:?}: {}", pretty(value, level + 1)));
            format!("{{\n{}\n{indent}}}", entries.collect::<Vec<_>>().join(",\n"))
        }
        other => other.to_string(),
    }
}

fn fail(error: impl std::fmt::Display) -> Error {
    Error::Json(error.to_string())
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::vschema::Keyspace;

    use super::*;

    #[test]
    fn a_vschema_comes_back_as_it_was() {
        let text = "{\n  \"sharded\": true,\n  \"tables\": {\n    \"t\": {\"type\":\"reference\"}\n  }\n}";
        let keyspace: Keyspace = parse("vschema.Keyspace", text).unwrap();
        assert!(keyspace.sharded);
        assert_eq!(keyspace.tables[0].key, "t");
        assert_eq!(print("vschema.Keyspace", &keyspace).unwrap(), text);
        assert!(parse::<Keyspace>("vschema.Keyspace", "{\"shraded\": true}").is_err());
    }
}
