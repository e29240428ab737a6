//! Messages as protobuf JSON, through the descriptors of the contract.

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions,
};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// How Go's printers differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Names as the `.proto` has them, else in camel case.
    pub proto_names: bool,
    pub enum_numbers: bool,
    /// Fields that are not set are there, too.
    pub unpopulated: bool,
    /// 64-bit numbers as numbers, not as texts.
    pub plain_numbers: bool,
}

/// All messages of the contract.
pub fn pool() -> Option<&'static DescriptorPool> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(vtmigrated_proto::DESCRIPTORS).ok()).as_ref()
}

/// An encoded message as compact JSON with the field names of its definition; `None` when it cannot be decoded.
pub fn of(message: &str, bytes: &[u8]) -> Option<String> {
    let descriptor = pool()?.get_message_by_name(message)?;
    let decoded = DynamicMessage::decode(descriptor, bytes).ok()?;
    let mut json = Vec::new();
    let options = SerializeOptions::new().use_proto_field_name(true);
    decoded.serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options).ok()?;
    String::from_utf8(json).ok()
}

/// A message from JSON, as Go's reader takes it with unknown fields left out.
///
/// # Errors
/// Where reading ended, as `: line 1, column 2`; never what stands there, for that may be a secret.
pub fn read<M: Message + Default>(name: &str, text: &str) -> Result<M, String> {
    let descriptor = pool().and_then(|pool| pool.get_message_by_name(name)).ok_or_else(String::new)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(descriptor, &mut deserializer, &options)
        .and_then(|message| deserializer.end().map(|()| message));
    let message = message.map_err(|error| format!(": line {}, column {}", error.line(), error.column()))?;
    M::decode(message.encode_to_vec().as_slice()).map_err(|error| format!(": {error}"))
}

/// An encoded message as JSON whose fields are in the order of their definition, map keys ascending; `None` when it cannot
/// be decoded.
pub fn ordered(message: &str, bytes: &[u8], style: Style) -> Option<Ordered> {
    let descriptor = pool()?.get_message_by_name(message)?;
    ordered_message(&DynamicMessage::decode(descriptor.clone(), bytes).ok()?, &descriptor, style).ok()
}

/// The same of a decoded message.
///
/// # Errors
/// Values that JSON cannot hold.
pub fn ordered_message(
    message: &DynamicMessage,
    descriptor: &MessageDescriptor,
    style: Style,
) -> serde_json::Result<Ordered> {
    let options = SerializeOptions::new()
        .use_proto_field_name(style.proto_names)
        .use_enum_numbers(style.enum_numbers)
        .skip_default_fields(!style.unpopulated)
        .stringify_64_bit_integers(!style.plain_numbers);
    let value = message.serialize_with_options(serde_json::value::Serializer, &options)?;
    Ok(in_order(value, Some(descriptor), style))
}

/// JSON whose objects keep the order that they were given.
#[derive(Clone, Debug)]
pub enum Ordered {
    Leaf(Value),
    List(Vec<Ordered>),
    Object(Vec<(String, Ordered)>),
}

fn in_order(value: Value, descriptor: Option<&MessageDescriptor>, style: Style) -> Ordered {
    match (value, descriptor) {
        (Value::Array(values), _) => {
            Ordered::List(values.into_iter().map(|value| in_order(value, descriptor, style)).collect())
        }
        (Value::Object(mut values), Some(descriptor)) => {
            let fields = descriptor.fields().filter_map(|field| {
                let name = if style.proto_names { field.name() } else { field.json_name() };
                let value = values.remove(name).map(|value| field_in_order(value, &field, style));
                let unset = || (style.unpopulated && is_message(&field)).then_some(Ordered::Leaf(Value::Null));
                Some((name.to_owned(), value.or_else(unset)?))
            });
            Ordered::Object(fields.collect())
        }
        (leaf, _) => Ordered::Leaf(leaf),
    }
}

fn is_message(field: &FieldDescriptor) -> bool {
    !field.is_list() && !field.is_map() && field.containing_oneof().is_none() && field.kind().as_message().is_some()
}

fn field_in_order(value: Value, field: &FieldDescriptor, style: Style) -> Ordered {
    let Kind::Message(message) = field.kind() else { return Ordered::Leaf(value) };
    match value {
        Value::Object(values) if field.is_map() => {
            let kind = message.map_entry_value_field().kind();
            let entries = values.into_iter().map(|(key, value)| (key, in_order(value, kind.as_message(), style)));
            Ordered::Object(entries.collect())
        }
        other => in_order(other, Some(&message), style),
    }
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf(value) => value.serialize(serializer),
            Self::List(values) => serializer.collect_seq(values),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::topodata::{Keyspace, Tablet, TabletAlias, TabletType};

    use super::*;

    fn text(message: &str, bytes: &[u8], style: Style) -> String {
        serde_json::to_string(&ordered(message, bytes, style).unwrap()).unwrap()
    }

    #[test]
    fn styles_are_those_of_gos_printers() {
        let full = Style { proto_names: true, enum_numbers: true, unpopulated: true, plain_numbers: false };
        let keyspace = Keyspace { durability_policy: "none".into(), ..Keyspace::default() }.encode_to_vec();
        let printed = text("topodata.Keyspace", &keyspace, full);
        let expected = r#"{"keyspace_type":0,"base_keyspace":"","snapshot_time":null,"durability_policy":"none""#;
        assert!(printed.starts_with(expected), "{printed}");
        let alias = Some(TabletAlias { cell: "zone1".into(), uid: 100 });
        let tablet = Tablet { alias, r#type: TabletType::Primary.into(), mysql_port: 3306, ..Tablet::default() };
        assert_eq!(
            text("topodata.Tablet", &tablet.encode_to_vec(), Style::default()),
            r#"{"alias":{"cell":"zone1","uid":100},"type":"PRIMARY","mysqlPort":3306}"#
        );
    }
}
