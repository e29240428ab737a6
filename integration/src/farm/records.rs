//! The records of a farm, written through our own connections to topologies.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use prost::Message;
use vtmigrated::topo::{self, Conn, Dialer, EtcdOptions, Expect, Topo, Write, paths, shard, srv_vschema};
use vtmigrated_proto::topodata::{
    CellInfo, ExternalVitessCluster, ShardReference, ShardReplication, Tablet, TabletType, TopoConfig,
    shard_replication::Node,
};

use super::{
    shape::{Shape, Side},
    tablet::Seat,
};
use crate::cluster::topology::{self, GLOBAL_ROOT};

/// Records written at a time.
const AT_ONCE: usize = 100;
const KIND: &str = "etcd2";

/// The topology of one cluster: its global root, and that of its cell.
pub struct Records {
    side: Side,
    dialer: Arc<Dialer>,
    server: String,
    global: Arc<dyn Conn>,
    cell: Arc<dyn Conn>,
}

impl Records {
    /// Opens the topology at `server` (`host:port`), which has nothing yet, and registers its cell there.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn open(side: Side, server: &str) -> topo::Result<Self> {
        let dialer = Arc::new(Dialer::new(EtcdOptions::default()));
        let global = dialer.open(KIND, server, GLOBAL_ROOT).await?;
        let root = format!("/vitess/{}", side.cell());
        let cell = dialer.open(KIND, server, &root).await?;
        let records = Self { side, dialer, server: server.to_owned(), global, cell };
        let info = CellInfo { server_address: server.to_owned(), root };
        put(&records.global, vec![of(paths::cell_info(side.cell()), &info)]).await?;
        Ok(records)
    }

    /// Writes a keyspace with its shards and vschema; its tablets come with [`Self::tablets`].
    ///
    /// # Errors
    /// The server does not answer, or a record is too large for it.
    pub async fn keyspace(&self, shape: &Shape, keyspace: &str) -> topo::Result<()> {
        let vschema = of(paths::vschema(keyspace), &shape.vschema(self.side));
        put(&self.global, vec![of(paths::keyspace(keyspace), &topology::keyspace_record()), vschema]).await?;
        let shards = shape.shards_of(self.side);
        let reference = |name: &String| -> topo::Result<ShardReference> {
            Ok(ShardReference { name: name.clone(), key_range: shard::parse_name(name)? })
        };
        let references = shards.iter().map(reference).collect::<topo::Result<Vec<_>>>()?;
        put(&self.cell, vec![of(paths::srv_keyspace(keyspace), &topology::serving_graph(&references))]).await
    }

    /// Writes the records of tablets that listen on these ports, and of their shards.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn tablets(&self, seats: &[(Seat, u16)]) -> topo::Result<()> {
        let now = topology::now();
        let (mut global, mut cell) = (Vec::new(), Vec::new());
        for of_shard in seats.chunk_by(|(a, _), (b, _)| (&a.keyspace, &a.shard) == (&b.keyspace, &b.shard)) {
            let Some((first, _)) = of_shard.first() else { continue };
            let (keyspace, name) = (&first.keyspace, &first.shard);
            let key_range = shard::parse_name(name)?;
            let record = topology::shard_record(first.alias.clone(), now, key_range.clone());
            global.push(of(paths::shard(keyspace, name), &record));
            let nodes = of_shard.iter().map(|(seat, _)| Node { tablet_alias: Some(seat.alias.clone()) }).collect();
            cell.push(of(paths::shard_replication(keyspace, name), &ShardReplication { nodes }));
            for (seat, port) in of_shard {
                let tablet = Tablet {
                    alias: Some(seat.alias.clone()),
                    hostname: "127.0.0.1".to_owned(),
                    port_map: [("grpc".to_owned(), i32::from(*port))].into(),
                    keyspace: keyspace.clone(),
                    shard: name.clone(),
                    key_range: key_range.clone(),
                    r#type: seat.kind.into(),
                    primary_term_start_time: (seat.kind == TabletType::Primary).then_some(now),
                    ..Tablet::default()
                };
                cell.push(of(paths::tablet(&seat.alias), &tablet));
            }
        }
        put(&self.global, global).await?;
        put(&self.cell, cell).await
    }

    /// Names the global topology at `server` as a mount.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn mount(&self, name: &str, server: &str) -> topo::Result<()> {
        let (topo_type, server, root) = (KIND.to_owned(), server.to_owned(), GLOBAL_ROOT.to_owned());
        let record = ExternalVitessCluster { topo_config: Some(TopoConfig { topo_type, server, root }) };
        put(&self.global, vec![of(paths::external_cluster(name), &record)]).await
    }

    /// Puts the cell's serving vschema together, once all keyspaces are there.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn serving(&self) -> topo::Result<()> {
        let topo = Topo::open(Arc::clone(&self.dialer), KIND, &self.server, GLOBAL_ROOT).await?;
        srv_vschema::rebuild(&self.global, &topo.cells().await?).await
    }
}

fn of(path: String, record: &impl Message) -> Write {
    Write::put(path, record.encode_to_vec(), Expect::Any)
}

/// Writes records, some at a time: each in a transaction of its own, for together they may be too large.
async fn put(conn: &Arc<dyn Conn>, writes: Vec<Write>) -> topo::Result<()> {
    let puts = writes.into_iter().map(|write| async move { conn.write_one(write, None).await.map(drop) });
    stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>().await
}
