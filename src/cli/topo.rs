//! Flags of the own cluster's topology.

use std::time::Duration;

use clap::Args;

use super::values::duration;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Topology")]
pub struct TopoArgs {
    /// Kind of the topology: etcd2, zk2, consul (or memory, for trying out)
    #[arg(long, value_name = "KIND")]
    pub topo_implementation: Option<String>,
    /// Addresses of the global topology servers, separated by commas
    #[arg(long, value_name = "ADDRESSES")]
    pub topo_global_server_address: Option<String>,
    /// Root of the global topology
    #[arg(long, value_name = "PATH")]
    pub topo_global_root: Option<String>,
    /// Certificate for etcd
    #[arg(long, default_value = "", value_name = "FILE")]
    pub topo_etcd_tls_cert: String,
    /// Key of that certificate
    #[arg(long, default_value = "", value_name = "FILE")]
    pub topo_etcd_tls_key: String,
    /// CA certificates that etcd's certificate is verified with
    #[arg(long, default_value = "", value_name = "FILE")]
    pub topo_etcd_tls_ca: String,
    /// Seconds that a lock outlives this program, at most 30
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub topo_etcd_lease_ttl: u64,
    /// Maximum number of concurrent reads, for each cell and the global topology
    #[arg(long, default_value_t = 32, value_name = "COUNT")]
    pub topo_read_concurrency: usize,
    /// How long to wait for locks that others hold
    #[arg(long, default_value = "45s", value_parser = duration, value_name = "DURATION")]
    pub lock_timeout: Duration,
    /// Cell of this server
    #[arg(long, default_value = "", value_name = "NAME")]
    pub cell: String,
}
