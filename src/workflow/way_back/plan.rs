//! The streams of a way back: a Migrate of the source, whose source is the target. Pure.

use vtmigrated_proto::binlogdata::{BinlogSource, OnDdlAction, VReplicationWorkflowState as State};
use vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::TabletType;

use crate::gtid::Position;
use crate::sql::quote;
use crate::workflow::names::back;
use crate::workflow::plan::Sources;
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::record::listed;
use crate::workflow::record::way_back::Facts;

/// Tablets of the target that the streams read from, in this order: the default of Migrate.
const TYPES: [TabletType; 2] = [TabletType::Replica, TabletType::Primary];

/// What create would be asked in the source's cluster, had its streams to copy.
pub fn arguments(keyspace: &str, workflow: &str, facts: &Facts) -> Arguments {
    Arguments {
        workflow: back::name(workflow),
        source_keyspace: keyspace.to_owned(),
        target_keyspace: facts.keyspace.clone(),
        mount: facts.back_mount.clone(),
        cells: Vec::new(),
        tablet_types: TYPES.to_vec(),
        preference: TabletSelectionPreference::Inorder,
        all_tables: false,
        include_tables: facts.tables.clone(),
        exclude_tables: Vec::new(),
        source_time_zone: String::new(),
        on_ddl: OnDdlAction::try_from(facts.on_ddl).unwrap_or(OnDdlAction::Stop),
        stop_after_copy: false,
        drop_foreign_keys: false,
        defer_secondary_keys: false,
        auto_start: false,
    }
}

/// Planned streams that convert times back into the zone which the migration's streams converted from, as stock's reverse
/// streams do.
pub fn with_zone(mut sources: Sources, zone: &str) -> Sources {
    for source in sources.iter_mut().flat_map(|(_, sources)| sources).filter(|_| !zone.is_empty()) {
        source.source_time_zone = "UTC".into();
        source.target_time_zone = zone.to_owned();
    }
    sources
}

/// Ids of streams that are to be given the position that was noted of the shard which they read. One that has a position
/// has begun, or had it given before.
///
/// # Errors
/// The shard of which no position was noted.
pub fn unplaced<'s, 'p>(
    there: &[&'s Stream],
    positions: &'p [(String, String)],
) -> Result<Vec<(i32, &'p str)>, &'s str> {
    let bare = there.iter().copied().filter(|stream| stream.pos.is_empty());
    let wanted = bare.map(|stream| {
        let noted = noted_of(stream, positions).map(|position| (stream.id, position));
        noted.ok_or_else(|| read_shard(stream))
    });
    wanted.collect()
}

/// True when none of these streams has brought anything: each is stopped, without a position, or not after the one that was noted. One
/// that is before it was placed by an earlier complete, whose server died.
pub fn untouched<'s>(there: impl IntoIterator<Item = &'s Stream>, positions: &[(String, String)]) -> bool {
    let not_after = |stream: &Stream| {
        let noted = noted_of(stream, positions);
        noted.and_then(|noted| Position::parse(noted).contains(&Position::stored(&stream.pos))) == Some(true)
    };
    let has_not_run =
        |stream: &Stream| stream.state() == State::Stopped && (stream.pos.is_empty() || not_after(stream));
    there.into_iter().all(has_not_run)
}

/// The shards that each source shard reads, by the plan.
pub fn pairs(sources: &Sources) -> Vec<(String, Vec<String>)> {
    let shards = |sources: &[BinlogSource]| sources.iter().map(|source| source.shard.clone()).collect();
    sources.iter().map(|(shard, sources)| (shard.clone(), shards(sources))).collect()
}

/// Tables that the way back denies on each source shard: those that nobody denies there `now`, and those that an earlier try has `noted`,
/// also on shards that serve no more, for their records deny them still.
pub fn to_deny(now: Vec<(String, Vec<String>)>, noted: &[(String, Vec<String>)]) -> Vec<(String, Vec<String>)> {
    let mut all = now;
    for (shard, tables) in &mut all {
        tables.extend(listed(noted, shard));
        tables.sort();
        tables.dedup();
    }
    let gone: Vec<_> = noted.iter().filter(|(name, _)| all.iter().all(|(shard, _)| shard != name)).cloned().collect();
    all.extend(gone);
    all
}

/// Whether there is exactly one stream of each of these shards, at or after the position that was noted of it.
///
/// # Errors
/// What is wrong, for people.
pub fn stands(planned: &[String], there: &[&Stream], positions: &[(String, String)]) -> Result<(), String> {
    if let Some(shard) = planned.iter().find(|shard| !there.iter().any(|stream| read_shard(stream) == **shard)) {
        return Err(format!("there is no stream from shard {shard}"));
    }
    for stream in there {
        let shard = read_shard(stream);
        if !planned.iter().any(|planned| planned == shard) {
            return Err(format!("stream {} reads shard {shard}, which is not planned", stream.id));
        }
        let noted = noted_of(stream, positions).map(Position::parse);
        let at = Position::stored(&stream.pos);
        if noted.is_none_or(|noted| at.contains(&noted) != Some(true)) {
            return Err(format!("stream {} is not at the position that was noted of shard {shard}", stream.id));
        }
    }
    if there.len() > planned.len() { Err("a shard is read by two streams".into()) } else { Ok(()) }
}

/// Whether a stream in the source is the way back's: it reads from the mount that is there for this way back alone.
pub fn is_ours(stream: &Stream, mount: &str) -> bool {
    stream.bls.as_ref().is_some_and(|source| source.external_cluster == mount)
}

/// The shard that a stream reads.
pub fn read_shard(stream: &Stream) -> &str {
    stream.bls.as_ref().map(|source| source.shard.as_str()).unwrap_or_default()
}

/// The position that was noted of the shard which a stream reads.
fn noted_of<'p>(stream: &Stream, positions: &'p [(String, String)]) -> Option<&'p str> {
    positions.iter().find(|(shard, _)| shard == read_shard(stream)).map(|(_, position)| position.as_str())
}

/// Gives a stopped stream its position.
pub fn place(id: i32, position: &str) -> String {
    format!("update _vt.vreplication set pos = {} where id = {id}", quote::literal(position))
}

/// Waits until no transaction is under way that has written to the tables: the lock is granted when they have ended, and goes
/// with the connection (as stock's SwitchTraffic does it, Vitess 24).
pub fn lock_tables(tables: &[String]) -> String {
    let list: Vec<String> = tables.iter().map(|table| format!("{} READ", quote::identifier(table))).collect();
    format!("LOCK TABLES {}", list.join(", "))
}

#[cfg(test)]
mod tests;
