//! Shard records: reading them for a keyspace, and editing their denied tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use vtmigrated_proto::topodata::shard::TabletControl;
use vtmigrated_proto::topodata::{KeyRange, Shard, TabletType};

use super::{Conn, Error, Expect, Lock, Record, Result, Write, paths, wire};
use crate::key_range;

/// Field number of `tablet_controls` in a Shard.
const TABLET_CONTROLS: u32 = 6;

/// One shard's record.
pub async fn get(global: &Arc<dyn Conn>, keyspace: &str, shard: &str) -> Result<Record<Shard>> {
    paths::check_name(keyspace)?;
    parse_name(shard)?;
    Record::get(global, &paths::shard(keyspace, shard)).await
}

/// The key range that a shard's name stands for; none for names without `-`, such as `0`.
///
/// # Errors
/// [`Error::BadName`] with stock's texts.
pub fn parse_name(shard: &str) -> Result<Option<KeyRange>> {
    paths::check_name(shard)?;
    let Some((start, end)) = shard.split_once('-') else { return Ok(None) };
    if end.contains('-') {
        return Err(Error::BadName(format!("invalid shardId, can only contain one '-': {shard}")));
    }
    match key_range::parse(shard) {
        Ok(range) => Ok(Some(range)),
        Err(key_range::Error::OutOfOrder(_)) => {
            let (start, end) = (start.to_ascii_lowercase(), end.to_ascii_lowercase());
            Err(Error::BadName(format!("out of order keys: {start} is not strictly smaller than {end}")))
        }
        Err(key_range::Error::NotARange(_)) => {
            let detail = [start, end].into_iter().find_map(key_range::hex_error).unwrap_or_default();
            Err(Error::BadName(format!("{detail}: bad shard name {shard}")))
        }
    }
}

/// Stores a new shard.
pub async fn create(
    global: &Arc<dyn Conn>,
    keyspace: &str,
    shard: &str,
    value: &Shard,
    guard: Option<&Lock>,
) -> Result<()> {
    let write = Write::put(paths::shard(keyspace, shard), value.encode_to_vec(), Expect::Absent);
    global.write_one(write, guard).await.map(|_| ())
}

/// Writes a shard record that was read before.
pub async fn update(global: &Arc<dyn Conn>, old: &Record<Shard>, value: &Shard, guard: &Lock) -> Result<()> {
    update_sent(global, old, value, None, guard).await
}

/// The same with what is not known of it as it was sent.
pub async fn update_sent(
    global: &Arc<dyn Conn>,
    old: &Record<Shard>,
    value: &Shard,
    sent: Option<&Bytes>,
    guard: &Lock,
) -> Result<()> {
    global.write_one(old.over_sent(global, "topodata.Shard", value, sent)?, Some(guard)).await.map(|_| ())
}

/// The name of the shard that a record belongs to.
pub fn name(record: &Record<Shard>) -> &str {
    record.path.trim_end_matches("/Shard").rsplit('/').next().unwrap_or_default()
}

/// All shard records of a keyspace, ascending by name; serving or not.
///
/// # Errors
/// Stock's `FindAllShardsInKeyspace(<ks>): List: node doesn't exist: …` when there is no such keyspace.
pub async fn all(global: &Arc<dyn Conn>, keyspace: &str) -> Result<Vec<Record<Shard>>> {
    let dir = paths::shards_dir(keyspace);
    let nodes = global.list(&dir).await?;
    let mut shards = Vec::new();
    for node in nodes {
        let shard = node.path.strip_prefix(&dir).and_then(|p| p.trim_start_matches('/').split_once('/'));
        if shard.is_some_and(|(_, rest)| rest == "Shard") {
            shards.push(Record::decode(node, global)?);
        }
    }
    if shards.is_empty()
        && Record::<vtmigrated_proto::topodata::Keyspace>::find(global, &paths::keyspace(keyspace)).await?.is_none()
    {
        let missing = Error::NoNode(global.full(&dir));
        return Err(missing.wrap("List").wrap(format!("FindAllShardsInKeyspace({keyspace})")));
    }
    Ok(shards)
}

