//! Keys of the records, relative to a root (behaviour of Vitess 22.0.3).
//!
//! A name in a key is one part of it, whoever gave the name. The functions here leave an empty part where a name is none, and
//! [`check`], which every connection asks about every path, refuses such a path.

use std::borrow::Cow;

use vtmigrated_proto::topodata::TabletAlias;

use super::{Error, Result};

pub const CELLS: &str = "cells";
pub const CELLS_ALIASES: &str = "cells_aliases";
pub const KEYSPACES: &str = "keyspaces";
pub const TABLETS: &str = "tablets";
pub const EXTERNAL_CLUSTERS: &str = "ExternalClusters/vitess";
pub const ROUTING_RULES: &str = "RoutingRules";
pub const SHARD_ROUTING_RULES: &str = "ShardRoutingRules";
pub const KEYSPACE_ROUTING_RULES: &str = "routing_rules/keyspace/Rules";
/// Directory of the lock that serializes changes of the keyspace routing rules.
pub const ROUTING_RULES_DIR: &str = "routing_rules";
pub const MIRROR_RULES: &str = "MirrorRules";
/// Directory of the locks of single workflows.
pub const NAMED_LOCKS: &str = "internal/named_locks";
/// Directory of the recovery facts of workflows made by this program.
pub const WORKFLOW_RECORDS: &str = "internal/vtmigrated";
pub const SRV_VSCHEMA: &str = "SrvVSchema";

pub fn cell_info(cell: &str) -> String {
    format!("{CELLS}/{}/CellInfo", part(cell))
}

pub fn cells_alias(alias: &str) -> String {
    format!("{CELLS_ALIASES}/{}/CellsAlias", part(alias))
}

pub fn keyspace_dir(keyspace: &str) -> String {
    format!("{KEYSPACES}/{}", part(keyspace))
}

pub fn keyspace(keyspace: &str) -> String {
    format!("{}/Keyspace", keyspace_dir(keyspace))
}

pub fn vschema(keyspace: &str) -> String {
    format!("{}/VSchema", keyspace_dir(keyspace))
}

pub fn shards_dir(keyspace: &str) -> String {
    format!("{}/shards", keyspace_dir(keyspace))
}

pub fn shard_dir(keyspace: &str, shard: &str) -> String {
    format!("{}/{}", shards_dir(keyspace), part(shard))
}

pub fn shard(keyspace: &str, shard: &str) -> String {
    format!("{}/Shard", shard_dir(keyspace, shard))
}

pub fn shard_replication(keyspace: &str, shard: &str) -> String {
    format!("{}/ShardReplication", shard_dir(keyspace, shard))
}

pub fn srv_keyspace(keyspace: &str) -> String {
    format!("{}/SrvKeyspace", keyspace_dir(keyspace))
}

pub fn external_cluster(name: &str) -> String {
    format!("{EXTERNAL_CLUSTERS}/{}", part(name))
}

pub fn tablet(alias: &TabletAlias) -> String {
    format!("{TABLETS}/{}/Tablet", part(&alias_text(alias)))
}

/// Directory of the lock that serializes changes of one workflow.
pub fn workflow_lock(keyspace: &str, workflow: &str) -> String {
    format!("{NAMED_LOCKS}/{}/{}", part(keyspace), part(workflow))
}

/// Recovery facts of a workflow made by this program.
pub fn workflow_record(keyspace: &str, workflow: &str) -> String {
    format!("{}/{}/Record", workflow_records(keyspace), part(workflow))
}

/// What the way back of a workflow has done.
pub fn way_back(keyspace: &str, workflow: &str) -> String {
    format!("{}/{}/WayBack", workflow_records(keyspace), part(workflow))
}

/// Keyspace and workflow of the path of recovery facts; `None` for other paths.
pub fn of_workflow_record(path: &str) -> Option<(&str, &str)> {
    of_workflow(path, "/Record")
}

/// The same of the path of a way back.
pub fn of_way_back(path: &str) -> Option<(&str, &str)> {
    of_workflow(path, "/WayBack")
}

fn of_workflow<'p>(path: &'p str, last: &str) -> Option<(&'p str, &'p str)> {
    path.strip_prefix(WORKFLOW_RECORDS)?.strip_prefix('/')?.strip_suffix(last)?.split_once('/')
}

/// Directory of all workflow records of a keyspace.
pub fn workflow_records(keyspace: &str) -> String {
    format!("{WORKFLOW_RECORDS}/{}", part(keyspace))
}

/// `<cell>-<uid, ten digits>`.
pub fn alias_text(alias: &TabletAlias) -> String {
    format!("{}-{:010}", alias.cell, alias.uid)
}

