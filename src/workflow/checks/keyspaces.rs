//! Whether keyspaces can be worked with: primaries, and that source and target are not the same.

use crate::error::check;
use crate::tablet;
use crate::workflow::findings::Finding;
use crate::workflow::streams::{Keyspace, TargetShard};

/// Serving shards without a primary that can be asked.
pub fn without_primary(keyspace: &Keyspace) -> Vec<Finding> {
    let missing = |shard: &TargetShard| {
        let error = shard.primary().err()?;
        Some(Finding::of(&error, format!("shard {}/{}", keyspace.name, shard.name)))
    };
    keyspace.shards.iter().filter_map(missing).collect()
}

/// Source and target are the same when a primary of one is that of the other: address and alias.
pub fn same_keyspace(source: &Keyspace, target: &Keyspace) -> Option<Finding> {
    let primaries = |keyspace: &Keyspace| -> Vec<(String, String)> {
        let primaries = keyspace.shards.iter().filter_map(|shard| shard.primary.as_ref());
        primaries.map(|tablet| (tablet::alias(tablet), tablet::address(tablet))).collect()
    };
    let of_source = primaries(source);
    let (alias, _) = primaries(target).into_iter().find(|primary| of_source.contains(primary))?;
    let cause = format!(
        "source and target are the same keyspace {} of the same cluster: both have the primary {alias}",
        target.name
    );
    let fix = "name another target keyspace, or mount the cluster that the rows are to come from: Mount register";
    Some(Finding::new(&check::SAME_KEYSPACE, format!("keyspace {}", target.name), cause, fix))
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::topodata::{Shard, Tablet, TabletAlias};

    use super::*;
    use crate::topo::{Cells, Record};

    fn keyspace(name: &str, port: Option<i32>) -> Keyspace {
        let alias = TabletAlias { cell: "zone1".into(), uid: 100 };
        let tablet = port.map(|port| Tablet {
            alias: Some(alias.clone()),
            hostname: "127.0.0.1".into(),
            port_map: [("grpc".to_owned(), port)].into(),
            ..Tablet::default()
        });
        let value = Shard { primary_alias: Some(alias), ..Shard::default() };
        let record = Record {
            path: format!("keyspaces/{name}/shards/0/Shard"),
            value,
            raw: Vec::new().into(),
            version: 1,
            created: 1,
        };
        let missing = "/vitess/zone1/tablets/zone1-0000000100/Tablet".to_owned();
        let shard = TargetShard { name: "0".into(), record, primary: tablet, missing, unread: None };
        Keyspace { name: name.into(), cells: Cells::default(), shards: vec![shard], silent: Vec::new() }
    }

    #[test]
    fn the_same_primary_is_the_same_keyspace() {
        let found = same_keyspace(&keyspace("commerce", Some(1)), &keyspace("commerce", Some(1))).unwrap();
        assert_eq!(found.id, "SAME_KEYSPACE");
        // other clusters often have the same names, cells and numbers
        assert_eq!(same_keyspace(&keyspace("commerce", Some(1)), &keyspace("commerce", Some(2))), None);
    }

    #[test]
    fn shards_without_primary_are_told() {
        assert!(without_primary(&keyspace("customer", Some(1))).is_empty());
        let mut lost = keyspace("customer", None);
        let found = without_primary(&lost);
        assert_eq!(
            (found[0].id.as_str(), found[0].code),
            ("PRIMARY_WITHOUT_RECORD", crate::error::Code::FailedPrecondition)
        );
        assert!(
            found[0].cause.starts_with("node doesn't exist: /vitess/zone1/tablets/zone1-0000000100/Tablet"),
            "{found:?}"
        );
        lost.shards[0].record.value.primary_alias = None;
        assert_eq!(without_primary(&lost)[0].cause, "shard has no primary: 0");
    }
}
