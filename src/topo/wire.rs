//! Changes to encoded messages that leave every other field as it was, known or not.
//!
//! Records are also written by newer programs; decoding into our types and encoding again would drop their fields.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::{Buf, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::json;

/// One top-level field. `whole` is key and payload; `payload` is the content of a length-delimited field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub number: u32,
    pub whole: Bytes,
    pub payload: Option<Bytes>,
}

/// Splits an encoded message into its fields, in order.
///
/// # Errors
/// A text when the bytes are not a message.
pub fn fields(message: &Bytes) -> Result<Vec<Field>, String> {
    let mut rest = message.clone();
    let mut found = Vec::new();
    while rest.has_remaining() {
        let start = message.len() - rest.remaining();
        let (number, wire) = decode_key(&mut rest).map_err(|e| e.to_string())?;
        let mut payload = None;
        let skip = match wire {
            WireType::Varint => {
                decode_varint(&mut rest).map_err(|e| e.to_string())?;
                0
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => {
                let length = decode_varint(&mut rest).map_err(|e| e.to_string())?;
                let length = usize::try_from(length).map_err(|e| e.to_string())?;
                if length > rest.remaining() {
                    return Err("a field is longer than its message".into());
                }
                payload = Some(rest.slice(..length));
                length
            }
            WireType::StartGroup | WireType::EndGroup => return Err("groups are not used by Vitess".into()),
        };
        if skip > rest.remaining() {
            return Err("a field is longer than its message".into());
        }
        rest.advance(skip);
        let end = message.len() - rest.remaining();
        found.push(Field { number, whole: message.slice(start..end), payload });
    }
    Ok(found)
}

/// Appends a length-delimited field.
pub fn push(message: &mut Vec<u8>, number: u32, payload: &[u8]) {
    encode_key(number, WireType::LengthDelimited, message);
    encode_varint(payload.len() as u64, message);
    message.extend_from_slice(payload);
}

/// A message with one length-delimited field.
pub fn message(number: u32, payload: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(payload.len() + 8);
    push(&mut message, number, payload);
    message.into()
}

/// The message without the fields `number` for whose payload `drop` answers true.
///
/// # Errors
/// A text when the bytes are not a message.
pub fn without(message: &Bytes, number: u32, mut drop: impl FnMut(&Bytes) -> bool) -> Result<Vec<u8>, String> {
    let mut kept = Vec::with_capacity(message.len());
    for field in fields(message)? {
        let dropped = field.number == number && field.payload.as_ref().is_some_and(&mut drop);
        if !dropped {
            kept.extend_from_slice(&field.whole);
        }
    }
    Ok(kept)
}

/// `value`, a message of that name, encoded in the place of `old`: what a newer program stored stays, at every level.
///
/// Messages in a list or a map are the same when their first field is: the key of a map, the type of tablet that a control
/// is of, the name of a shard. Of several with the same one it is the one that says the same, else the first that is left.
///
/// # Errors
/// A text when the bytes are not a message.
pub fn over(old: &Bytes, name: &str, value: &impl prost::Message) -> Result<Vec<u8>, String> {
    over_encoded(old, name, value.encode_to_vec().into())
}

/// The same of an encoded message, which may itself hold what is not known here: that counts before what was stored.
///
/// # Errors
/// As [`over`].
pub fn over_encoded(old: &Bytes, name: &str, new: Bytes) -> Result<Vec<u8>, String> {
    let message = json::pool().and_then(|pool| pool.get_message_by_name(name));
    splice(old, &message.ok_or_else(|| format!("no message is called {name}"))?, new)
}

/// `value` as a message of that name, with what is not known of it from `sent`, the message that it was read from.
pub fn with_sent(sent: Option<&Bytes>, name: &str, value: &impl prost::Message) -> Vec<u8> {
    sent.and_then(|sent| over(sent, name, value).ok()).unwrap_or_else(|| value.encode_to_vec())
}

/// Messages in one place that are compared with a new one.
const LOOKED_AT: usize = 64;

fn splice(old: &Bytes, message: &MessageDescriptor, new: Bytes) -> Result<Vec<u8>, String> {
    let mut spliced = Vec::with_capacity(old.len().max(new.len()));
    let mut stored: HashMap<(u32, Bytes), VecDeque<Bytes>> = HashMap::new();
    let mut unknown = Vec::new();
    for field in fields(old)? {
        match message.get_field(field.number) {
            None => unknown.push(field),
            Some(known) => {
                if let (Kind::Message(_), Some(payload)) = (known.kind(), field.payload) {
                    stored.entry((field.number, place(&known, &payload)?)).or_default().push_back(payload);
                }
            }
        }
    }
    let fresh = fields(&new)?;
    let said: HashSet<u32> = fresh.iter().map(|field| field.number).collect();
    for field in fresh {
        let known = message.get_field(field.number);
        let inner = known.as_ref().and_then(|known| Some((known, known.kind().as_message()?.clone())));
        let Some(((known, inner), payload)) = inner.zip(field.payload) else {
            spliced.extend_from_slice(&field.whole);
            continue;
        };
        match take(stored.get_mut(&(field.number, place(known, &payload)?)), &inner, &payload)? {
            Some(old) => push(&mut spliced, field.number, &splice(&old, &inner, payload)?),
            None => spliced.extend_from_slice(&field.whole),
        }
    }
    let unsaid = unknown.iter().filter(|field| !said.contains(&field.number));
    unsaid.for_each(|field| spliced.extend_from_slice(&field.whole));
    Ok(spliced)
}

/// Of the stored messages in one place the one that says the same as `new`, else the first. Only the next few are looked
/// at: lists have few in one place, and a hostile one shall not cost the square of its length.
fn take(
    stored: Option<&mut VecDeque<Bytes>>,
    message: &MessageDescriptor,
    new: &Bytes,
) -> Result<Option<Bytes>, String> {
    let Some(stored) = stored.filter(|stored| !stored.is_empty()) else { return Ok(None) };
    let mut at = 0;
    if stored.len() > 1 {
        for (number, old) in stored.iter().take(LOOKED_AT).enumerate() {
            if known(old, message)? == *new {
                at = number;
                break;
            }
        }
    }
    Ok(stored.remove(at))
}

/// The message without what is not known of it, at every level.
fn known(message: &Bytes, descriptor: &MessageDescriptor) -> Result<Vec<u8>, String> {
    let mut kept = Vec::with_capacity(message.len());
    for field in fields(message)? {
        let Some(of) = descriptor.get_field(field.number) else { continue };
        match (of.kind().as_message(), &field.payload) {
            (Some(inner), Some(payload)) => push(&mut kept, field.number, &known(payload, inner)?),
            _ => kept.extend_from_slice(&field.whole),
        }
    }
    Ok(kept)
}

/// What tells the messages of one field apart.
fn place(field: &FieldDescriptor, payload: &Bytes) -> Result<Bytes, String> {
    if !field.is_list() && !field.is_map() {
        return Ok(Bytes::new());
    }
    let Some(first) = fields(payload)?.into_iter().find(|field| field.number == 1) else { return Ok(Bytes::new()) };
    let kind = field.kind().as_message().and_then(|message| message.get_field(1)).map(|field| field.kind());
    match (kind.as_ref().and_then(Kind::as_message), &first.payload) {
        (Some(inner), Some(payload)) => Ok(known(payload, inner)?.into()),
        _ => Ok(first.whole),
    }
}

/// The message with the payloads of the fields `number` changed where `change` answers new ones.
///
/// # Errors
/// A text when the bytes are not a message, or that of `change`.
pub fn each(
    message: &Bytes,
    number: u32,
    mut change: impl FnMut(&Bytes) -> Result<Option<Vec<u8>>, String>,
) -> Result<Vec<u8>, String> {
    let mut changed = Vec::with_capacity(message.len());
    for field in fields(message)? {
        let payload = field.payload.as_ref().filter(|_| field.number == number);
        match payload.map(&mut change).transpose()?.flatten() {
            Some(payload) => push(&mut changed, number, &payload),
            None => changed.extend_from_slice(&field.whole),
        }
    }
    Ok(changed)
}

/// An entry of a map from text to message: both parts are there even when empty.
pub fn map_entry(key: &str, value: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(key.len() + value.len() + 8);
    push(&mut entry, 1, key.as_bytes());
    push(&mut entry, 2, value);
    entry
}

/// The key of an entry of a map from text.
pub fn map_key(entry: &Bytes) -> Option<String> {
    let key = fields(entry).ok()?.into_iter().rfind(|f| f.number == 1).and_then(|f| f.payload);
    Some(String::from_utf8_lossy(&key.unwrap_or_default()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use vtmigrated_proto::topodata::shard::TabletControl;
    use vtmigrated_proto::topodata::shard_replication::Node;
    use vtmigrated_proto::topodata::throttler_config::ThrottledAppsEntry;
    use vtmigrated_proto::topodata::{
        self, Shard, ShardReplication, TabletAlias, TabletType, ThrottledAppRule, ThrottlerConfig,
    };
    use vtmigrated_proto::vschema::{ColumnVindex, Keyspace, Table, keyspace::TablesEntry};

    use super::*;

    #[test]
    fn an_empty_table_is_written_as_go_expects_it() {
        let mut message = Vec::new();
        push(&mut message, 3, &map_entry("t1", &[]));
        assert_eq!(message, b"\x1a\x06\x0a\x02t1\x12\x00");
        let decoded = Keyspace::decode(message.as_slice()).unwrap();
        assert_eq!(decoded.tables, vec![TablesEntry { key: "t1".into(), value: Some(Table::default()) }]);
        assert_eq!(decoded.encode_to_vec(), message);
    }

    #[test]
    fn unknown_fields_survive_a_removal() {
        let mut message = Vec::new();
        push(&mut message, 3, &map_entry("t1", &[]));
        push(&mut message, 99, b"from the future");
        push(&mut message, 3, &map_entry("t2", b""));
        let left = without(&Bytes::from(message), 3, |entry| map_key(entry).as_deref() == Some("t1")).unwrap();
        let found = fields(&Bytes::from(left)).unwrap();
        assert_eq!(found.iter().map(|f| f.number).collect::<Vec<_>>(), vec![99, 3]);
        assert_eq!(map_key(found[1].payload.as_ref().unwrap()).unwrap(), "t2");
    }

    #[test]
    fn a_rewritten_message_keeps_what_is_not_known() {
        let mut old = Keyspace { sharded: true, ..Keyspace::default() }.encode_to_vec();
        push(&mut old, 99, b"from the future");
        let new = over(&Bytes::from(old), "vschema.Keyspace", &Keyspace::default()).unwrap();
        let found = fields(&Bytes::from(new)).unwrap();
        assert_eq!(found.iter().map(|f| f.number).collect::<Vec<_>>(), vec![99]);
    }

    #[test]
    fn what_is_not_known_stays_in_lists_and_maps_beside_what_changes_there() {
        let newer = |message: Vec<u8>| {
            let mut message = message;
            push(&mut message, 99, b"from the future");
            message
        };
        let control = |kind: TabletType, denied: &[&str]| TabletControl {
            tablet_type: kind.into(),
            denied_tables: denied.iter().map(|table| (*table).to_owned()).collect(),
            ..TabletControl::default()
        };
        let mut old = Vec::new();
        push(&mut old, 6, &newer(control(TabletType::Replica, &[]).encode_to_vec()));
        push(&mut old, 6, &newer(control(TabletType::Primary, &["a"]).encode_to_vec()));
        let controls = vec![control(TabletType::Primary, &["b"]), control(TabletType::Rdonly, &[])];
        let value = Shard { tablet_controls: controls, ..Shard::default() };
        let new = Bytes::from(over(&Bytes::from(old), "topodata.Shard", &value).unwrap());
        assert_eq!(Shard::decode(new.clone()).unwrap(), value);
        let kept: Vec<bool> = fields(&new).unwrap().iter().map(|f| f.whole.ends_with(b"from the future")).collect();
        assert_eq!(kept, [true, false], "that of the primary stays, that of the replica went with it");

        let app = |ratio| ThrottledAppRule { name: "app".into(), ratio, ..ThrottledAppRule::default() };
        let mut config = Vec::new();
        push(&mut config, 5, &newer(map_entry("app", &newer(app(0.5).encode_to_vec()))));
        let mut old = Vec::new();
        push(&mut old, 9, &newer(config));
        let apps = vec![ThrottledAppsEntry { key: "app".into(), value: Some(app(0.25)) }];
        let config = ThrottlerConfig { throttled_apps: apps, ..ThrottlerConfig::default() };
        let value = topodata::Keyspace { throttler_config: Some(config), ..topodata::Keyspace::default() };
        let new = Bytes::from(over(&Bytes::from(old), "topodata.Keyspace", &value).unwrap());
        assert_eq!(topodata::Keyspace::decode(new.clone()).unwrap(), value);
        assert_eq!(new.windows(15).filter(|part| part == b"from the future").count(), 3);
    }

    #[test]
    fn messages_of_a_list_without_a_name_keep_what_is_theirs() {
        let newer = |mut message: Vec<u8>, what: &[u8]| {
            push(&mut message, 99, what);
            message
        };
        let by = |columns: &[&str], name: &str| ColumnVindex {
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            name: name.into(),
            ..ColumnVindex::default()
        };
        let (first, second) = (by(&["a", "b"], "multicol"), by(&["c", "d"], "other"));
        let mut table = Vec::new();
        push(&mut table, 2, &newer(first.encode_to_vec(), b"first"));
        push(&mut table, 2, &newer(second.encode_to_vec(), b"second"));
        let value = Table { column_vindexes: vec![second], ..Table::default() };
        let new = Bytes::from(over(&Bytes::from(table), "vschema.Table", &value).unwrap());
        assert!(new.ends_with(b"second") && !new.windows(5).any(|part| part == b"first"), "{new:?}");

        // the alias, by which nodes are told apart, may itself hold more
        let alias = TabletAlias { cell: "zone1".into(), uid: 1 };
        let mut node = Vec::new();
        push(&mut node, 1, &newer(alias.encode_to_vec(), b"inside"));
        let mut graph = Vec::new();
        push(&mut graph, 1, &newer(node, b"beside"));
        let value = ShardReplication { nodes: vec![Node { tablet_alias: Some(alias) }] };
        let new = over(&Bytes::from(graph.clone()), "topodata.ShardReplication", &value).unwrap();
        assert_eq!(new, graph);
    }

    #[test]
    fn only_the_payloads_that_change_are_written_anew() {
        let mut message = Vec::new();
        push(&mut message, 3, b"a");
        push(&mut message, 4, b"a");
        push(&mut message, 3, b"b");
        let is_a = |payload: &Bytes| Ok((payload.as_ref() == b"a").then(|| b"c".to_vec()));
        let changed = fields(&Bytes::from(each(&Bytes::from(message), 3, is_a).unwrap())).unwrap();
        let payloads: Vec<_> = changed.iter().map(|f| f.payload.clone().unwrap()).collect();
        assert_eq!(payloads, [&b"c"[..], b"a", b"b"]);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            if let Ok(found) = fields(&bytes) {
                let joined: Vec<u8> = found.iter().flat_map(|f| f.whole.to_vec()).collect();
                prop_assert_eq!(joined, bytes.to_vec());
            }
        }
    }
}
