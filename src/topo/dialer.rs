//! Opens connections by kind, server and root.

use std::sync::Arc;

use dashmap::DashMap;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::measured::Measured;
use super::memory::{Memory, Store};
use super::{Conn, Error, Result, etcd};

/// The `--topo_etcd_tls_*` flags as file contents (PEM).
#[derive(Clone, Debug, Default)]
pub struct EtcdOptions {
    pub tls_cert: Option<Vec<u8>>,
    pub tls_key: Option<Vec<u8>>,
    pub tls_ca: Option<Vec<u8>>,
}

/// Reads under way at once on one connection, unless told otherwise: as in stock.
const READS: usize = 32;

/// Knows the kinds of topology this program can talk to.
pub struct Dialer {
    etcd: etcd::Tls,
    memory: DashMap<String, Arc<Store>>,
    reads: usize,
}

impl Dialer {
    /// TLS towards etcd is on when both a certificate and its key are given, as in stock.
    pub fn new(etcd: EtcdOptions) -> Self {
        let config = match (etcd.tls_cert, etcd.tls_key) {
            (Some(cert), Some(key)) => {
                let config = ClientTlsConfig::new().identity(Identity::from_pem(cert, key));
                Some(match etcd.tls_ca {
                    Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
                    None => config.with_native_roots(),
                })
            }
            _ => None,
        };
        Self { etcd: etcd::Tls { config }, memory: DashMap::new(), reads: READS }
    }

    /// Bounds the reads under way at once on each measured connection (`--topo_read_concurrency`).
    #[must_use]
    pub fn with_reads(mut self, reads: usize) -> Self {
        self.reads = reads;
        self
    }

    /// The same as [`Dialer::open`], measured by the name of the cell (`global` for the global topology).
    ///
    /// # Errors
    /// As [`Dialer::open`].
    pub async fn open_measured(&self, cell: String, kind: &str, server: &str, root: &str) -> Result<Arc<dyn Conn>> {
        Ok(Measured::wrap(self.open(kind, server, root).await?, cell, self.reads))
    }

    /// Prepares a connection; nothing proves yet that the server answers.
    ///
    /// # Errors
    /// [`Error::NoImplementation`] for kinds that Vitess does not know either, [`Error::Unsupported`] for those that are
    /// not built in, [`Error::Unreachable`] for addresses that cannot be one.
    pub async fn open(&self, kind: &str, server: &str, root: &str) -> Result<Arc<dyn Conn>> {
        match kind {
            "etcd2" => etcd::open(server, root, &self.etcd).await,
            "memory" => {
                let store = Arc::clone(&self.memory.entry(server.to_owned()).or_default());
                Ok(Arc::new(Memory::new(store, server, root)))
            }
            "zk2" | "consul" => Err(Error::Unsupported(kind.to_owned())),
            other => Err(Error::NoImplementation(other.to_owned())),
        }
    }
}
