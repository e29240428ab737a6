//! VSchema records. They are edited by splicing, so that fields of newer programs stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use vtmigrated_proto::vschema;

use super::{Conn, Expect, Lock, Record, Result, Write, paths, wire};

/// Field number of `tables` in a Keyspace.
const TABLES: u32 = 3;

/// A keyspace's VSchema.
pub async fn get(global: &Arc<dyn Conn>, keyspace: &str) -> Result<Record<vschema::Keyspace>> {
    Record::get(global, &paths::vschema(keyspace)).await
}

/// A keyspace's VSchema, if it has one.
pub async fn find(global: &Arc<dyn Conn>, keyspace: &str) -> Result<Option<Record<vschema::Keyspace>>> {
    Record::find(global, &paths::vschema(keyspace)).await
}

/// The same for who can do without one that cannot be decoded: the inner error is that.
pub async fn look(global: &Arc<dyn Conn>, keyspace: &str) -> Result<Result<Option<Record<vschema::Keyspace>>>> {
    Record::look(global, &paths::vschema(keyspace)).await
}

/// The VSchemas of all keyspaces that have one, and the keyspaces whose VSchema cannot be decoded: one round trip.
pub async fn all(global: &Arc<dyn Conn>) -> Result<(BTreeMap<String, vschema::Keyspace>, BTreeSet<String>)> {
    let below = format!("{}/", paths::KEYSPACES);
    let (mut found, mut unread) = (BTreeMap::new(), BTreeSet::new());
    for node in global.list(paths::KEYSPACES).await? {
        let Some((keyspace, "VSchema")) = node.path.strip_prefix(&below).and_then(|path| path.split_once('/')) else {
            continue;
        };
        match vschema::Keyspace::decode(node.value.clone()) {
            Ok(value) => drop(found.insert(keyspace.to_owned(), value)),
            Err(error) => {
                tracing::warn!("skipping the VSchema of keyspace {keyspace}: {error}");
                unread.insert(keyspace.to_owned());
            }
        }
    }
    Ok((found, unread))
}

/// Writes a VSchema.
pub async fn put(
    global: &Arc<dyn Conn>,
    keyspace: &str,
    value: &vschema::Keyspace,
    expect: Expect,
    guard: Option<&Lock>,
) -> Result<i64> {
    global.write_one(Write::put(paths::vschema(keyspace), value.encode_to_vec(), expect), guard).await
}

/// Writes a VSchema with what is not known of it as it was sent.
pub async fn put_sent(
    global: &Arc<dyn Conn>,
    keyspace: &str,
    value: &vschema::Keyspace,
    sent: Option<&Bytes>,
) -> Result<i64> {
    let raw = wire::with_sent(sent, "vschema.Keyspace", value);
    global.write_one(Write::put(paths::vschema(keyspace), raw, Expect::Any), None).await
}

/// Writes a changed VSchema in the place of the one that was read: unknown fields of the keyspace, of vindexes and of
/// tables that are still there stay.
///
/// # Errors
/// [`super::Error::BadVersion`] when it was changed meanwhile.
pub async fn replace(
    global: &Arc<dyn Conn>,
    old: &Record<vschema::Keyspace>,
    value: &vschema::Keyspace,
) -> Result<i64> {
    global.write_one(old.over(global, "vschema.Keyspace", value)?, None).await
}

/// Adds tables that are not there yet, by compare-and-swap; answers the names added.
pub async fn add_tables(
    global: &Arc<dyn Conn>,
    record: Record<vschema::Keyspace>,
    tables: &[(String, vschema::Table)],
    guard: &Lock,
) -> Result<Vec<String>> {
    edit(global, record, guard, |record| {
        let there: BTreeSet<&String> = record.value.tables.iter().map(|entry| &entry.key).collect();
        let mut raw = record.raw.to_vec();
        let mut added = Vec::new();
        for (name, table) in tables.iter().filter(|(name, _)| !there.contains(name)) {
            wire::push(&mut raw, TABLES, &wire::map_entry(name, &table.encode_to_vec()));
            added.push(name.clone());
        }
        Ok((raw, added))
    })
    .await
}

/// Removes tables, by compare-and-swap; answers the names removed.
pub async fn remove_tables(
    global: &Arc<dyn Conn>,
    record: Record<vschema::Keyspace>,
    tables: &[String],
    guard: &Lock,
) -> Result<Vec<String>> {
    let tables: BTreeSet<&String> = tables.iter().collect();
    edit(global, record, guard, |record| {
        let mut removed = Vec::new();
        let raw = wire::without(&record.raw, TABLES, |entry: &Bytes| {
            let name = wire::map_key(entry).filter(|name| tables.contains(name));
            removed.extend(name.clone());
            name.is_some()
        })?;
        Ok((raw, removed))
    })
    .await
}

async fn edit(
    global: &Arc<dyn Conn>,
    mut record: Record<vschema::Keyspace>,
    guard: &Lock,
    change: impl Fn(&Record<vschema::Keyspace>) -> std::result::Result<(Vec<u8>, Vec<String>), String> + Send + Sync,
) -> Result<Vec<String>> {
    loop {
        let bad = |detail| super::Error::BadData { path: global.full(&record.path), detail };
        let (raw, changed) = change(&record).map_err(bad)?;
        if changed.is_empty() {
            return Ok(changed);
        }
        let write = Write::put(record.path.clone(), raw, Expect::Version(record.version));
        match global.write_one(write, Some(guard)).await {
            Err(super::Error::BadVersion(_)) => record = Record::get(global, &record.path).await?,
            Err(error) => return Err(error),
            Ok(_) => return Ok(changed),
        }
    }
}

#[cfg(test)]
mod tests {
    use vschema::keyspace::TablesEntry;
    use vschema::{Keyspace, Table};

    use super::*;

    #[test]
    fn unknown_fields_stay_at_every_level() {
        let mut table = Vec::new();
        wire::push(&mut table, 77, b"newer");
        let mut old = Vec::new();
        wire::push(&mut old, TABLES, &wire::map_entry("gone", &table));
        wire::push(&mut old, TABLES, &wire::map_entry("stays", &table));
        wire::push(&mut old, 88, b"newer");
        let stays = TablesEntry { key: "stays".into(), value: Some(Table { pinned: "80".into(), ..Table::default() }) };
        let value = Keyspace { sharded: true, tables: vec![stays], ..Keyspace::default() };
        let raw = Bytes::from(wire::over(&Bytes::from(old), "vschema.Keyspace", &value).unwrap());
        assert_eq!(Keyspace::decode(raw.clone()).unwrap(), value);
        let fields = wire::fields(&raw).unwrap();
        assert!(fields.iter().any(|field| field.number == 88));
        let entry = fields.iter().find(|field| field.number == TABLES).unwrap().payload.clone().unwrap();
        let value = wire::fields(&entry).unwrap().into_iter().find(|field| field.number == 2).unwrap();
        let table = wire::fields(&value.payload.unwrap()).unwrap();
        assert_eq!(table.iter().map(|field| field.number).collect::<Vec<_>>(), vec![5, 77]);
    }
}
