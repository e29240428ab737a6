//! Settings of the topologies besides etcd, from the flags.

use std::collections::BTreeMap;
use std::time::Duration;

use super::access::{Secret, Tls};

/// The `--topo_zk_*` flags.
#[derive(Clone, Debug)]
pub struct ZookeeperOptions {
    /// Session timeout asked for; the server bounds it (`--topo_zk_base_timeout`).
    pub base_timeout: Duration,
    /// Requests under way at once, for each connection (`--topo_zk_max_concurrency`).
    pub max_concurrency: usize,
    /// `--topo_zk_tls_*`; TLS is on when an authority, or a certificate with its key, is given.
    pub tls: Option<Tls>,
    /// Scheme and credentials (`--topo_zk_auth_file`).
    pub auth: Option<(String, Secret)>,
}

impl Default for ZookeeperOptions {
    fn default() -> Self {
        Self { base_timeout: Duration::from_secs(30), max_concurrency: 64, tls: None, auth: None }
    }
}

/// The `--topo_consul_*` flags and what Consul's own clients take from the environment.
#[derive(Clone, Debug)]
pub struct ConsulOptions {
    /// Longest wait of one blocking query (`--topo_consul_watch_poll_duration`).
    pub poll: Duration,
    /// `--topo_consul_lock_session_ttl`; when absent, the lifetime that each lock asks for.
    pub lock_session_ttl: Option<Duration>,
    /// Health checks that end a lock's session (`--topo_consul_lock_session_checks`).
    pub lock_session_checks: Vec<String>,
    /// How long a lock stays barred after its session has ended otherwise than by release (`--topo_consul_lock_delay`).
    pub lock_delay: Duration,
    /// Tokens by cell, `global` for the global topology (`--consul_auth_static_file`).
    pub tokens: BTreeMap<String, Secret>,
    /// Token for those that `tokens` does not name (`CONSUL_HTTP_TOKEN`).
    pub token: Option<Secret>,
    /// `CONSUL_HTTP_SSL`, `CONSUL_CACERT`, `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`.
    pub tls: Option<Tls>,
}

impl Default for ConsulOptions {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(30),
            lock_session_ttl: None,
            lock_session_checks: vec!["serfHealth".into()],
            lock_delay: Duration::from_secs(15),
            tokens: BTreeMap::new(),
            token: None,
            tls: None,
        }
    }
}
