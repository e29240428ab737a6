//! One cluster: etcd, our server, and keyspaces of real tablets; a vtgate when one is asked for.

use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::{Row, prelude::Queryable};
use tokio::sync::OnceCell;

use super::{
    Error, Generation, client,
    client::Output,
    gate::Gate,
    keyspace::{self, Keyspace},
    vtctld::Vtctld,
    vttablet::Vttablet,
};
use crate::{cluster::topology::GLOBAL_ROOT, etcd::Etcd, mysqld::Release, server::Server};

/// A cluster of one cell.
pub struct Cluster {
    generation: Generation,
    tablet_flags: Vec<String>,
    cell: String,
    etcd: Etcd,
    server: Server,
    gate: OnceCell<Gate>,
    next_uid: AtomicU32,
}

impl Cluster {
    /// Starts etcd and our server, and registers the cell. Tablets, client and vtgate are of a generation; tablets get more
    /// flags, in today's spelling, and the first of them the number `uid`.
    ///
    /// # Errors
    /// A program does not come up.
    pub async fn start(generation: Generation, tablet_flags: &[&str], cell: &str, uid: u32) -> Result<Self, Error> {
        let etcd = Etcd::start().await?;
        let server = Server::start(&server_flags(cell, &etcd)).await?;
        let (cell, gate, next_uid) = (cell.to_owned(), OnceCell::new(), AtomicU32::new(uid));
        let tablet_flags = tablet_flags.iter().map(|flag| (*flag).to_owned()).collect();
        let cluster = Self { generation, tablet_flags, cell, etcd, server, gate, next_uid };
        let (address, root) = (cluster.etcd.address(), format!("/vitess/{}", cluster.cell));
        let add = ["AddCellInfo", "--root", &root, "--server-address", &address, &cluster.cell];
        cluster.vtctldclient(&add).await?.expect()?;
        Ok(cluster)
    }

    /// The cell's name.
    #[must_use]
    pub fn cell(&self) -> &str {
        &self.cell
    }

    /// The etcd that keeps the global topology and the cell's.
    #[must_use]
    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// Our server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// One more server of ours on this cluster's topology, with fail-points as [`Server::start_with_points`] takes them. Locks
    /// that it leaves behind are free after two seconds.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn another_server(&self, points: &str) -> Result<Server, Error> {
        let mut flags = server_flags(&self.cell, &self.etcd);
        flags.push("--topo_etcd_lease_ttl=2".to_owned());
        Ok(Server::start_with_points(&flags, points).await?)
    }

    /// One more server of ours on this cluster's topology, which forwards to a stock vtctld what it does not serve.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn server_before(&self, vtctld: &Vtctld) -> Result<Server, Error> {
        let mut flags = server_flags(&self.cell, &self.etcd);
        flags.push(format!("--fallback-vtctld-server={}", vtctld.address()));
        Ok(Server::start(&flags).await?)
    }

    /// Vitess's own vtctld on this cluster's topology, beside our server: of the newest generation, for `integration/setup` builds no other.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn stock_vtctld(&self) -> Result<Vtctld, Error> {
        Vtctld::start(Generation::V24, &self.etcd.address()).await
    }

    /// Runs a command of the stock `vtctldclient` against our server.
    ///
    /// # Errors
    /// The client cannot be started or does not end; a command that fails is an [`Output`].
    pub async fn vtctldclient(&self, args: &[&str]) -> Result<Output, Error> {
        self.vtctldclient_at(&self.server, args).await
    }

    /// The same against another server of this cluster.
    ///
    /// # Errors
    /// As [`Cluster::vtctldclient`].
    pub async fn vtctldclient_at(&self, server: &Server, args: &[&str]) -> Result<Output, Error> {
        client::run(self.generation, &server.grpc_address().to_string(), args).await
    }

    /// Runs a command of our own program, such as `way-back status …`, against our server.
    ///
    /// # Errors
    /// The program cannot be started or does not end; a command that fails is an [`Output`].
    pub async fn vtmigrated(&self, args: &[&str]) -> Result<Output, Error> {
        client::run_ours(&self.server.grpc_address().to_string(), args).await
    }

    /// A keyspace with one primary per shard, on the MySQL of the cluster's generation: the newest for the newest.
    ///
    /// # Errors
    /// A tablet does not come up.
    pub async fn keyspace(&self, name: &str, shards: &[&str]) -> Result<Keyspace, Error> {
        self.keyspace_on(self.generation.mysql(), name, shards).await
    }

    /// The same on a MySQL of a chosen release.
    ///
    /// # Errors
    /// As [`Cluster::keyspace`].
    pub async fn keyspace_on(&self, release: Release, name: &str, shards: &[&str]) -> Result<Keyspace, Error> {
        keyspace::start(self, release, name, shards).await
    }

    /// One more tablet of a shard, on a MySQL as [`Cluster::keyspace`] has it: a replica of the shard's primary.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn replica(&self, keyspace: &Keyspace, shard: &str) -> Result<Vttablet, Error> {
        keyspace::start_tablet(self, self.generation.mysql(), &keyspace.name, shard).await
    }

    /// Applies a vschema in the JSON of `ApplyVSchema --vschema`.
    ///
    /// # Errors
    /// It is refused.
    pub async fn apply_vschema(&self, keyspace: &str, vschema: &str) -> Result<(), Error> {
        self.vtctldclient(&["ApplyVSchema", "--vschema", vschema, keyspace]).await?.expect().map(drop)
    }

    /// Runs one statement through this cluster's vtgate, which the first call starts.
    ///
    /// # Errors
    /// The vtgate does not come up, or what it answers.
    pub async fn query(&self, keyspace: &str, sql: &str) -> Result<Vec<Row>, Error> {
        let address = self.etcd.address();
        let gate = self.gate.get_or_try_init(|| Gate::start(self.generation, &self.cell, &address)).await?;
        let mut conn = gate.connect(keyspace).await?;
        let rows = conn.query(sql).await;
        conn.disconnect().await?;
        Ok(rows?)
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn tablet_flags(&self) -> &[String] {
        &self.tablet_flags
    }

    pub(super) fn uid(&self) -> u32 {
        self.next_uid.fetch_add(1, Ordering::Relaxed)
    }
}

fn server_flags(cell: &str, etcd: &Etcd) -> Vec<String> {
    vec![
        "--topo_implementation=etcd2".to_owned(),
        format!("--topo_global_server_address={}", etcd.address()),
        format!("--topo_global_root={GLOBAL_ROOT}"),
        format!("--cell={cell}"),
    ]
}
