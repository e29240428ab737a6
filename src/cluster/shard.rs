//! Shards: create, delete, serving flag, tablet controls.

use bytes::Bytes;
use futures::future::try_join;
use vtmigrated_proto::topodata::shard::{SourceShard, TabletControl};
use vtmigrated_proto::topodata::{Keyspace, Shard, TabletType};

use super::keyspace::{self as keyspaces, finish};
pub use super::shard_cell::{Removal, remove as remove_cell, remove_keyspace as remove_keyspace_cell};
pub use super::shard_delete::{Options as DeleteOptions, delete};
use super::{Error, Result, cell, serving};
use crate::context::Context;
use crate::key_range;
use crate::topo::{self, Lock, Record, keyspace, paths, shard, wire};

/// Where a Shard has its `source_shards`.
const SOURCE_SHARDS: u32 = 4;

/// What making a shard came to.
#[derive(Clone, Debug)]
pub struct Created {
    pub keyspace: Keyspace,
    pub shard: Shard,
    /// True when there was one of that name already.
    pub existed: bool,
}

/// Changes of a shard's tablet controls.
#[derive(Clone, Debug, Default)]
pub struct Control {
    pub tablet_type: i32,
    /// None for all; not for primaries.
    pub cells: Vec<String>,
    pub denied_tables: Vec<String>,
    pub disable_query_service: bool,
    pub remove: bool,
}

/// Makes a shard, and with `include_parent` its keyspace first. It serves unless its range overlaps with another's.
pub async fn create(
    context: &Context,
    keyspace: &str,
    shard_name: &str,
    include_parent: bool,
    force: bool,
) -> Result<Created> {
    paths::check_name(keyspace)?;
    let key_range = shard::parse_name(shard_name)?;
    let global = context.topo.global();
    if include_parent {
        match keyspace::create(global, keyspace, &Keyspace::default(), None).await {
            Err(topo::Error::NodeExists(_)) if force => {}
            other => other?,
        }
    }
    let lock = keyspaces::lock(context, keyspace, "CreateShard").await?;
    let created = async {
        let others = shard::all(global, keyspace).await?;
        let overlaps =
            |other: &Record<Shard>| key_range::intersects(other.value.key_range.as_ref(), key_range.as_ref());
        let value = Shard { is_primary_serving: !others.iter().any(overlaps), key_range, ..Shard::default() };
        match shard::create(global, keyspace, shard_name, &value, Some(&lock)).await {
            Ok(()) => Ok(false),
            Err(topo::Error::NodeExists(_)) if force => Ok(true),
            Err(error) => Err(error.into()),
        }
    };
    let existed = finish(created.await, lock).await?;
    let read = try_join(keyspace::get(global, keyspace), shard::get(global, keyspace, shard_name));
    let (keyspace, shard) = read.await?;
    Ok(Created { keyspace: keyspace.value, shard: shard.value, existed })
}

/// One shard's record.
pub async fn get(context: &Context, keyspace: &str, shard_name: &str) -> Result<Shard> {
    Ok(shard::get(context.topo.global(), keyspace, shard_name).await?.value)
}

/// All shards of a keyspace with their names, ascending. One round trip.
pub async fn all(context: &Context, keyspace: &str) -> Result<Vec<(String, Shard)>> {
    let doing = || format!("FindAllShardsInKeyspace({keyspace})");
    paths::check_name(keyspace).map_err(|error| error.wrap(doing()))?;
    let found = shard::all(context.topo.global(), keyspace).await?;
    Ok(found.into_iter().map(|record| (shard::name(&record).to_owned(), record.value)).collect())
}

/// All shard records of a keyspace, ascending by name, with the error that stock has for a keyspace that is not there.
pub(super) async fn records(context: &Context, keyspace: &str) -> Result<Vec<Record<Shard>>> {
    let global = context.topo.global();
    match shard::all(global, keyspace).await {
        Err(error) if error.is_no_node() => Err(no_shards(context, keyspace)),
        other => Ok(other?),
    }
}

/// The error that stock has for the shards of a keyspace that is not there.
pub(super) fn no_shards(context: &Context, keyspace: &str) -> Error {
    topo::Error::NoNode(format!("{}/", context.topo.global().full(&paths::shards_dir(keyspace)))).into()
}

/// Sets whether the shard's primary serves, under the keyspace's lock.
pub async fn set_primary_serving(context: &Context, keyspace: &str, name: &str, serving: bool) -> Result<Shard> {
    let action = format!("SetShardIsPrimaryServing({keyspace},{name},{serving})");
    let change = |shard: &mut Shard| {
        shard.is_primary_serving = serving;
        Ok(())
    };
    let lock = lock_for(context, keyspace, name, &action).await?;
    let changed = update(context, keyspace, name, &lock, change).await;
    finish(changed, lock).await
}

