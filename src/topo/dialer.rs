//! Opens connections by kind, server and root.

use std::sync::Arc;

use dashmap::{DashMap, DashSet};

use super::access::{Access, Holder, Tls};
use super::checked::CheckedConn;
use super::measured::MeasuredConn;
use super::memory::{Memory, Store};
use super::read_only::ReadOnlyConn;
use super::settings::{MountSettings, addresses};
use super::{Conn, Error, Result, TrustedTablets, address, etcd};

/// Name of the global topology where others are named by their cell, as in stock's file of Consul tokens.
const GLOBAL: &str = "global";

/// The `--topo_etcd_tls_*` flags.
#[derive(Clone, Debug, Default)]
pub struct EtcdOptions {
    /// On when an authority, or a certificate with its key, is given.
    pub tls: Option<Tls>,
}

/// Reads under way at once on one connection, unless told otherwise: as in stock.
const READS: usize = 32;

/// Settings of all kinds of topology.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub etcd: EtcdOptions,
    pub zookeeper: super::ZookeeperOptions,
    pub consul: super::ConsulOptions,
    /// `--mount-settings`
    pub mounts: MountSettings,
}

/// Puts something between a connection and those who use it.
pub type Wrap = Arc<dyn Fn(Arc<dyn Conn>) -> Arc<dyn Conn> + Send + Sync>;

/// Knows the kinds of topology this program can talk to.
pub struct Dialer {
    etcd: Option<Tls>,
    zookeeper: super::ZookeeperOptions,
    consul: super::ConsulOptions,
    mounts: MountSettings,
    memory: DashMap<String, Arc<Store>>,
    /// Addresses of the own cluster's servers.
    own: DashSet<String>,
    trusted: Arc<TrustedTablets>,
    reads: usize,
    wrap: Option<Wrap>,
}

impl Dialer {
    /// Only the etcd flags differ from what they are when absent.
    pub fn new(etcd: EtcdOptions) -> Self {
        Self::with(Options { etcd, ..Options::default() })
    }

    /// With all settings.
    pub fn with(options: Options) -> Self {
        let Options { etcd, zookeeper, consul, mounts } = options;
        let (memory, own, trusted) = (DashMap::new(), DashSet::new(), Arc::default());
        Self { etcd: etcd.tls, zookeeper, consul, mounts, memory, own, trusted, reads: READS, wrap: None }
    }

    /// The tablets that its connections' records name, of the own cluster and of servers that a setting names.
    pub fn trusted_tablets(&self) -> Arc<TrustedTablets> {
        Arc::clone(&self.trusted)
    }

    /// Bounds the reads under way at once on each measured connection (`--topo_read_concurrency`).
    #[must_use]
    pub fn with_reads(mut self, reads: usize) -> Self {
        self.reads = reads;
        self
    }

    /// Every connection that a holder opens from now on is passed through `wrap`: for tests in which operations of the
    /// topology fail.
    #[must_use]
    pub fn wrapping(mut self, wrap: Wrap) -> Self {
        self.wrap = Some(wrap);
        self
    }

    /// Prepares a connection to a global topology that shows no credentials but those of `--mount-settings` for the
    /// server; nothing proves yet that the server answers.
    ///
    /// # Errors
    /// As [`Self::open_for`].
    pub async fn open(&self, kind: &str, server: &str, root: &str) -> Result<Arc<dyn Conn>> {
        let access = self.access(&Holder::Other, None, kind, server)?;
        self.dial(kind, server, root, access).await
    }

    /// Prepares a connection for `holder`, to the global topology or to that of `cell`. Metrics know it by the cell's name,
    /// with `mount/` before it for mounts. Those of mounts refuse writes and locks, unless the holder says otherwise.
    ///
    /// # Errors
    /// [`Error::NoImplementation`] for kinds that Vitess does not know either, [`Error::Unsupported`] for those that are
    /// not built in, [`Error::Unreachable`] for addresses that cannot be one, [`Error::WrongServer`] for a mount whose
    /// settings are for other servers.
    pub async fn open_for(
        &self,
        holder: &Holder,
        cell: Option<&str>,
        kind: &str,
        server: &str,
        root: &str,
    ) -> Result<Arc<dyn Conn>> {
        let access = self.access(holder, cell, kind, server)?;
        let prefix = if holder.mount().is_some() { "mount/" } else { "" };
        let name = format!("{prefix}{}", cell.unwrap_or(GLOBAL));
        let conn = self.dial(kind, server, root, access).await?;
        let conn = self.wrap.as_ref().map_or_else(|| Arc::clone(&conn), |wrap| wrap(Arc::clone(&conn)));
        let conn = MeasuredConn::wrap(conn, name, self.reads);
        Ok(if matches!(holder, Holder::Mount(_)) { ReadOnlyConn::wrap(conn) } else { conn })
    }

