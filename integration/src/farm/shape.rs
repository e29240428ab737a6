//! How large a farm is, and what everything in it is called.

use vtmigrated_proto::vschema::{ColumnVindex, Keyspace, Table, Vindex, keyspace};

/// Sizes of a farm: the same number of keyspaces in the source and in the target.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Shape {
    /// Keyspaces of each cluster
    #[arg(long, default_value_t = 1)]
    pub keyspaces: usize,
    /// Shards of each keyspace of the target
    #[arg(long, default_value_t = 2)]
    pub shards: usize,
    /// Shards of each keyspace of the source; one is an unsharded keyspace. As many as in the target when absent
    #[arg(long)]
    pub source_shards: Option<usize>,
    /// Tables of each source keyspace that no workflow moves yet, and tables of each workflow that is there at start
    #[arg(long, default_value_t = 3)]
    pub tables: usize,
    /// Workflows that each keyspace of the target has at start, with running streams, as stock leaves them
    #[arg(long, default_value_t = 0)]
    pub workflows: usize,
    /// Replicas beside each primary
    #[arg(long, default_value_t = 1)]
    pub replicas: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self { keyspaces: 1, shards: 2, source_shards: None, tables: 3, workflows: 0, replicas: 1 }
    }
}

/// One of the two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Source,
    Target,
}

impl Side {
    /// The cluster's only cell.
    #[must_use]
    pub fn cell(self) -> &'static str {
        match self {
            Self::Source => "zone1",
            Self::Target => "zone2",
        }
    }

    /// The name of a keyspace: `commerce`, `commerce2`, …, and `customer`, `customer2`, ….
    #[must_use]
    pub fn keyspace(self, number: usize) -> String {
        let name = match self {
            Self::Source => "commerce",
            Self::Target => "customer",
        };
        if number == 0 { name.to_owned() } else { format!("{name}{}", number + 1) }
    }
}

impl Shape {
    /// Names of the shards of each keyspace of a side, ascending by key range.
    #[must_use]
    pub fn shards_of(&self, side: Side) -> Vec<String> {
        match side {
            Side::Source => shards(self.source_shards.unwrap_or(self.shards)),
            Side::Target => shards(self.shards),
        }
    }

    /// Tables that no workflow moves at start.
    #[must_use]
    pub fn free_tables(&self) -> Vec<String> {
        (0..self.tables).map(|number| format!("t{number:05}")).collect()
    }

    /// Tables of a workflow that is there at start.
    #[must_use]
    pub fn moved_tables(&self, workflow: usize) -> Vec<String> {
        (0..self.tables).map(|number| format!("w{workflow:03}_t{number:05}")).collect()
    }

    /// All tables of a source keyspace.
    #[must_use]
    pub fn all_tables(&self) -> Vec<String> {
        (0..self.workflows).flat_map(|number| self.moved_tables(number)).chain(self.free_tables()).collect()
    }

    /// Workflows that are there at start.
    #[must_use]
    pub fn moves(&self) -> Vec<String> {
        (0..self.workflows).map(|number| format!("moved{number:03}")).collect()
    }

    /// The vschema of each keyspace of a side: all tables by the hash of their key, or, in an unsharded source, no vindex.
    #[must_use]
    pub fn vschema(&self, side: Side) -> Keyspace {
        let sharded = self.shards_of(side).len() > 1;
        let by_id = ColumnVindex { column: "id".into(), name: "hash".into(), ..ColumnVindex::default() };
        let table = Table { column_vindexes: if sharded { vec![by_id] } else { Vec::new() }, ..Table::default() };
        let hash = Vindex { r#type: "hash".into(), ..Vindex::default() };
        let entry = |key| keyspace::TablesEntry { key, value: Some(table.clone()) };
        let vindexes = vec![keyspace::VindexesEntry { key: "hash".into(), value: Some(hash) }];
        let mut tables = self.all_tables();
        tables.sort();
        Keyspace {
            sharded,
            vindexes: if sharded { vindexes } else { Vec::new() },
            tables: tables.into_iter().map(entry).collect(),
            ..Keyspace::default()
        }
    }
}

/// Equal parts of all keyspace ids: `0` for one, else by bounds of one byte, or two where one is too coarse.
fn shards(count: usize) -> Vec<String> {
    if count <= 1 {
        return vec!["0".to_owned()];
    }
    let bound = |number: usize| {
        if number == 0 || number == count {
            return String::new();
        }
        let text = format!("{:04x}", number * 0x1_0000 / count);
        text.strip_suffix("00").map(str::to_owned).unwrap_or(text)
    };
    (0..count).map(|number| format!("{}-{}", bound(number), bound(number + 1))).collect()
}

#[cfg(test)]
mod tests {
    use vtmigrated::key_range;

    use super::*;

    #[test]
    fn shards_are_equal_parts_of_everything() {
        assert_eq!(shards(1), ["0"]);
        assert_eq!(shards(2), ["-80", "80-"]);
        assert_eq!(shards(4), ["-40", "40-80", "80-c0", "c0-"]);
        assert_eq!(shards(256)[255], "ff-");
        for count in [3, 7, 16, 64, 256, 1000] {
            let ranges: Vec<_> = shards(count).iter().map(|shard| key_range::parse(shard).unwrap()).collect();
            assert_eq!(ranges.len(), count);
            key_range::partition(ranges.iter().map(Some)).unwrap();
        }
    }

    #[test]
    fn each_workflow_has_tables_of_its_own() {
        let shape = Shape { tables: 2, workflows: 2, ..Shape::default() };
        let all = ["w000_t00000", "w000_t00001", "w001_t00000", "w001_t00001", "t00000", "t00001"];
        assert_eq!(shape.all_tables(), all);
        assert_eq!(shape.vschema(Side::Target).tables.len(), 6);
        assert_eq!((Side::Source.keyspace(0), Side::Target.keyspace(2)), ("commerce".into(), "customer3".into()));
    }
}
