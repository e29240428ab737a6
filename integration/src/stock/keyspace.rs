//! A keyspace of real tablets.

use futures::future::try_join_all;
use mysql_async::{Conn, Row};

use super::{
    Cluster, Error,
    vttablet::{Place, Vttablet},
};
use crate::{cluster::Rows, mysqld::Release};

/// A keyspace; its tablets and their MySQL servers end when it is dropped.
#[derive(Debug)]
pub struct Keyspace {
    pub name: String,
    pub shards: Vec<Shard>,
}

/// One shard with its primary.
#[derive(Debug)]
pub struct Shard {
    pub name: String,
    pub tablet: Vttablet,
    db_name: String,
}

/// Makes the keyspace and its shards, starts a tablet for each, and has it elected.
pub(super) async fn start(cluster: &Cluster, release: Release, name: &str, shards: &[&str]) -> Result<Keyspace, Error> {
    cluster.vtctldclient(&["CreateKeyspace", "--durability-policy", "none", name]).await?.expect()?;
    for shard in shards {
        cluster.vtctldclient(&["CreateShard", &format!("{name}/{shard}")]).await?.expect()?;
    }
    let shards = try_join_all(shards.iter().map(|shard| start_shard(cluster, release, name, shard))).await?;
    cluster.vtctldclient(&["RebuildKeyspaceGraph", name]).await?.expect()?;
    Ok(Keyspace { name: name.to_owned(), shards })
}

async fn start_shard(cluster: &Cluster, release: Release, keyspace: &str, name: &str) -> Result<Shard, Error> {
    let tablet = start_tablet(cluster, release, keyspace, name).await?;
    let elect = ["PlannedReparentShard", &format!("{keyspace}/{name}"), "--new-primary", tablet.alias()];
    cluster.vtctldclient(&elect).await?.expect()?;
    Ok(Shard { name: name.to_owned(), tablet, db_name: format!("vt_{keyspace}") })
}

/// Starts one more tablet of a shard: where there is a primary, it replicates from that.
pub(super) async fn start_tablet(
    cluster: &Cluster,
    release: Release,
    keyspace: &str,
    shard: &str,
) -> Result<Vttablet, Error> {
    let topology = cluster.etcd().address();
    let place = Place {
        generation: cluster.generation(),
        flags: cluster.tablet_flags(),
        cell: cluster.cell(),
        topology: &topology,
        keyspace,
        shard,
        uid: cluster.uid(),
    };
    Vttablet::start(release, &place).await
}

impl Keyspace {
    /// A shard by its name.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn shard(&self, name: &str) -> Result<&Shard, Error> {
        let found = self.shards.iter().find(|shard| shard.name == name);
        found.ok_or_else(|| Error::NoShard { keyspace: self.name.clone(), shard: name.to_owned() })
    }

    /// Runs statements on the database of every shard, past the tablets.
    ///
    /// # Errors
    /// MySQL's.
    pub async fn run(&self, sql: &str) -> Result<(), Error> {
        try_join_all(self.shards.iter().map(|shard| shard.run(sql))).await.map(drop)
    }

    /// All rows of a table on all shards, sorted.
    ///
    /// # Errors
    /// MySQL's, or the shards do not agree on the columns.
    pub async fn table(&self, table: &str) -> Result<Rows, Error> {
        let mut connections = Vec::new();
        for shard in &self.shards {
            connections.push(shard.connect().await?);
        }
        Ok(Rows::read(connections, table).await?)
    }
}

impl Shard {
    /// A connection to the shard's database, past the tablet.
    ///
    /// # Errors
    /// MySQL's.
    pub async fn connect(&self) -> Result<Conn, Error> {
        Ok(self.tablet.mysqld().connect(&self.db_name).await?)
    }

    /// Runs statements on the shard's database, past the tablet.
    ///
    /// # Errors
    /// MySQL's.
    pub async fn run(&self, sql: &str) -> Result<(), Error> {
        Ok(self.tablet.mysqld().run(&self.db_name, sql).await?)
    }

    /// Runs one query on the shard's database, past the tablet.
    ///
    /// # Errors
    /// MySQL's.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Row>, Error> {
        Ok(self.tablet.mysqld().rows(&self.db_name, sql).await?)
    }
}
