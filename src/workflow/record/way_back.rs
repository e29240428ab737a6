//! What a way back has done, and to what: kept in the target's global topology at
//! `internal/vtmigrated/<keyspace>/<workflow>/WayBack` as JSON (large ones in gzip). It is written before the first side effect on
//! the source and removed after the last.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vtmigrated_proto::topodata::TopoConfig;

use super::text;
use crate::error::{Code, Reason};
use crate::topo::{Conn, Expect, Lock, Node, Write, paths};
use crate::workflow::names::back::forget_command;
use crate::workflow::streams::Listed;
use crate::workflow::{Error, Result, record};

/// How far a way back is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The source knows the target as a mount; nothing streams.
    Prepared,
    /// Complete has begun: clients of the source are kept from its tables, or will be, and the positions of the target are noted once
    /// its streams stand. Clients cannot write to the target yet.
    Noted,
    /// Complete has handed the target over without having its positions: there is no way back any more.
    Missed,
    /// Complete has handed the target over, and the positions are known; the streams are to be made or started.
    Handed,
    /// The streams run.
    Open,
    /// Going back has begun: writes to the target's tables are denied, or will be.
    Closing,
    /// The source has everything: from here on it is the one that serves.
    Returned,
    /// It is being taken away.
    Cancelling,
}

impl Phase {
    /// As people see it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Noted => "noted",
            Self::Missed => "missed",
            Self::Handed => "handed over",
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Returned => "returned",
            Self::Cancelling => "cancelling",
        }
    }
}

/// A topology as a mount names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub topo_type: String,
    pub server: String,
    pub root: String,
}

impl From<&TopoConfig> for Config {
    fn from(config: &TopoConfig) -> Self {
        let TopoConfig { topo_type, server, root } = config.clone();
        Self { topo_type, server, root }
    }
}

impl From<&Config> for TopoConfig {
    fn from(config: &Config) -> Self {
        let Config { topo_type, server, root } = config.clone();
        Self { topo_type, server, root }
    }
}

/// The facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub phase: Phase,
    /// The source's mount in the target's topology, and where it led when the way back was prepared: nothing else is ever
    /// written to.
    pub mount: String,
    pub source: Config,
    /// The source keyspace.
    pub keyspace: String,
    /// All tables of the workflow, ascending.
    pub tables: Vec<String>,
    /// The streams of the migration that it was prepared for, by the target's shards: another one of the same name has others.
    #[serde(default)]
    pub streams: Listed,
    /// The target's mount in the source's topology, and where it leads.
    pub back_mount: String,
    pub target: Config,
    /// The mount was made by prepare: it goes when the way back ends.
    pub mount_made: bool,
    /// What streams do at DDL: the number of [`vtmigrated_proto::binlogdata::OnDdlAction`].
    pub on_ddl: i32,
    /// The time zone that the migration's streams converted from; none when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub time_zone: String,
    /// The position of each target primary when nobody could write: there the streams begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<(String, String)>,
    /// The streams as they were started: the target's shards that each source shard reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "text::by_shard")]
    pub pairs: Vec<(String, Vec<String>)>,
    /// Denied tables that the way back adds on each source shard.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "text::by_shard")]
    pub source_denied: Vec<(String, Vec<String>)>,
    /// The same on each target shard, once going back has begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "text::by_shard")]
    pub target_denied: Vec<(String, Vec<String>)>,
    /// Complete handed the target over and could not deny the source's tables, or somebody has opened them before there were streams:
    /// what clients wrote there until they were denied is there alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub both_written: bool,
    /// Complete handed the target over by a proof that is older than the denial of the source's tables, or without one: what clients
    /// wrote there last may be there alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inexact: bool,
    /// When it was first prepared, in seconds since the epoch; 0 where older versions did not note it.
    #[serde(default)]
    pub prepared: i64,
    /// When complete handed the target over, in seconds since the epoch; 0 before.
    #[serde(default)]
    pub since: i64,
    /// When its streams were started first, in seconds since the epoch; 0 before, and where older versions did not note it.
    #[serde(default)]
    pub opened: i64,
    /// Why it was missed; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The version at which the record was read or written last; none before. It is not a part of it.
    #[serde(skip)]
    pub version: Option<i64>,
}

impl Facts {
    /// Why it was missed, and whether clients are kept from the source's tables still.
    pub fn missed(&self) -> String {
        let is_denied = self.source_denied.iter().any(|(_, tables)| !tables.is_empty());
        let denied = if is_denied { "; until it is taken away the source's tables stay denied to clients" } else { "" };
        format!("{}{denied}", self.why)
    }

