//! Flags of the topologies besides etcd, and of single mounts. Names and defaults of `topo_zk_*` and `consul_*` are stock's.

use std::time::Duration;

use clap::Args;

use super::values::duration;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Topologies of other kinds")]
pub struct TopologiesArgs {
    /// TLS and credentials of single mounts and topology servers (JSON)
    #[arg(long, default_value = "", value_name = "FILE", help_heading = super::vtmigrated::NOT_IN_VTCTLD)]
    pub mount_settings: String,
    /// Credentials for ZooKeeper: a file that holds <scheme>:<credentials>
    #[arg(long, default_value = "", value_name = "FILE")]
    pub topo_zk_auth_file: String,
    /// Session timeout requested from ZooKeeper
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub topo_zk_base_timeout: Duration,
    /// Maximum number of concurrent requests to ZooKeeper, for each connection
    #[arg(long, default_value_t = 64, value_name = "COUNT")]
    pub topo_zk_max_concurrency: usize,
    /// Certificate for ZooKeeper; together with its key it enables TLS
    #[arg(long, default_value = "", value_name = "FILE")]
    pub topo_zk_tls_cert: String,
    /// Key of that certificate
    #[arg(long, default_value = "", value_name = "FILE")]
    pub topo_zk_tls_key: String,
    /// CA certificates that ZooKeeper's certificate is verified with
    #[arg(long, default_value = "", value_name = "FILE")]
    pub topo_zk_tls_ca: String,
    /// ACL tokens for Consul by cell, "global" for the global topology (JSON)
    #[arg(long, default_value = "", value_name = "FILE")]
    pub consul_auth_static_file: String,
    /// Longest wait of one blocking query to Consul
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub topo_consul_watch_poll_duration: Duration,
    /// Lifetime of a lock's session in Consul, at most 30s; that of the lock when empty
    #[arg(long, default_value = "", value_name = "DURATION")]
    pub topo_consul_lock_session_ttl: String,
    /// Health checks that end a lock's session in Consul, separated by commas
    #[arg(long, default_value = "serfHealth", value_name = "CHECKS")]
    pub topo_consul_lock_session_checks: String,
    /// How long a lock in Consul cannot be taken after its holder has died (lock delay)
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub topo_consul_lock_delay: Duration,
}