    async fn dial(&self, kind: &str, server: &str, root: &str, access: Access) -> Result<Arc<dyn Conn>> {
        let trusted = (!access.stranger).then(|| Arc::clone(&self.trusted));
        self.connect(kind, server, root, access).await.map(|conn| CheckedConn::wrap(conn, trusted))
    }

    async fn connect(&self, kind: &str, server: &str, root: &str, access: Access) -> Result<Arc<dyn Conn>> {
        if super::KINDS.contains(&kind) {
            address::check(kind, server)?;
        }
        match kind {
            "etcd2" => etcd::open(server, root, access).await,
            "memory" => {
                let store = Arc::clone(&self.memory.entry(server.to_owned()).or_default());
                Ok(Arc::new(Memory::new(store, server, root)))
            }
            #[cfg(feature = "topo-zk2")]
            "zk2" => super::zookeeper::open(server, root, access, &self.zookeeper),
            #[cfg(feature = "topo-consul")]
            "consul" => {
                // its connections keep what is read now
                if let Some(tls) = &access.tls {
                    tls.fresh().await;
                }
                super::consul::open(server, root, access, &self.consul)
            }
            #[cfg(not(all(feature = "topo-zk2", feature = "topo-consul")))]
            "zk2" | "consul" => Err(Error::Unsupported(kind.to_owned())),
            other => Err(Error::NoImplementation(other.to_owned())),
        }
    }