/// The serving shards of a keyspace, sorted by key range. One that has no primary and overlaps one that has is none.
pub fn serving(shards: Vec<Record<Shard>>) -> Vec<Record<Shard>> {
    let mut serving: Vec<_> = shards.into_iter().filter(|s| s.value.is_primary_serving).collect();
    let with_primary = serving.iter().filter(|shard| shard.value.primary_alias.is_some());
    let ranges: Vec<Option<KeyRange>> = with_primary.map(|shard| shard.value.key_range.clone()).collect();
    let covered = |shard: &Record<Shard>| {
        ranges.iter().any(|range| key_range::intersects(range.as_ref(), shard.value.key_range.as_ref()))
    };
    serving.retain(|shard| shard.value.primary_alias.is_some() || !covered(shard));
    serving.sort_by(|a, b| key_range::compare(a.value.key_range.as_ref(), b.value.key_range.as_ref()));
    serving
}

/// A change of the PRIMARY denied tables of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deny {
    Add,
    /// The same; where no table was denied before, reads pass (tablets from Vitess 24 on).
    AddForWrites,
    Remove,
}

/// Adds `tables` to, or removes them from, the PRIMARY denied tables of all `shards` in one transaction.
///
/// The records are those last read; when one of them was changed meanwhile, all are read again. The keyspace lock must be
/// held, as in stock. Answers for each shard the tables that were really added or removed, in the order given.
///
/// # Errors
/// [`Error::LockLost`] when the lock is gone, and read errors.
pub async fn deny_tables(
    global: &Arc<dyn Conn>,
    mut shards: Vec<Record<Shard>>,
    change: Deny,
    tables: &(dyn Fn(&str) -> Vec<String> + Sync),
    guard: &Lock,
) -> Result<Vec<(String, Vec<String>)>> {
    loop {
        match deny_tables_once(global, &shards, change, tables, Vec::new(), guard).await? {
            Some(changed) => return Ok(changed),
            None => shards = again(global, &shards).await?,
        }
    }
}