/// A name as one part of a path. A `/` in it is doubled, which no path may hold.
fn part(name: &str) -> Cow<'_, str> {
    if name.contains('/') { Cow::Owned(name.replace('/', "//")) } else { Cow::Borrowed(name) }
}

/// Checks a path below a root: parts between single slashes, none of them empty, `.` or `..`. The empty path is the root.
///
/// # Errors
/// [`Error::BadName`].
pub fn check(path: &str) -> Result<()> {
    let is_name = |part: &str| !matches!(part, "" | "." | "..");
    if path.is_empty() || path.split('/').all(is_name) {
        return Ok(());
    }
    let shown: String = path.replace("//", "/").chars().filter(|c| !c.is_control()).take(256).collect();
    Err(Error::BadName(format!("a name cannot be empty, '.' or '..', or hold a '/': {shown}")))
}

/// Joins a root and a relative path like a POSIX path join: duplicate slashes collapse, `.` and `..` resolve.
pub fn join(root: &str, path: &str) -> String {
    let mut joined = String::with_capacity(root.len() + path.len() + 2);
    if root.starts_with('/') {
        joined.push('/');
    }
    let start = joined.len();
    for part in root.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                let last = joined.get(start..).and_then(|parts| parts.rfind('/'));
                joined.truncate(start + last.unwrap_or_default());
            }
            other => {
                if joined.len() > start {
                    joined.push('/');
                }
                joined.push_str(other);
            }
        }
    }
    joined
}

/// Checks a keyspace, shard or cell name as stock does: 1 to 64 bytes of letters, digits, `-`, `_`.
///
/// # Errors
/// [`Error::BadName`] with stock's text.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::BadName("empty name".into()));
    }
    if name.len() > 64 {
        let head: String = name.chars().take(64).collect();
        return Err(Error::BadName(format!("name {head} is too long")));
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
        Some(c) => Err(Error::BadName(format!("invalid character {c} in name {name}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    #[test]
    fn joins_like_a_path() {
        assert_eq!(join("/vitess/global", "keyspaces/a"), "/vitess/global/keyspaces/a");
        assert_eq!(join("/vitess//global/", "/a/../b/./c"), "/vitess/global/b/c");
        assert_eq!(join("vitess/global", "a"), "vitess/global/a");
        assert_eq!(join("/", ""), "/");
        assert_eq!(join("/a", "../../b"), "/b");
        assert_eq!(join("a/b", ".."), "a");
        assert_eq!(join("a", "../.."), "");
    }

    #[test]
    fn names_are_checked_with_stock_texts() {
        assert!(check_name("commerce-1_A").is_ok());
        assert_eq!(check_name("").unwrap_err().to_string(), "empty name");
        assert_eq!(check_name("bad.name").unwrap_err().to_string(), "invalid character . in name bad.name");
        assert!(check_name(&"x".repeat(65)).unwrap_err().to_string().ends_with(" is too long"));
        assert!(check_name("a/b").is_err());
    }

    #[test]
    fn what_is_no_name_makes_no_path() {
        let hostile = ["", ".", "..", "/", "a/b", "../x", "../../keyspaces/victim", "a/", "/a", "a//b"];
        let alias = |cell: &str| TabletAlias { cell: cell.into(), uid: 1 };
        for name in hostile {
            let mut paths = vec![
                cell_info(name),
                cells_alias(name),
                keyspace_dir(name),
                keyspace(name),
                vschema(name),
                shards_dir(name),
                shard_dir(name, "0"),
                shard_dir("ks", name),
                shard(name, "0"),
                shard("ks", name),
                shard_replication(name, "0"),
                shard_replication("ks", name),
                srv_keyspace(name),
                external_cluster(name),
                workflow_lock(name, "wf"),
                workflow_lock("ks", name),
                workflow_record(name, "wf"),
                workflow_record("ks", name),
                workflow_records(name),
                way_back(name, "wf"),
                way_back("ks", name),
            ];
            // a cell is a part of its tablets' names
            paths.extend(name.contains('/').then(|| tablet(&alias(name))));
            for path in paths {
                assert_eq!(check(&path).unwrap_err().reason(), "BAD_NAME", "{name} {path}");
            }
        }
        for good in ["", "RoutingRules", KEYSPACE_ROUTING_RULES, &shard("ks.1", "-80"), &tablet(&alias("z"))] {
            check(good).unwrap();
        }
    }

    #[test]
    fn aliases_carry_ten_digits() {
        assert_eq!(alias_text(&TabletAlias { cell: "zone1".into(), uid: 100 }), "zone1-0000000100");
    }
}