/// Adds or removes denied tables, or switches the query service of a tablet type, under the keyspace's lock.
pub async fn set_tablet_control(context: &Context, keyspace: &str, name: &str, control: Control) -> Result<Shard> {
    let Ok(tablet_type) = TabletType::try_from(control.tablet_type) else {
        return Err(Error::bad_argument(format!("unknown tablet type {}", control.tablet_type)));
    };
    for table in &control.denied_tables {
        if table.is_empty() || table.len() > 1024 || table.chars().any(char::is_control) {
            return Err(Error::bad_argument("denied tables are single lines of 1 to 1024 bytes"));
        }
    }
    cell::check_names(&control.cells)?;
    let lock = lock_for(context, keyspace, name, "SetShardTabletControl").await?;
    let changed = async {
        let deny =
            |shard: &mut Shard| update_denied_tables(shard, &format!("{keyspace}/{name}"), tablet_type, &control);
        let shard = update(context, keyspace, name, &lock, deny).await?;
        if !control.remove && control.denied_tables.is_empty() {
            let change = serving::QueryService { tablet_type, disable: control.disable_query_service };
            serving::set_query_service(context, keyspace, (name, &shard), &control.cells, change, &lock).await?;
        }
        Ok(shard)
    };
    finish(changed.await, lock).await
}

/// Adds a source shard, under the keyspace's lock. Answers the shard, `None` when its number is in use already. What is not
/// known of the source is stored as it was sent.
pub async fn add_source(
    context: &Context,
    keyspace: &str,
    name: &str,
    source: SourceShard,
    sent: Option<Bytes>,
) -> Result<Option<Shard>> {
    paths::check_name(&source.keyspace).map_err(|error| error.wrap("source keyspace"))?;
    shard::parse_name(&source.shard).map_err(|error| error.wrap("source shard"))?;
    let uid = source.uid;
    let change = |shard: &mut Shard| {
        if !shard.source_shards.iter().any(|other| other.uid == uid) {
            shard.source_shards.push(source.clone());
        }
        Ok(())
    };
    let sent = sent.map(|source| wire::message(SOURCE_SHARDS, &source));
    change_sources(context, (keyspace, name), &format!("SourceShardAdd({uid})"), sent.as_ref(), change).await
}

/// Removes a source shard, under the keyspace's lock. Answers the shard, `None` when it has no such source.
pub async fn remove_source(context: &Context, keyspace: &str, name: &str, uid: i32) -> Result<Option<Shard>> {
    let change = |shard: &mut Shard| {
        shard.source_shards.retain(|source| source.uid != uid);
        Ok(())
    };
    change_sources(context, (keyspace, name), &format!("SourceShardDelete({uid})"), None, change).await
}

async fn change_sources(
    context: &Context,
    (keyspace, name): (&str, &str),
    action: &str,
    sent: Option<&Bytes>,
    change: impl Fn(&mut Shard) -> Result<()>,
) -> Result<Option<Shard>> {
    let lock = lock_for(context, keyspace, name, action).await?;
    let changed = async {
        let before = shard::get(context.topo.global(), keyspace, name).await?;
        let after = update_from(context, before.clone(), sent, &lock, change).await?;
        Ok((after.source_shards != before.value.source_shards).then_some(after))
    };
    finish(changed.await, lock).await
}

/// Takes a shard's lock.
pub(super) async fn lock(context: &Context, keyspace: &str, name: &str, action: &str) -> Result<Lock> {
    let request = context.lock_request(action).of(paths::shard_dir(keyspace, name));
    Ok(context.topo.global().lock(request).await?)
}

async fn lock_for(context: &Context, keyspace: &str, name: &str, action: &str) -> Result<Lock> {
    paths::check_name(keyspace)?;
    shard::parse_name(name)?;
    keyspaces::lock(context, keyspace, action).await
}

/// Reads, changes and writes a shard until nobody was faster. An unchanged record is not written.
pub(super) async fn update(
    context: &Context,
    keyspace: &str,
    name: &str,
    lock: &Lock,
    change: impl Fn(&mut Shard) -> Result<()>,
) -> Result<Shard> {
    let old = shard::get(context.topo.global(), keyspace, name).await?;
    update_from(context, old, None, lock, change).await
}

/// The same for a record that was read under the lock.
async fn update_from(
    context: &Context,
    mut old: Record<Shard>,
    sent: Option<&Bytes>,
    lock: &Lock,
    change: impl Fn(&mut Shard) -> Result<()>,
) -> Result<Shard> {
    let global = context.topo.global();
    loop {
        let mut value = old.value.clone();
        change(&mut value)?;
        if value == old.value {
            return Ok(value);
        }
        match shard::update_sent(global, &old, &value, sent, lock).await {
            Err(topo::Error::BadVersion(_)) => old = Record::get(global, &old.path).await?,
            other => return Ok(other.map(|()| value)?),
        }
    }
}

