//! One of a farm's two clusters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinHandle};
use tonic::transport::{Server, server::TcpIncoming};
use vtmigrated_proto::topodata::{TabletAlias, TabletType};

use super::{
    Error, Settings,
    calls::Calls,
    contents::{Behind, Names},
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
    /// What delays the topology, before each of its members, if it is to be delayed.
    proxies: Vec<Proxy>,
    pub(super) records: Records,
    tablets: Vec<Arc<Tablet>>,
    /// What can cut a tablet off, if it is to be cut off.
    pub(super) links: Vec<(Arc<Tablet>, Proxy)>,
    linked: bool,
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
        let etcd = match side {
            Side::Source => Etcd::start().await?,
            Side::Target => Etcd::start_members(settings.members).await?,
        };
        let mut proxies = Vec::new();
        for address in etcd.addresses().iter().filter(|_| settings.slow_topology) {
            proxies.push(Proxy::start(address.parse().map_err(std::io::Error::other)?).await?);
        }
        let records = Records::open(side, &topology(&etcd, &proxies)).await?;
        let (tablets, links, serving) = (Vec::new(), Vec::new(), Vec::new());
        let mut cluster = Self { side, etcd, proxies, records, tablets, links, linked: settings.linked, serving };
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

    /// Where the topology is: `host:port` of each member, with commas between them.
    #[must_use]
    pub fn topology(&self) -> String {
        topology(&self.etcd, &self.proxies)
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
        self.proxies.iter().for_each(|proxy| proxy.delay(delay / 2, delay / 2));
        !self.proxies.is_empty()
    }

    /// What is behind the shards of a keyspace, by shard.
    #[must_use]
    pub fn behind(&self, keyspace: &str) -> BTreeMap<String, Behind> {
        let of = self.meant(keyspace);
        of.map(|tablet| (tablet.seat.shard.clone(), tablet.on(|contents, _| contents.behind()))).collect()
    }

    /// The shards of a keyspace have these tables with so many rows from now on, and nothing else.
    pub fn begin_anew(&self, keyspace: &str, tables: &[(&str, u64)]) {
        self.meant(keyspace).for_each(|tablet| tablet.on(|contents, _| contents.begin_anew(tables)));
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

    /// The tablets that a text names.
    pub(super) fn meant(&self, by: &str) -> impl Iterator<Item = &Arc<Tablet>> {
        self.tablets.iter().filter(move |tablet| tablet.is_meant(by))
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
        let mut address = listener.local_addr()?;
        let tablet = Arc::new(tablet);
        self.tablets.push(Arc::clone(&tablet));
        if self.linked {
            let link = Proxy::start(address).await?;
            address = link.address();
            self.links.push((Arc::clone(&tablet), link));
        }
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        self.serving.push(tokio::spawn(async move {
            if let Err(error) = Server::builder().serve_with_incoming(Serving(tablet), incoming).await {
                tracing::warn!("a light tablet ended: {error}");
            }
        }));
        Ok(address.port())
    }
}

fn topology(etcd: &Etcd, proxies: &[Proxy]) -> String {
    if proxies.is_empty() {
        return etcd.address();
    }
    proxies.iter().map(|proxy| proxy.address().to_string()).collect::<Vec<_>>().join(",")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}
