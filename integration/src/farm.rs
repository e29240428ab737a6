//! Many light tablets in this process: they answer what a Migrate asks of them from memory, each call after a set delay,
//! over a topology whose operations take as long. For counting round trips, not for moving rows.

mod tablet;

use std::{io, sync::Arc, time::Duration};

use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::transport::{Server, server::TcpIncoming};
use vtmigrated_proto::{
    tabletmanagerservice::tablet_manager_server::TabletManagerServer,
    topodata::{CellInfo, ShardReplication, Tablet, TabletAlias, TabletType, shard_replication::Node},
};

use crate::{
    cluster::{self, Builder, Cluster, topology::GLOBAL_ROOT},
    proxy::Proxy,
};
use tablet::Light;

/// Why a farm could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Etcd(#[from] crate::etcd::Error),
    #[error("etcd: {0}")]
    Client(#[from] etcd_client::Error),
    #[error("farm: {0}")]
    Io(#[from] io::Error),
}

/// A cluster of records with a light primary and a light replica for each shard of one keyspace.
pub struct Farm {
    cell: String,
    cluster: Cluster,
    topology: Proxy,
    tablets: Vec<Arc<Light>>,
    serving: Vec<JoinHandle<Result<(), tonic::transport::Error>>>,
}

impl Farm {
    /// Starts the records of `cluster`, which has the keyspace with these shards, and its tablets; `tables` are there.
    /// Nothing is delayed yet.
    ///
    /// # Errors
    /// etcd does not come up, or no port is free.
    pub async fn start(
        cluster: Builder,
        cell: &str,
        keyspace: &str,
        shards: &[&str],
        tables: &[String],
    ) -> Result<Self, Error> {
        let cluster = cluster.without_tablets().start().await?;
        let address = cluster.etcd().address().parse().map_err(io::Error::other)?;
        let topology = Proxy::start(address).await?;
        let mut farm = Self { cell: cell.to_owned(), cluster, topology, tablets: Vec::new(), serving: Vec::new() };
        let info = CellInfo { server_address: farm.topology.address().to_string(), root: format!("/vitess/{cell}") };
        farm.put(format!("{GLOBAL_ROOT}/cells/{cell}/CellInfo"), &info).await?;
        for shard in shards {
            farm.start_shard(keyspace, shard, tables).await?;
        }
        Ok(farm)
    }

    /// Where the topology is, through what delays it.
    #[must_use]
    pub fn topology(&self) -> String {
        self.topology.address().to_string()
    }

    /// The flags of a vtctld of this cluster.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        vec![
            "--topo_implementation=etcd2".to_owned(),
            format!("--topo_global_server_address={}", self.topology()),
            format!("--topo_global_root={GLOBAL_ROOT}"),
            format!("--cell={}", self.cell),
        ]
    }

    /// From now on each operation of the topology and each tablet call takes so long, and the little it takes anyway.
    pub fn delay(&self, delay: Duration) {
        self.topology.delay(delay / 2, delay / 2);
        for tablet in &self.tablets {
            tablet.delay(delay);
        }
    }

    /// The tablets have no tables any more.
    pub fn drop_tables(&self) {
        for tablet in &self.tablets {
            tablet.drop_tables();
        }
    }

    /// Ends the tablets and checks that no lock is left.
    ///
    /// # Errors
    /// A lock is left.
    pub async fn finish(self) -> Result<(), Error> {
        for task in &self.serving {
            task.abort();
        }
        Ok(self.cluster.finish().await?)
    }

    async fn start_shard(&mut self, keyspace: &str, shard: &str, tables: &[String]) -> Result<(), Error> {
        let primary = self.cluster.shard(keyspace, shard)?.alias.clone();
        let replica = TabletAlias { uid: primary.uid + 1, ..primary.clone() };
        let mut nodes = Vec::new();
        for (alias, kind) in [(primary, TabletType::Primary), (replica, TabletType::Replica)] {
            let light = Arc::new(Light::new(keyspace, tables));
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let port = listener.local_addr()?.port();
            let router = Server::builder().add_service(TabletManagerServer::from_arc(Arc::clone(&light)));
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            self.serving.push(tokio::spawn(router.serve_with_incoming(incoming)));
            self.tablets.push(light);
            let record = Tablet {
                alias: Some(alias.clone()),
                hostname: "127.0.0.1".to_owned(),
                port_map: [("grpc".to_owned(), i32::from(port))].into(),
                keyspace: keyspace.to_owned(),
                shard: shard.to_owned(),
                r#type: kind.into(),
                ..Tablet::default()
            };
            let name = format!("{}-{:010}", alias.cell, alias.uid);
            self.put(format!("/vitess/{}/tablets/{name}/Tablet", self.cell), &record).await?;
            nodes.push(Node { tablet_alias: Some(alias) });
        }
        let key = format!("/vitess/{}/keyspaces/{keyspace}/shards/{shard}/ShardReplication", self.cell);
        self.put(key, &ShardReplication { nodes }).await
    }

    async fn put(&self, key: String, record: &impl Message) -> Result<(), Error> {
        self.cluster.etcd().connect().await?.put(key, record.encode_to_vec(), None).await?;
        Ok(())
    }
}