fn update_denied_tables(shard: &mut Shard, name: &str, tablet_type: TabletType, control: &Control) -> Result<()> {
    let (cells, tables) = (&control.cells, &control.denied_tables);
    if tablet_type == TabletType::Primary && !cells.is_empty() {
        return Err(Error::bad_argument("you cannot specify cells for a primary's tablet control"));
    }
    let Some(at) = shard.tablet_controls.iter().position(|control| control.tablet_type() == tablet_type) else {
        if !control.remove {
            shard.tablet_controls.push(TabletControl {
                tablet_type: tablet_type.into(),
                cells: cells.clone(),
                denied_tables: tables.clone(),
                ..TabletControl::default()
            });
        }
        return Ok(());
    };
    let Some(old) = shard.tablet_controls.get_mut(at) else { return Ok(()) };
    // a table that is denied here is denied to reads, too (Vitess 24.0.4, `UpdateDeniedTables`)
    old.allow_reads = false;
    let empty = match (tablet_type, control.remove) {
        (TabletType::Primary, true) => {
            // no tables at all means all of them
            old.denied_tables.retain(|table| !tables.is_empty() && !tables.contains(table));
            old.denied_tables.is_empty()
        }
        (TabletType::Primary, false) => {
            deny(&mut old.denied_tables, tables);
            false
        }
        (_, true) => {
            old.cells.retain(|cell| !cells.contains(cell));
            old.cells.is_empty()
        }
        (_, false) if old.denied_tables != *tables => {
            return Err(Error::bad_argument(format!(
                "trying to use two different sets of denied tables for shard {name}: {} and {}",
                super::listed(&old.denied_tables),
                super::listed(tables)
            )));
        }
        (_, false) => {
            let added: Vec<String> = cells.iter().filter(|cell| !old.cells.contains(cell)).cloned().collect();
            old.cells.extend(added);
            false
        }
    };
    if empty {
        shard.tablet_controls.retain(|control| control.tablet_type() != tablet_type);
    }
    Ok(())
}

/// Adds tables; as in stock the list is sorted only when some of them are there already.
fn deny(denied: &mut Vec<String>, tables: &[String]) {
    let overlap = tables.iter().any(|table| denied.contains(table));
    denied.extend(tables.iter().cloned());
    if overlap {
        denied.sort();
        denied.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn after(shard: &Shard, tablet_type: TabletType, cells: &[&str], tables: &[&str], remove: bool) -> Result<Shard> {
        let control = Control { cells: strings(cells), denied_tables: strings(tables), remove, ..Control::default() };
        let mut shard = shard.clone();
        update_denied_tables(&mut shard, "ks/0", tablet_type, &control).map(|()| shard)
    }

    #[test]
    fn tables_of_a_primary_come_and_go() {
        let primary = TabletType::Primary;
        let one = after(&Shard::default(), primary, &[], &["b", "a"], false).unwrap();
        assert_eq!(shard::denied(&one), ["b", "a"]);
        let more = after(&one, primary, &[], &["c", "a"], false).unwrap();
        assert_eq!(shard::denied(&more), ["a", "b", "c"]);
        let less = after(&more, primary, &[], &["b", "x"], true).unwrap();
        assert_eq!(shard::denied(&less), ["a", "c"]);
        assert_eq!(after(&less, primary, &[], &[], true).unwrap(), Shard::default());
        assert_eq!(after(&Shard::default(), primary, &[], &["a"], true).unwrap(), Shard::default());
        let cells = after(&one, primary, &["zone1"], &[], false).unwrap_err();
        assert_eq!(cells.to_string(), "you cannot specify cells for a primary's tablet control");
    }

    #[test]
    fn what_a_user_denies_is_denied_to_reads_too() {
        let denied = |tables: &[&str], allow_reads: bool| {
            let tablet_type = TabletType::Primary.into();
            let denied_tables = strings(tables);
            let control = TabletControl { tablet_type, denied_tables, allow_reads, ..TabletControl::default() };
            Shard { tablet_controls: vec![control], ..Shard::default() }
        };
        let by_create = denied(&["a"], true);
        assert_eq!(after(&by_create, TabletType::Primary, &[], &["b"], false).unwrap(), denied(&["a", "b"], false));
        let both = denied(&["a", "b"], true);
        assert_eq!(after(&both, TabletType::Primary, &[], &["a"], true).unwrap(), denied(&["b"], false));
    }

    #[test]
    fn other_types_have_one_list_for_some_cells() {
        let replica = TabletType::Replica;
        let one = after(&Shard::default(), replica, &["a"], &["t"], false).unwrap();
        let two = after(&one, replica, &["b", "a"], &["t"], false).unwrap();
        assert_eq!(two.tablet_controls[0].cells, ["a", "b"]);
        let other = after(&two, replica, &["c"], &["u"], false).unwrap_err().to_string();
        assert_eq!(other, "trying to use two different sets of denied tables for shard ks/0: [t] and [u]");
        let less = after(&two, replica, &["a"], &[], true).unwrap();
        assert_eq!(less.tablet_controls[0].cells, ["b"]);
        assert_eq!(after(&less, replica, &["b"], &[], true).unwrap(), Shard::default());
    }
}
