//! Mounted clusters: their records, and the connections to their topologies.

use std::sync::Arc;

use dashmap::DashMap;
use prost::Message;
use vtmigrated_proto::topodata::{ExternalVitessCluster, TopoConfig};

use super::access::Holder;
use super::{Conn, Dialer, Error, Expect, Lock, Record, Result, Topo, Write, paths};

/// A mount's record.
pub async fn get(global: &Arc<dyn Conn>, name: &str) -> Result<Record<ExternalVitessCluster>> {
    Record::get(global, &paths::external_cluster(name)).await
}

/// A mount's record, if there is one.
pub async fn find(global: &Arc<dyn Conn>, name: &str) -> Result<Option<Record<ExternalVitessCluster>>> {
    Record::find(global, &paths::external_cluster(name)).await
}

/// Names of all mounts, ascending.
pub async fn names(global: &Arc<dyn Conn>) -> Result<Vec<String>> {
    global.list_dir(paths::EXTERNAL_CLUSTERS).await
}

/// Stores a new mount.
pub async fn create(global: &Arc<dyn Conn>, name: &str, config: TopoConfig) -> Result<()> {
    let record = ExternalVitessCluster { topo_config: Some(config) };
    global.create(&paths::external_cluster(name), record.encode_to_vec()).await.map(|_| ())
}

/// The same while a lock of that topology is held.
///
/// # Errors
/// [`Error::LockLost`] when it is not.
pub async fn create_guarded(global: &Arc<dyn Conn>, name: &str, config: TopoConfig, guard: &Lock) -> Result<()> {
    let record = ExternalVitessCluster { topo_config: Some(config) };
    let write = Write::put(paths::external_cluster(name), record.encode_to_vec(), Expect::Absent);
    global.write_one(write, Some(guard)).await.map(|_| ())
}

/// Removes a mount that was read before.
pub async fn delete(global: &Arc<dyn Conn>, name: &str, version: i64) -> Result<()> {
    let write = Write::delete(paths::external_cluster(name), Expect::Version(version));
    global.write_one(write, None).await.map(|_| ())
}

/// The same while a lock of that topology is held.
///
/// # Errors
/// [`Error::LockLost`] when it is not.
pub async fn delete_guarded(global: &Arc<dyn Conn>, name: &str, version: i64, guard: &Lock) -> Result<()> {
    let write = Write::delete(paths::external_cluster(name), Expect::Version(version));
    global.write_one(write, Some(guard)).await.map(|_| ())
}

/// Connections to mounted clusters, kept while their records stay the same.
pub struct Mounts {
    dialer: Arc<Dialer>,
    open: DashMap<String, (TopoConfig, Arc<Topo>)>,
}

impl Mounts {
    /// No mount is open yet.
    pub fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, open: DashMap::new() }
    }

    /// The topology that a mount's record names. Nothing is sent: a dead server shows at the first read.
    ///
    /// # Errors
    /// [`Error::NoImplementation`], [`Error::Unsupported`], [`Error::WrongServer`], and bad addresses.
    pub async fn open(&self, name: &str, record: &ExternalVitessCluster) -> Result<Arc<Topo>> {
        let config = config_of(name, record)?;
        if let Some(kept) = self.open.get(name).filter(|kept| kept.0 == *config) {
            return Ok(Arc::clone(&kept.1));
        }
        let topo = Arc::new(self.unkept(name, config).await?);
        self.open.insert(name.to_owned(), (config.clone(), Arc::clone(&topo)));
        Ok(topo)
    }

    /// The topology that a mount of this name would have; it is not kept.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn unkept(&self, name: &str, config: &TopoConfig) -> Result<Topo> {
        let TopoConfig { topo_type, server, root } = config;
        Topo::open_for(Holder::Mount(name.to_owned()), Arc::clone(&self.dialer), topo_type, server, root).await
    }

    /// The same with connections that write and take locks, too: for the way back of a migration, and only once the owner of
    /// both clusters has asked for it. It is not kept.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_to_write(&self, name: &str, record: &ExternalVitessCluster) -> Result<Topo> {
        let TopoConfig { topo_type, server, root } = config_of(name, record)?;
        let holder = Holder::MountToWrite(name.to_owned());
        Topo::open_for(holder, Arc::clone(&self.dialer), topo_type, server, root).await
    }

    /// From now on the mount of this name leads to a topology that is open already, as long as its record says the same.
    pub fn keep(&self, name: &str, config: TopoConfig, topo: Arc<Topo>) {
        self.open.insert(name.to_owned(), (config, topo));
    }

    /// Closes the connections to a mount; calls under way keep theirs until they end.
    pub fn close(&self, name: &str) {
        self.open.remove(name);
    }
}

fn config_of<'r>(name: &str, record: &'r ExternalVitessCluster) -> Result<&'r TopoConfig> {
    record.topo_config.as_ref().ok_or_else(|| {
        let detail = "the record has no topo_config".to_owned();
        Error::BadData { path: paths::external_cluster(name), detail }
    })
}
