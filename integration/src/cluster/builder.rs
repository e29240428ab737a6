//! What a cluster will consist of, and its start.

use std::collections::BTreeMap;

use vtmigrated_proto::topodata::TabletAlias;

use super::{Cluster, Error, Shard, topology};
use crate::{etcd::Etcd, mysqld::Mysqld};

/// What a cluster will consist of.
#[derive(Clone, Debug)]
pub struct Builder {
    cell: String,
    keyspaces: Vec<(String, Vec<String>)>,
    first_uid: u32,
    tablets: bool,
}

impl Builder {
    pub(super) fn new(cell: &str) -> Self {
        Self { cell: cell.to_owned(), keyspaces: Vec::new(), first_uid: 100, tablets: true }
    }

    /// Adds a keyspace with its shards: `&["0"]`, `&["-80", "80-"]`.
    #[must_use]
    pub fn keyspace(mut self, name: &str, shards: &[&str]) -> Self {
        self.keyspaces.push((name.to_owned(), shards.iter().map(|shard| (*shard).to_owned()).collect()));
        self
    }

    /// Numbers the tablets from `uid` instead of 100.
    #[must_use]
    pub fn first_uid(mut self, uid: u32) -> Self {
        self.first_uid = uid;
        self
    }

    /// Leaves out MySQL and the tablets: records only.
    #[must_use]
    pub fn without_tablets(mut self) -> Self {
        self.tablets = false;
        self
    }

    /// Starts everything and waits until it serves.
    ///
    /// # Errors
    /// A program or a tablet does not come up, or a shard's name is not one.
    pub async fn start(self) -> Result<Cluster, Error> {
        let etcd = Etcd::start().await?;
        let mysqld = if self.tablets { Some(Mysqld::start().await?) } else { None };
        let mut client = etcd.connect().await?;
        topology::write_cell(&mut client, &self.cell, &etcd.address()).await?;
        let mut shards = BTreeMap::new();
        let mut uid = self.first_uid;
        for (keyspace, names) in &self.keyspaces {
            topology::write_keyspace(&mut client, &self.cell, keyspace, names).await?;
            for (number, name) in names.iter().enumerate() {
                let alias = TabletAlias { cell: self.cell.clone(), uid };
                topology::write_shard(&mut client, keyspace, name, alias.clone()).await?;
                let db_name = format!("vt_{keyspace}_{number}");
                if let Some(server) = &mysqld {
                    server.run("", &format!("CREATE DATABASE `{db_name}`")).await?;
                }
                let opts = mysqld.as_ref().map(|server| server.opts(&db_name));
                let shard = Shard { keyspace: keyspace.clone(), name: name.clone(), alias, db_name, opts };
                shards.insert((keyspace.clone(), name.clone()), shard);
                uid += 10;
            }
        }
        Ok(Cluster { cell: self.cell, shards, mysqld, etcd })
    }
}
