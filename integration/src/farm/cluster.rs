//! One of a farm's two clusters.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinHandle};
use tonic::transport::{Server, server::TcpIncoming};
use vtmigrated_proto::topodata::{TabletAlias, TabletType};

use super::{
    Error, Settings,
    calls::Calls,
    contents::Names,
    plan, position,
    records::Records,
    shape::Side,
    tablet::{Seat, Tablet},
    wire::Serving,
};
use crate::{cluster::topology::GLOBAL_ROOT, etcd::Etcd, proxy::Proxy};

/// An etcd with the records of light tablets, and these tablets.
pub struct Cluster {
    side: Side,
    etcd: Etcd,
    /// What delays the topology, if it is to be delayed.
    proxy: Option<Proxy>,
    pub(super) records: Records,
    pub(super) tablets: Vec<Arc<Tablet>>,
    serving: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Starts etcd and all tablets of one side.
    pub(super) async fn start(
        side: Side,
        settings: &Settings,
        names: &Arc<Names>,
        calls: &Arc<Calls>,
    ) -> Result<Self, Error> {
        let etcd = Etcd::start().await?;
        let address = etcd.address().parse().map_err(std::io::Error::other)?;
        let proxy = if settings.slow_topology { Some(Proxy::start(address).await?) } else { None };
        let records = Records::open(side, &topology(&etcd, proxy.as_ref())).await?;
        let mut cluster = Self { side, etcd, proxy, records, tablets: Vec::new(), serving: Vec::new() };
        let mut uid = 100;
        for number in 0..settings.shape.keyspaces {
            let keyspace = side.keyspace(number);
            cluster.records.keyspace(&settings.shape, &keyspace).await?;
            let mut seats = Vec::new();
            for shard in settings.shape.shards_of(side) {
                let contents = plan::contents(settings, side, number, &shard, names);
                let contents = Arc::new(Mutex::new(contents));
                for replica in 0..=settings.shape.replicas {
                    let seat = cluster.seat(uid, &keyspace, &shard, replica);
                    let port = cluster.serve(Tablet::new(seat.clone(), &contents, calls)).await?;
                    seats.push((seat, port));
                    uid += 1;
                }
            }
            cluster.records.tablets(&seats).await?;
        }
        cluster.records.serving().await?;
        Ok(cluster)
    }

    /// Where the topology is: `host:port`.
    #[must_use]
    pub fn topology(&self) -> String {
        topology(&self.etcd, self.proxy.as_ref())
    }

    /// The etcd behind it.
    #[must_use]
    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// The flags of a vtctld of this cluster, in the spelling that ours and older ones of stock take.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        vec![
            "--topo_implementation=etcd2".to_owned(),
            format!("--topo_global_server_address={}", self.topology()),
            format!("--topo_global_root={GLOBAL_ROOT}"),
            format!("--cell={}", self.side.cell()),
        ]
    }

    /// From now on each operation of the topology takes so long, and the little it takes anyway. Answers whether it can be
    /// delayed.
    pub fn delay_topology(&self, delay: Duration) -> bool {
        if let Some(proxy) = &self.proxy {
            proxy.delay(delay / 2, delay / 2);
        }
        self.proxy.is_some()
    }

    /// All shards lose their tables.
    pub fn drop_tables(&self) {
        for tablet in &self.tablets {
            tablet.on(|contents, _| contents.tables.clear());
        }
    }

    /// The tables of all shards lose their rows.
    pub fn empty_tables(&self) {
        for tablet in &self.tablets {
            tablet.on(|contents, _| contents.tables.values_mut().for_each(|rows| *rows = 0));
        }
    }

    fn seat(&self, uid: u32, keyspace: &str, shard: &str, replica: u32) -> Seat {
        Seat {
            alias: TabletAlias { cell: self.side.cell().to_owned(), uid },
            keyspace: keyspace.to_owned(),
            shard: shard.to_owned(),
            kind: if replica == 0 { TabletType::Primary } else { TabletType::Replica },
            position: position(keyspace, shard),
        }
    }

    /// Answers the tablet's port.
    async fn serve(&mut self, tablet: Tablet) -> Result<u16, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let tablet = Arc::new(tablet);
        self.tablets.push(Arc::clone(&tablet));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        self.serving.push(tokio::spawn(async move {
            if let Err(error) = Server::builder().serve_with_incoming(Serving(tablet), incoming).await {
                tracing::warn!("a light tablet ended: {error}");
            }
        }));
        Ok(port)
    }
}

fn topology(etcd: &Etcd, proxy: Option<&Proxy>) -> String {
    proxy.map_or_else(|| etcd.address(), |proxy| proxy.address().to_string())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}