    /// The flags' authorities are for every cluster, as in stock. Their credentials are for the own one, and their client's
    /// certificate is for its servers and those that a setting names.
    fn access(&self, holder: &Holder, cell: Option<&str>, kind: &str, server: &str) -> Result<Access> {
        let own = *holder == Holder::Own;
        let servers = addresses(server);
        if own {
            for address in &servers {
                self.own.insert(address.clone());
            }
        }
        let base = match kind {
            "etcd2" => Access { tls: self.etcd.clone(), ..Access::default() },
            "zk2" => Access {
                tls: self.zookeeper.tls.clone(),
                auth: self.zookeeper.auth.clone().filter(|_| own),
                ..Access::default()
            },
            "consul" => {
                let token = self.consul.tokens.get(cell.unwrap_or(GLOBAL)).or(self.consul.token.as_ref());
                Access { tls: self.consul.tls.clone(), token: token.filter(|_| own).cloned(), ..Access::default() }
            }
            _ => Access::default(),
        };
        let (access, named) = self.mounts.access(holder.mount(), cell.is_some(), server, base)?;
        if own || named || servers.iter().all(|address| self.own.contains(address)) {
            return Ok(access);
        }
        Ok(access.for_strangers())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::access::Secret;
    use super::super::{Expect, LockRequest, Write};
    use super::*;
    use crate::error::Explain;

    #[tokio::test]
    async fn no_kind_of_topology_is_asked_for_a_path_that_leads_out() {
        let dialer = Dialer::new(EtcdOptions::default());
        let kinds = super::super::KINDS.iter().chain(&["memory"]);
        for (kind, holder) in kinds.flat_map(|kind| [Holder::Own, Holder::Other].map(|holder| (kind, holder))) {
            // nobody listens there: what is asked fails in other words
            let conn = dialer.open_for(&holder, None, kind, "127.0.0.1:1", "/r").await.unwrap();
            for path in ["../x", "keyspaces/../../x", "keyspaces//x", "/x", "x/", "."] {
                let lock = LockRequest::new("Test", Duration::from_secs(5)).named(path);
                let put = Write::put(path, "", Expect::Any);
                let errors = [
                    conn.get(path).await.err(),
                    conn.get_many(vec!["x".into(), path.into()]).await.err(),
                    conn.list(path).await.err(),
                    conn.list_dir(path).await.err(),
                    conn.write(vec![Write::delete(path, Expect::Any)], None).await.err(),
                    conn.write(vec![Write::put("x", "", Expect::Any), put], None).await.err(),
                    conn.lock(lock).await.err(),
                    conn.has_lease(path).await.err(),
                ];
                let reasons = errors.map(|error| error.map(|error| error.reason().to_string()));
                assert!(
                    reasons.iter().all(|reason| reason.as_deref() == Some("BAD_NAME")),
                    "{kind} {path}: {reasons:?}"
                );
            }
        }
    }

    #[cfg(feature = "topo-zk2")]
    #[tokio::test]
    async fn absurd_settings_and_a_thousand_addresses_open() {
        let zookeeper = super::super::ZookeeperOptions { max_concurrency: usize::MAX, ..Default::default() };
        let dialer = Dialer::with(Options { zookeeper, ..Options::default() }).with_reads(usize::MAX);
        let addresses: Vec<String> = (0..2000).map(|at| format!("127.0.0.1:{}", at + 1)).collect();
        for kind in ["etcd2", "zk2"] {
            dialer.open_for(&Holder::Own, None, kind, &addresses.join(","), "/r").await.unwrap();
        }
    }

    #[test]
    fn credentials_of_the_flags_are_for_the_own_cluster() {
        let consul = super::super::ConsulOptions {
            tokens: [("zone1".to_owned(), Secret::new("of zone1"))].into(),
            token: Some(Secret::new("of the environment")),
            ..Default::default()
        };
        let zookeeper =
            super::super::ZookeeperOptions { auth: Access::zookeeper_auth("digest:a"), ..Default::default() };
        let dialer = Dialer::with(Options { consul, zookeeper, ..Options::default() });
        let access = |holder: &Holder, cell, kind| dialer.access(holder, cell, kind, "x:1").unwrap();
        assert_eq!(access(&Holder::Own, Some("zone1"), "consul").token, Some(Secret::new("of zone1")));
        assert_eq!(access(&Holder::Own, None, "consul").token, Some(Secret::new("of the environment")));
        assert_eq!(access(&Holder::Mount("ext1".into()), Some("zone1"), "consul").token, None);
        assert!(access(&Holder::Own, None, "zk2").auth.is_some());
        assert_eq!(access(&Holder::Other, None, "zk2").auth, None);
    }

    #[test]
    fn the_clients_certificate_is_for_the_own_cluster_and_for_servers_that_a_setting_names() {
        let made = rcgen::generate_simple_self_signed(vec!["client".into()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        let (cert, key) = (file("cert.pem", made.cert.pem()), file("key.pem", made.signing_key.serialize_pem()));
        let files = crate::tls::Files { ca: Some(cert.clone()), identity: Some((cert, key)), server_name: None };
        let mounts = br#"{"named": {"servers": ["n:1", "n:2"]}, "cell:1": {}}"#;
        let mounts = MountSettings::parse(mounts, &|path| std::fs::read(path)).unwrap();
        let etcd = EtcdOptions { tls: Some(files.load().unwrap()) };
        let dialer = Dialer::with(Options { etcd: etcd.clone(), mounts, ..Options::default() });
        let shown = |holder: &Holder, server: &str| {
            let access = dialer.access(holder, None, "etcd2", server).unwrap();
            assert!(access.tls.is_some(), "authorities stay");
            (access.tls == etcd.tls, access.stranger)
        };
        let mount = |name: &str| Holder::Mount(name.into());
        assert_eq!(shown(&Holder::Own, "own:1,own:2"), (true, false));
        for (holder, server) in [(mount("named"), "n:2"), (mount("any"), "cell:1"), (mount("any"), "https://own:2")] {
            assert_eq!(shown(&holder, server), (true, false), "{server}");
        }
        for (holder, server) in [(mount("any"), "n:1"), (Holder::Other, "x:1"), (mount("any"), "own:1,x:1")] {
            assert_eq!(shown(&holder, server), (false, true), "{server}");
        }
    }
}