/// Tries the same once, with other writes, which come first and in the same transaction as the first of the shards. `None`
/// when one of the records is not what it was when it was read: nothing is written then.
pub async fn deny_tables_once(
    global: &Arc<dyn Conn>,
    shards: &[Record<Shard>],
    change: Deny,
    tables: &(dyn Fn(&str) -> Vec<String> + Sync),
    mut writes: Vec<Write>,
    guard: &Lock,
) -> Result<Option<Vec<(String, Vec<String>)>>> {
    let mut changed = Vec::new();
    for shard in shards {
        let shard_name = name(shard).to_owned();
        let (raw, done) = with_denied(shard, change, &tables(&shard_name))
            .map_err(|detail| Error::BadData { path: global.full(&shard.path), detail })?;
        if let Some(raw) = raw {
            writes.push(Write::put(shard.path.clone(), raw, Expect::Version(shard.version)));
        }
        changed.push((shard_name, done));
    }
    if writes.is_empty() {
        return Ok(Some(changed));
    }
    match global.write(writes, Some(guard)).await {
        Ok(_) => Ok(Some(changed)),
        Err(Error::BadVersion(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Some shards' records as they are now.
///
/// # Errors
/// [`Error::NoNode`] when one of them is gone, and read errors.
pub async fn again(global: &Arc<dyn Conn>, shards: &[Record<Shard>]) -> Result<Vec<Record<Shard>>> {
    let nodes = global.get_many(shards.iter().map(|s| s.path.clone()).collect()).await?;
    let mut fresh = Vec::with_capacity(nodes.len());
    for (node, old) in nodes.into_iter().zip(shards) {
        let node = node.ok_or_else(|| Error::NoNode(global.full(&old.path)))?;
        fresh.push(Record::decode(node, global)?);
    }
    Ok(fresh)
}

/// True when a shard has the primary that it had, which was not another's meanwhile: a primary that is elected again has a term of its own.
pub fn has_same_primary(before: &Shard, now: &Shard) -> bool {
    let reign = |shard: &Shard| (shard.primary_alias.clone(), shard.primary_term_start_time);
    reign(before) == reign(now)
}

/// The PRIMARY denied tables of a shard.
pub fn denied(shard: &Shard) -> Vec<String> {
    let primary = shard.tablet_controls.iter().filter(|c| c.tablet_type() == TabletType::Primary);
    primary.flat_map(|c| c.denied_tables.iter().cloned()).collect()
}

/// The record's new bytes, if it changes at all, and the tables that make the difference.
fn with_denied(
    shard: &Record<Shard>,
    change: Deny,
    tables: &[String],
) -> std::result::Result<(Option<Vec<u8>>, Vec<String>), String> {
    let old: BTreeSet<String> = denied(&shard.value).into_iter().collect();
    let differs = |table: &&String| old.contains(*table) == (change == Deny::Remove);
    let done: Vec<String> = tables.iter().filter(differs).cloned().collect();
    if done.is_empty() {
        return Ok((None, done));
    }
    let mut stored = None;
    let mut raw =
        wire::without(&shard.raw, TABLET_CONTROLS, |payload: &Bytes| match TabletControl::decode(payload.clone()) {
            Ok(found) if found.tablet_type() == TabletType::Primary => {
                stored = Some((found, payload.clone()));
                true
            }
            _ => false,
        })?;
    let fresh = TabletControl { tablet_type: TabletType::Primary.into(), ..TabletControl::default() };
    let (mut control, bytes) = stored.unwrap_or_else(|| (fresh, Bytes::new()));
    match change {
        // stock sorts only when it has to merge with some of the same tables
        Deny::Add | Deny::AddForWrites if done.len() == tables.len() => {
            control.denied_tables.extend(done.iter().cloned())
        }
        Deny::Add | Deny::AddForWrites => {
            let union: BTreeSet<String> = old.iter().chain(&done).cloned().collect();
            control.denied_tables = union.into_iter().collect();
        }
        Deny::Remove => {
            let done: BTreeSet<&String> = done.iter().collect();
            control.denied_tables.retain(|table| !done.contains(table));
        }
    }
    control.allow_reads = match change {
        Deny::Add => control.allow_reads,
        Deny::AddForWrites => control.allow_reads || old.is_empty(),
        // whoever denies for reads, too, has said so then
        Deny::Remove => control.allow_reads,
    };
    if !control.denied_tables.is_empty() {
        let control = wire::over(&bytes, "topodata.Shard.TabletControl", &control)?;
        wire::push(&mut raw, TABLET_CONTROLS, &control);
    }
    Ok((Some(raw), done))
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::topodata::TabletAlias;
    use vtmigrated_proto::vttime::Time;

    use super::*;

    fn record(shard: &Shard) -> Record<Shard> {
        let mut raw = shard.encode_to_vec();
        wire::push(&mut raw, 77, b"newer");
        Record {
            path: "keyspaces/k/shards/-80/Shard".into(),
            value: shard.clone(),
            raw: raw.into(),
            version: 1,
            created: 1,
        }
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn denied_tables_come_and_go_and_unknown_fields_stay() {
        let (raw, done) = with_denied(&record(&Shard::default()), Deny::Add, &strings(&["b", "a"])).unwrap();
        assert_eq!(done, strings(&["b", "a"]));
        let raw = Bytes::from(raw.unwrap());
        assert!(wire::fields(&raw).unwrap().iter().any(|f| f.number == 77));
        let shard = Shard::decode(raw.clone()).unwrap();
        assert_eq!(denied(&shard), strings(&["b", "a"]));

        let (merged, added) = with_denied(&record(&shard), Deny::Add, &strings(&["a", "0"])).unwrap();
        assert_eq!(added, strings(&["0"]));
        assert_eq!(denied(&Shard::decode(Bytes::from(merged.unwrap())).unwrap()), strings(&["0", "a", "b"]));

        let (gone, removed) = with_denied(&record(&shard), Deny::Remove, &strings(&["a", "b", "c"])).unwrap();
        assert_eq!(removed, strings(&["a", "b"]));
        assert!(Shard::decode(Bytes::from(gone.unwrap())).unwrap().tablet_controls.is_empty());
    }

    #[test]
    fn what_a_newer_program_says_of_denied_tables_stays_as_long_as_there_are_any() {
        let control = TabletControl {
            tablet_type: TabletType::Primary.into(),
            denied_tables: strings(&["a"]),
            allow_reads: true,
            ..TabletControl::default()
        };
        let mut control = control.encode_to_vec();
        wire::push(&mut control, 77, b"newer");
        let mut raw = Vec::new();
        wire::push(&mut raw, TABLET_CONTROLS, &control);
        let read = |raw: Vec<u8>| {
            let raw = Bytes::from(raw);
            let value = Shard::decode(raw.clone()).unwrap();
            Record { path: "keyspaces/k/shards/-80/Shard".into(), value, raw, version: 1, created: 1 }
        };
        let record = read(raw);
        for (change, table, left) in [(Deny::Add, "b", &["a", "b"][..]), (Deny::Remove, "b", &["a"])] {
            let denied_too = with_denied(&record, Deny::Add, &strings(&["b"])).unwrap().0.unwrap();
            let record = if change == Deny::Add { record.clone() } else { read(denied_too) };
            let changed = read(with_denied(&record, change, &strings(&[table])).unwrap().0.unwrap());
            assert_eq!(denied(&changed.value), strings(left));
            assert!(changed.value.tablet_controls[0].allow_reads);
            assert!(changed.raw.windows(5).any(|part| part == b"newer"));
        }
        let gone = with_denied(&record, Deny::Remove, &strings(&["a"])).unwrap().0.unwrap();
        assert!(gone.is_empty(), "without a table the control goes, as in stock");
    }

    #[test]
    fn reads_pass_only_where_nobody_else_denied_tables() {
        let deny = |shard: &Shard, change| {
            let raw = with_denied(&record(shard), change, &strings(&["a"])).unwrap().0.unwrap();
            Shard::decode(Bytes::from(raw)).unwrap().tablet_controls.remove(0)
        };
        assert!(deny(&Shard::default(), Deny::AddForWrites).allow_reads);
        assert!(!deny(&Shard::default(), Deny::Add).allow_reads);
        let others = TabletControl {
            tablet_type: TabletType::Primary.into(),
            denied_tables: strings(&["b"]),
            ..TabletControl::default()
        };
        let others = deny(&Shard { tablet_controls: vec![others], ..Shard::default() }, Deny::AddForWrites);
        assert_eq!((others.allow_reads, others.denied_tables), (false, strings(&["b", "a"])));
    }

    #[test]
    fn a_primary_that_is_elected_again_is_another_one() {
        let shard = |uid, seconds| Shard {
            primary_alias: Some(TabletAlias { cell: "zone1".into(), uid }),
            primary_term_start_time: Some(Time { seconds, nanoseconds: 0 }),
            ..Shard::default()
        };
        assert!(has_same_primary(&shard(1, 5), &Shard { is_primary_serving: true, ..shard(1, 5) }));
        assert!(!has_same_primary(&shard(1, 5), &shard(1, 7)) && !has_same_primary(&shard(1, 5), &shard(2, 5)));
        assert!(!has_same_primary(&shard(1, 5), &Shard::default()));
    }

    #[test]
    fn names_stand_for_ranges() {
        assert_eq!(parse_name("0").unwrap(), None);
        assert_eq!(parse_name("-").unwrap(), Some(KeyRange::default()));
        assert_eq!(parse_name("-80").unwrap(), Some(KeyRange { start: vec![], end: vec![0x80] }));
        let refusal = |name: &str| parse_name(name).unwrap_err().to_string();
        assert_eq!(refusal("-80-"), "invalid shardId, can only contain one '-': -80-");
        assert_eq!(refusal("C0-80"), "out of order keys: c0 is not strictly smaller than 80");
        assert_eq!(refusal("x-80"), "encoding/hex: invalid byte: U+0078 'x': bad shard name x-80");
        assert_eq!(refusal("../0"), "invalid character . in name ../0");
        assert_eq!(refusal(""), "empty name");
    }

    #[test]
    fn nothing_to_do_writes_nothing() {
        assert_eq!(with_denied(&record(&Shard::default()), Deny::Remove, &strings(&["a"])).unwrap(), (None, vec![]));
    }
}
