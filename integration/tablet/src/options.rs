//! What one tablet is told at its start.

use vtmigrated_proto::topodata;

use super::generation::Generation;

/// Identity of a tablet, its MySQL server and its topology. Several tablets may share one MySQL server when their
/// `db_name` and `sidecar_db` differ.
#[derive(Clone, Debug)]
pub struct Options {
    pub cell: String,
    pub uid: u32,
    pub keyspace: String,
    pub shard: String,
    /// `None` for an unsharded keyspace.
    pub key_range: Option<topodata::KeyRange>,
    pub db_name: String,
    pub sidecar_db: String,
    pub mysql_port: u16,
    /// Has no password; connections go over TCP to 127.0.0.1.
    pub mysql_user: String,
    /// Written into the tablet's record, with the gRPC port.
    pub hostname: String,
    /// The type the tablet starts as.
    pub tablet_type: topodata::TabletType,
    pub topo_global_server: String,
    pub topo_global_root: String,
    pub generation: Generation,
    /// True for a replica on the very database of its primary: it has everything at once, without MySQL's replication.
    pub in_step: bool,
}

impl Options {
    /// A primary of `keyspace/shard` in `cell`, with `vt_<keyspace>`, `_vt`, root on 127.0.0.1 and etcd's root
    /// `/vitess/global` as stock's scripts have them.
    #[must_use]
    pub fn new(cell: &str, uid: u32, keyspace: &str, shard: &str, mysql_port: u16) -> Self {
        Self {
            cell: cell.to_owned(),
            uid,
            keyspace: keyspace.to_owned(),
            shard: shard.to_owned(),
            key_range: None,
            db_name: format!("vt_{keyspace}"),
            sidecar_db: "_vt".to_owned(),
            mysql_port,
            mysql_user: "root".to_owned(),
            hostname: "127.0.0.1".to_owned(),
            tablet_type: topodata::TabletType::Primary,
            topo_global_server: "127.0.0.1:2379".to_owned(),
            topo_global_root: "/vitess/global".to_owned(),
            generation: Generation::default(),
            in_step: false,
        }
    }

    #[must_use]
    pub fn alias(&self) -> topodata::TabletAlias {
        topodata::TabletAlias { cell: self.cell.clone(), uid: self.uid }
    }

    /// The alias as Vitess writes it, `zone1-0000000100`.
    #[must_use]
    pub fn alias_text(&self) -> String {
        format!("{}-{:010}", self.cell, self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_text_pads_the_uid_to_ten_digits() {
        assert_eq!(Options::new("zone1", 100, "commerce", "0", 3306).alias_text(), "zone1-0000000100");
    }
}