    /// Shards of the source on which it has streams, or denies tables, or may.
    pub fn shards(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().chain(&self.source_denied).map(|(name, _)| name.as_str())
    }

    /// True for one of these.
    pub fn is_on(&self, shard: &str) -> bool {
        self.shards().any(|name| name == shard)
    }

    /// Whether it was prepared for the migration with these streams.
    pub fn is_for(&self, streams: &Listed) -> bool {
        let is_ours = |shard: &str, id: &i32| self.streams.iter().any(|(of, ids)| of == shard && ids.contains(id));
        streams.iter().any(|(shard, ids)| ids.iter().any(|id| is_ours(shard, id)))
    }
}

/// The facts of a way back, or why they cannot be read.
pub type Kept = std::result::Result<Facts, String>;

/// Reads the record of a workflow's way back; `None` when there is none.
pub async fn look(global: &Arc<dyn Conn>, keyspace: &str, workflow: &str) -> Result<Option<Kept>> {
    let node = global.find(&paths::way_back(keyspace, workflow)).await?;
    let kept = |node: Node| text::read(&node.value).map(|facts: Facts| Facts { version: Some(node.version), ..facts });
    Ok(node.map(kept))
}

/// The same where nothing can be done without the facts.
///
/// # Errors
/// `WAY_BACK_UNREAD` for facts that cannot be read.
pub async fn find(global: &Arc<dyn Conn>, keyspace: &str, workflow: &str) -> Result<Option<Facts>> {
    let kept = look(global, keyspace, workflow).await?.transpose();
    kept.map_err(|why| unreadable((keyspace, workflow), &why))
}

/// The record as a part of the transaction that hands the target over, whatever is stored: clients must not wait for what became of
/// an earlier write. The locks of the workflow keep others from writing it.
pub fn write((keyspace, workflow): (&str, &str), facts: &Facts) -> Result<Write> {
    record::written(paths::way_back(keyspace, workflow), facts, Expect::Any)
}

