//! A Vitess cluster of one cell: etcd, a MySQL server, and tablets on databases of that server.

mod builder;
pub mod member;
mod rows;
mod snapshot;
pub mod topology;

use std::collections::BTreeMap;

use mysql_async::{Conn, Opts, prelude::Queryable};
use vtmigrated_proto::topodata::TabletAlias;

use crate::{
    etcd::{self, Etcd},
    mysqld::{self, Mysqld},
    process,
};
use member::Member;

pub use builder::Builder;
pub use rows::{Difference, Rows};
pub use snapshot::Snapshot;

/// Why a cluster could not be started, asked, or why it is not as a test expects it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Etcd(#[from] etcd::Error),
    #[error("etcd: {0}")]
    EtcdClient(#[from] etcd_client::Error),
    #[error(transparent)]
    Mysqld(#[from] mysqld::Error),
    #[error("MySQL: {0}")]
    Sql(#[from] mysql_async::Error),
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("{0} is not a shard")]
    Shard(String),
    #[error("bad VSchema: {0}")]
    VSchema(String),
    #[error("this cluster has no shard {keyspace}/{shard}")]
    NoShard { keyspace: String, shard: String },
    #[error("this cluster was started without tablets")]
    NoTablets,
    #[error(transparent)]
    Tablet(#[from] integration_tablet::Error),
    #[error("tablet: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("tablet: {0}")]
    Status(#[from] Box<tonic::Status>),
    #[error("the columns differ: {left:?} and {right:?}")]
    Columns { left: Vec<String>, right: Vec<String> },
    #[error("the rows differ: {0}")]
    Rows(Difference),
    #[error("locks are left in the topology: {0:?}")]
    Locks(Vec<String>),
}

/// A running cluster. Everything that it started ends with it; [`Cluster::finish`] also looks for what must not be left.
pub struct Cluster {
    cell: String,
    shards: BTreeMap<(String, String), Shard>,
    mysqld: Option<Mysqld>,
    etcd: Etcd,
}

/// One shard: a database of the cluster's MySQL server and its tablets.
pub struct Shard {
    pub keyspace: String,
    pub name: String,
    /// The primary.
    pub alias: TabletAlias,
    /// `vt_<keyspace>_<number of the shard>`.
    pub db_name: String,
    opts: Option<Opts>,
    /// The primary first.
    tablets: Vec<Member>,
}

impl Cluster {
    /// A cluster of one cell, without keyspaces yet.
    #[allow(clippy::new_ret_no_self, reason = "reads as the sentence that a test begins with")]
    #[must_use]
    pub fn new(cell: &str) -> Builder {
        Builder::new(cell)
    }

    /// The cluster's etcd, which keeps the global topology and the cell's.
    #[must_use]
    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// The flags of a vtctld of this cluster.
    #[must_use]
    pub fn topo_flags(&self) -> Vec<String> {
        vec![
            "--topo_implementation=etcd2".to_owned(),
            format!("--topo_global_server_address={}", self.etcd.address()),
            format!("--topo_global_root={}", topology::GLOBAL_ROOT),
            format!("--cell={}", self.cell),
        ]
    }

    /// The cell's name.
    #[must_use]
    pub fn cell(&self) -> &str {
        &self.cell
    }

    /// Replaces a keyspace's VSchema, given in the JSON of `ApplyVSchema --vschema`, and the cell's SrvVSchema.
    ///
    /// # Errors
    /// The text is not a VSchema, or etcd's.
    pub async fn put_vschema(&self, keyspace: &str, json: &str) -> Result<(), Error> {
        let mut client = self.etcd.connect().await?;
        topology::write_vschema(&mut client, keyspace, json).await?;
        topology::write_serving_vschema(&mut client, &self.cell).await
    }

    /// Everything that the cluster keeps: topology, tables with their rows, and the tablets' own databases.
    ///
    /// # Errors
    /// Those of etcd and MySQL.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        snapshot::take(self).await
    }

    /// The MySQL server that all shards are on.
    ///
    /// # Errors
    /// The cluster was started without tablets.
    pub fn mysqld(&self) -> Result<&Mysqld, Error> {
        self.mysqld.as_ref().ok_or(Error::NoTablets)
    }

    /// A shard by its keyspace and name.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn shard(&self, keyspace: &str, shard: &str) -> Result<&Shard, Error> {
        let key = (keyspace.to_owned(), shard.to_owned());
        self.shards.get(&key).ok_or(Error::NoShard { keyspace: key.0, shard: key.1 })
    }

    /// The shards of a keyspace, by name.
    #[must_use]
    pub fn shards(&self, keyspace: &str) -> Vec<&Shard> {
        self.shards.values().filter(|shard| shard.keyspace == keyspace).collect()
    }

    /// Runs statements on every shard of a keyspace, past the tablets.
    ///
    /// # Errors
    /// MySQL's.
    pub async fn run(&self, keyspace: &str, sql: &str) -> Result<(), Error> {
        for shard in self.shards(keyspace) {
            shard.run(sql).await?;
        }
        Ok(())
    }

    /// All rows of a table on all shards of a keyspace, sorted.
    ///
    /// # Errors
    /// MySQL's, or the shards do not agree on the columns.
    pub async fn table(&self, keyspace: &str, table: &str) -> Result<Rows, Error> {
        rows::fetch(&self.shards(keyspace), table).await
    }

    /// The primary tablet of a shard.
    ///
    /// # Errors
    /// There is no such shard, or the cluster was started without tablets.
    pub fn primary(&self, keyspace: &str, shard: &str) -> Result<&Member, Error> {
        self.shard(keyspace, shard)?.tablets().first().ok_or(Error::NoTablets)
    }

    /// Ends the cluster and checks that no lock is left in its topology.
    ///
    /// # Errors
    /// A lock is left, or something could not be ended.
    pub async fn finish(self) -> Result<(), Error> {
        for tablet in self.shards.values().flat_map(Shard::tablets) {
            tablet.stop().await?;
        }
        let locks = self.etcd.locks().await?;
        if locks.is_empty() { Ok(()) } else { Err(Error::Locks(locks)) }
    }
}

impl Shard {
    /// The tablets, the primary first; none if the cluster was started without.
    #[must_use]
    pub fn tablets(&self) -> &[Member] {
        &self.tablets
    }

    /// A connection to the shard's database, past the tablet.
    ///
    /// # Errors
    /// MySQL's; the cluster was started without tablets.
    pub async fn connect(&self) -> Result<Conn, Error> {
        Ok(Conn::new(self.opts.clone().ok_or(Error::NoTablets)?).await?)
    }

    /// All rows of a table on this shard, sorted.
    ///
    /// # Errors
    /// MySQL's.
    pub async fn table(&self, table: &str) -> Result<Rows, Error> {
        rows::fetch(&[self], table).await
    }

    /// Runs `sql`, which may be several statements, on the shard's database, past the tablet.
    ///
    /// # Errors
    /// MySQL's.
    pub async fn run(&self, sql: &str) -> Result<(), Error> {
        let mut conn = self.connect().await?;
        conn.query_drop(sql).await?;
        Ok(conn.disconnect().await?)
    }
}
