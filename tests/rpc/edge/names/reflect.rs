//! Requests by reflection: every field set, or names alone, strings as told.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};

/// Messages within messages are filled so deep.
const DEPTH: usize = 4;
/// What is a name although it is a message.
const ALIAS: &str = "topodata.TabletAlias";

/// What of a request is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Every field: numbers to one, and switches on but for those that keep a call from doing anything.
    Full,
    /// Strings and aliases of tablets that stand in it itself: switches are off, and there is nothing that excludes them.
    Bare,
}

/// Sets the fields of a message: strings to what `text` says of their place (`a.b.c`).
pub fn fill(message: &mut DynamicMessage, shape: Shape, text: &mut dyn FnMut(&str) -> String) {
    fill_at(message, "", DEPTH, shape, text);
}

/// The places of all strings that are set in a message.
pub fn strings(message: &MessageDescriptor, shape: Shape) -> Vec<String> {
    let mut found = Vec::new();
    fill(&mut DynamicMessage::new(message.clone()), shape, &mut |at| {
        found.push(at.to_owned());
        String::new()
    });
    found
}

fn fill_at(
    message: &mut DynamicMessage,
    place: &str,
    depth: usize,
    shape: Shape,
    text: &mut dyn FnMut(&str) -> String,
) {
    for field in message.descriptor().fields().collect::<Vec<_>>() {
        // of alternatives the first, or the one of messages
        if field.containing_oneof().is_some_and(|oneof| oneof.fields().next().as_ref() != Some(&field)) {
            continue;
        }
        let place = if place.is_empty() { field.name().to_owned() } else { format!("{place}.{}", field.name()) };
        if let Some(value) = value(&field, &place, depth, shape, text) {
            message.set_field(&field, value);
        }
    }
}

fn value(
    field: &FieldDescriptor,
    place: &str,
    depth: usize,
    shape: Shape,
    text: &mut dyn FnMut(&str) -> String,
) -> Option<Value> {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return None };
        let key = match entry.map_entry_key_field().kind() {
            Kind::String if shape == Shape::Full => MapKey::String(text(&format!("{place}.key"))),
            _ => return None,
        };
        let value = single(&entry.map_entry_value_field().kind(), &format!("{place}.value"), depth, shape, text)?;
        return Some(Value::Map([(key, value)].into()));
    }
    let single = single(&field.kind(), place, depth, shape, text)?;
    Some(if field.is_list() { Value::List(vec![single]) } else { single })
}

fn single(kind: &Kind, place: &str, depth: usize, shape: Shape, text: &mut dyn FnMut(&str) -> String) -> Option<Value> {
    Some(match kind {
        Kind::String => Value::String(text(place)),
        Kind::Bytes => Value::Bytes(text(place).into_bytes().into()),
        Kind::Message(inner) if inner.full_name() == ALIAS => {
            let mut alias = DynamicMessage::new(inner.clone());
            fill_at(&mut alias, place, 0, Shape::Full, text);
            Value::Message(alias)
        }
        _ if shape == Shape::Bare => return None,
        Kind::Bool => Value::Bool(!place.ends_with("dry_run")),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(1),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(1),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(1),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(1),
        Kind::Float => Value::F32(1.0),
        Kind::Double => Value::F64(1.0),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Message(_) if depth == 0 => return None,
        // a wait of a nanosecond
        Kind::Message(inner) if inner.full_name() == "vttime.Duration" => {
            let mut nanosecond = DynamicMessage::new(inner.clone());
            nanosecond.set_field_by_name("nanos", Value::I32(1));
            Value::Message(nanosecond)
        }
        Kind::Message(inner) => {
            let mut message = DynamicMessage::new(inner.clone());
            fill_at(&mut message, place, depth - 1, shape, text);
            Value::Message(message)
        }
    })
}
