//! Where two answers differ. Values are never told: they may be secret.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, MapKey, ReflectMessage, Value};

/// How many differences are told of one answer.
const MAX: usize = 10;

/// Paths of the fields that differ, at most ten. Maps have no order, and elements of lists may come in another one: stock
/// collects many lists in parallel.
pub fn differences(ours: &DynamicMessage, theirs: &DynamicMessage) -> Vec<String> {
    let mut found = Vec::new();
    messages(ours, theirs, "", &mut found);
    found.truncate(MAX);
    found
}

fn messages(ours: &DynamicMessage, theirs: &DynamicMessage, path: &str, found: &mut Vec<String>) {
    if ours == theirs || found.len() >= MAX {
        return;
    }
    let mut looked_alike = true;
    for field in ours.descriptor().fields() {
        let name = if path.is_empty() { field.name().to_owned() } else { format!("{path}.{}", field.name()) };
        let before = found.len();
        match (ours.has_field(&field), theirs.has_field(&field)) {
            (true, false) if field.supports_presence() => found.push(format!("{name} (only ours)")),
            (false, true) if field.supports_presence() => found.push(format!("{name} (only theirs)")),
            _ => values(&ours.get_field(&field), &theirs.get_field(&field), &name, found),
        }
        looked_alike &= found.len() == before && ours.get_field(&field) == theirs.get_field(&field);
    }
    if looked_alike {
        let at = if path.is_empty() { "message" } else { path };
        found.push(format!("{at} (fields that are not known here)"));
    }
}

fn values(ours: &Value, theirs: &Value, path: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        _ if ours == theirs => {}
        (Value::Message(ours), Value::Message(theirs)) => messages(ours, theirs, path, found),
        (Value::List(ours), Value::List(theirs)) => lists(ours, theirs, path, found),
        (Value::Map(ours), Value::Map(theirs)) => {
            let keys: BTreeSet<&MapKey> = ours.keys().chain(theirs.keys()).collect();
            for key in keys {
                let path = format!("{path}[{}]", key_text(key));
                match (ours.get(key), theirs.get(key)) {
                    (Some(ours), Some(theirs)) => values(ours, theirs, &path, found),
                    (Some(_), None) => found.push(format!("{path} (only ours)")),
                    _ => found.push(format!("{path} (only theirs)")),
                }
            }
        }
        _ => found.push(path.to_owned()),
    }
}

fn lists(ours: &[Value], theirs: &[Value], path: &str, found: &mut Vec<String>) {
    if ours.len() != theirs.len() {
        found.push(format!("{path} ({} ours, {} theirs)", ours.len(), theirs.len()));
        return;
    }
    let mut left: Vec<&Value> = theirs.iter().collect();
    let mut alone = Vec::new();
    for (at, value) in ours.iter().enumerate() {
        match left.iter().position(|other| alike(value, other)) {
            Some(same) => drop(left.remove(same)),
            None => alone.push((at, value)),
        }
    }
    for ((at, ours), theirs) in alone.into_iter().zip(left) {
        values(ours, theirs, &format!("{path}[{at}]"), found);
    }
}

fn alike(ours: &Value, theirs: &Value) -> bool {
    let mut found = Vec::new();
    values(ours, theirs, "", &mut found);
    found.is_empty()
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::String(text) => text.chars().take(64).filter(|c| !c.is_control()).collect(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use vtmigrated_proto::topodata::{Keyspace, Tablet, TabletAlias};
    use vtmigrated_proto::vschema;
    use vtmigrated_proto::vtctldata::{GetTabletsResponse, GetVSchemaResponse};

    use super::*;

    fn compared<M: Message>(name: &str, ours: &M, theirs: &M) -> Vec<String> {
        let descriptor = crate::topo::json::pool().unwrap().get_message_by_name(name).unwrap();
        let dynamic =
            |message: &M| DynamicMessage::decode(descriptor.clone(), message.encode_to_vec().as_slice()).unwrap();
        differences(&dynamic(ours), &dynamic(theirs))
    }

    fn tablet(uid: u32, host: &str) -> Tablet {
        let alias = Some(TabletAlias { cell: "zone1".into(), uid });
        Tablet { alias, hostname: host.into(), tags: [("a".into(), "b".into())].into(), ..Tablet::default() }
    }

    #[test]
    fn order_is_no_difference_and_paths_tell_no_values() {
        let name = "vtctldata.GetTabletsResponse";
        let ours = GetTabletsResponse { tablets: vec![tablet(1, "a"), tablet(2, "b")] };
        let turned = GetTabletsResponse { tablets: vec![tablet(2, "b"), tablet(1, "a")] };
        assert_eq!(compared(name, &ours, &turned), Vec::<String>::new());
        let other = GetTabletsResponse { tablets: vec![tablet(2, "secret"), tablet(1, "a")] };
        assert_eq!(compared(name, &ours, &other), ["tablets[1].hostname"]);
        let fewer = GetTabletsResponse { tablets: vec![tablet(2, "b")] };
        assert_eq!(compared(name, &ours, &fewer), ["tablets (2 ours, 1 theirs)"]);
        let mut tagged = tablet(1, "a");
        tagged.tags = [("c".into(), "d".into())].into();
        tagged.alias = None;
        let tagged = GetTabletsResponse { tablets: vec![tagged, tablet(2, "b")] };
        let found = compared(name, &ours, &tagged);
        assert_eq!(
            found,
            ["tablets[0].alias (only ours)", "tablets[0].tags[a] (only ours)", "tablets[0].tags[c] (only theirs)"]
        );
    }

    #[test]
    fn maps_of_messages_have_no_order_and_unknown_fields_count() {
        let entry = |key: &str, kind: &str| vschema::keyspace::VindexesEntry {
            key: key.into(),
            value: Some(vschema::Vindex { r#type: kind.into(), ..vschema::Vindex::default() }),
        };
        let answer =
            |vindexes| GetVSchemaResponse { v_schema: Some(vschema::Keyspace { vindexes, ..Default::default() }) };
        let name = "vtctldata.GetVSchemaResponse";
        let ours = answer(vec![entry("a", "hash"), entry("b", "xxhash")]);
        assert_eq!(
            compared(name, &ours, &answer(vec![entry("b", "xxhash"), entry("a", "hash")])),
            Vec::<String>::new()
        );
        let found = compared(name, &ours, &answer(vec![entry("b", "hash"), entry("a", "hash")]));
        assert_eq!(found, ["v_schema.vindexes[b].type"]);

        // field 1000, a number
        let descriptor = crate::topo::json::pool().unwrap().get_message_by_name("topodata.Keyspace").unwrap();
        let read = |bytes: &[u8]| DynamicMessage::decode(descriptor.clone(), bytes).unwrap();
        let found = differences(&read(&Keyspace::default().encode_to_vec()), &read(&[0xc0, 0x3e, 1]));
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