/// Writes the record over the version that the facts have, and gives them the new one. So a write that was sent twice, or that its
/// caller gave up, changes nothing when it arrives after a later one.
///
/// The locks keep others from writing it: what is there at another version was made by a write of theirs whose answer was lost, and
/// is written over.
///
/// # Errors
/// Those of the topology; the locks are lost.
pub async fn put(global: &Arc<dyn Conn>, names: (&str, &str), facts: &mut Facts, guard: &Lock) -> Result<()> {
    let path = paths::way_back(names.0, names.1);
    loop {
        let expect = facts.version.map_or(Expect::Absent, Expect::Version);
        let write = record::written(path.clone(), &*facts, expect)?;
        match global.write_one(write, Some(guard)).await {
            Ok(version) => {
                facts.version = Some(version);
                return Ok(());
            }
            Err(error) if error.is_conflict() || error.is_no_node() => {
                facts.version = global.find(&path).await?.map(|node| node.version);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the record: the last write under its locks.
pub async fn delete(global: &Arc<dyn Conn>, (keyspace, workflow): (&str, &str), guard: &Lock) -> Result<()> {
    let write = Write::delete(paths::way_back(keyspace, workflow), Expect::Any);
    Ok(global.write_one(write, Some(guard)).await.map(|_| ())?)
}

/// Keyspace, workflow, and what is kept of its way back.
pub type Known = record::Known<Facts>;

/// The ways back among all that is kept of workflows.
pub fn known(nodes: &[Node]) -> Vec<Known> {
    record::known_of(nodes, paths::of_way_back)
}

/// `keyspace.workflow (way back)` of the records of ways back into a mount; those that cannot be read count, too.
pub fn mounted(nodes: &[Node], mount: &str) -> Vec<String> {
    let uses = |(_, _, facts): &Known| facts.as_ref().map_or(true, |facts| facts.mount == mount);
    let using = known(nodes).into_iter().filter(uses);
    using.map(|(keyspace, workflow, _)| format!("{keyspace}.{workflow} (way back)")).collect()
}

/// A record that is there and cannot be read, and `why`.
fn unreadable(names: (&str, &str), why: &str) -> Error {
    let text = format!("the record of the way back of workflow {}.{} cannot be read: {why}", names.0, names.1);
    let help =
        format!("ask a server of the version that wrote it; if there is none, take it away: {}", forget_command(names));
    Error::Refused { code: Code::DataLoss, reason: Reason::WAY_BACK_UNREAD, text, help }
}

/// True for a way back that a complete opens: one that was prepared, or one that the same complete left half open when it had
/// handed the target over.
pub fn is_opened_by_complete(facts: &Facts, handed_over: bool) -> bool {
    match facts.phase {
        Phase::Prepared | Phase::Noted => !handed_over,
        Phase::Handed => handed_over,
        Phase::Missed | Phase::Open | Phase::Closing | Phase::Returned | Phase::Cancelling => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_opens_what_was_prepared_and_never_notes_positions_after_it_handed_the_target_over() {
        let facts = |phase: &str| -> Facts {
            let text = format!(
                r#"{{"phase":"{phase}","mount":"ext1","source":{{"topo_type":"","server":"","root":""}},"keyspace":"commerce",
                    "tables":["t"],"streams":[["0",[7]]],"back_mount":"m","mount_made":true,"on_ddl":1,
                    "target":{{"topo_type":"","server":"","root":""}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        for (phase, before, after) in [
            ("prepared", true, false),
            ("noted", true, false),
            ("handed", false, true),
            ("missed", false, false),
            ("open", false, false),
            ("closing", false, false),
            ("returned", false, false),
            ("cancelling", false, false),
        ] {
            let facts = facts(phase);
            assert_eq!(
                (is_opened_by_complete(&facts, false), is_opened_by_complete(&facts, true)),
                (before, after),
                "{phase}"
            );
        }
    }

    #[test]
    fn what_a_record_does_not_say_is_nothing() {
        let text = r#"{"phase":"prepared","mount":"ext1","source":{"topo_type":"etcd2","server":"s:1","root":"/r"},
            "keyspace":"commerce","tables":["t"],"streams":[["-80",[3]],["80-",[4]]],"back_mount":"customer.import",
            "mount_made":true,"on_ddl":1,"target":{"topo_type":"etcd2","server":"t:1","root":"/r"}}"#;
        let facts: Facts = serde_json::from_str(text).unwrap();
        assert_eq!((facts.phase, facts.positions.len(), facts.why.as_str()), (Phase::Prepared, 0, ""));
        let again: Facts = text::read(&text::write(&facts).unwrap()).unwrap();
        assert_eq!(again, facts);
        assert_eq!(TopoConfig::from(&facts.target).server, "t:1");
        let streams = |shard: &str, id: i32| vec![(shard.to_owned(), vec![id])];
        assert!(facts.is_for(&streams("80-", 4)) && !facts.is_for(&streams("80-", 3)) && !facts.is_for(&Vec::new()));
        let list = || vec![("0".to_owned(), Vec::new())];
        let (started, denied) =
            (Facts { pairs: list(), ..facts.clone() }, Facts { source_denied: list(), ..facts.clone() });
        assert!(started.is_on("0") && denied.is_on("0") && !started.is_on("-80") && !facts.is_on("0"));
        let node = |path: &str, value: &str| Node {
            path: path.into(),
            value: value.to_owned().into_bytes().into(),
            version: 1,
            created: 1,
        };
        let records = [
            node("internal/vtmigrated/customer/import/WayBack", text),
            node("internal/vtmigrated/customer/import/Record", text),
            node("internal/vtmigrated/customer/other/WayBack", "garbage"),
        ];
        assert_eq!(mounted(&records, "ext1"), ["customer.import (way back)", "customer.other (way back)"]);
        assert_eq!(mounted(&records, "ext2"), ["customer.other (way back)"]);
    }

    #[test]
    fn thousands_of_tables_on_hundreds_of_shards_fit_into_every_topology() {
        let tables: Vec<String> = (0..10_000).map(|number| format!("a_table_of_this_name_{number:05}")).collect();
        let names = (0..250).map(|number| format!("{number:02x}-{:02x}", number + 1));
        let lists: Vec<(String, Vec<String>)> = names.map(|name| (name, tables.clone())).collect();
        let json = serde_json::json!({
            "phase": "noted", "mount": "ext1", "source": Config::default(), "keyspace": "commerce", "tables": tables,
            "back_mount": "customer.import", "target": Config::default(), "mount_made": true, "on_ddl": 1,
            "source_denied": lists, "target_denied": lists,
        });
        let facts: Facts = serde_json::from_value(json).unwrap();
        let bytes = text::write(&facts).unwrap();
        assert!(bytes.len() < 300_000, "{} bytes", bytes.len());
        assert_eq!(text::read::<Facts>(&bytes).unwrap(), facts);
    }
}
