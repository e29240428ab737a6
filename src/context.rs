//! The handles that every operation works with. Nothing in here is state of a workflow.

mod changes;

use std::sync::Arc;
use std::time::Duration;

pub use changes::{Changes, End};

use crate::tablet;
use crate::topo::external_cluster::Mounts;
use crate::topo::{LockRequest, Topo};

/// Settings of the operations.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lifetime of lock leases (`--topo_etcd_lease_ttl`).
    pub lease_ttl: Duration,
    /// Waiting time for locks held by others (`--lock-timeout`).
    pub lock_timeout: Duration,
    /// Take mounts whose topology cannot be reached or has no cells (`--allow-unreachable-mounts`).
    pub allow_unreachable_mounts: bool,
    /// Leave the batching of changes to the target tablets' own settings (`--keep-vplayer-batching`); see
    /// docs/decisions.md.
    pub keep_vplayer_batching: bool,
    /// Let `complete` end workflows that are still copying, behind or in error (`--allow-unfinished-complete`).
    pub allow_unfinished_complete: bool,
    /// Do not make restored tablets replicate (`--disable-active-reparents`).
    pub disable_active_reparents: bool,
    /// Tablets of one side of a migration that its checks ask at a time; one that answers nothing holds its place until all is over.
    pub tablets_at_once: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease_ttl: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(45),
            allow_unreachable_mounts: false,
            keep_vplayer_batching: false,
            allow_unfinished_complete: false,
            disable_active_reparents: false,
            tablets_at_once: 400,
        }
    }
}

/// The target cluster's topology, the mounted clusters, the way to tablets.
pub struct Context {
    pub topo: Arc<Topo>,
    pub mounts: Mounts,
    pub tablets: tablet::Client,
    pub options: Options,
    /// News for those who watch.
    pub changes: Changes,
}

impl Context {
    /// The handles of a server of `topo`, which has opened no mount yet and dials mounts as `topo` was dialled.
    pub fn new(topo: Arc<Topo>, tablets: tablet::Client, options: Options) -> Self {
        Self { mounts: Mounts::new(Arc::clone(topo.dialer())), topo, tablets, options, changes: Changes::default() }
    }

    /// A context of a topology that is not a server's.
    #[cfg(test)]
    pub(crate) async fn of(kind: &str, server: &str, root: &str) -> Self {
        let dialer = Arc::new(crate::topo::Dialer::new(crate::topo::EtcdOptions::default()));
        let topo = Topo::open(dialer, kind, server, root).await.unwrap();
        Self::new(Arc::new(topo), tablet::Client::new(tablet::Options::default()), Options::default())
    }

    /// A lock request with this server's lease and waiting time.
    pub fn lock_request(&self, action: &str) -> LockRequest {
        LockRequest { wait: self.options.lock_timeout, ..LockRequest::new(action, self.options.lease_ttl) }
    }
}
