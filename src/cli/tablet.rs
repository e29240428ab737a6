//! Flags of calls to tablets.

use std::time::Duration;

use clap::Args;

use super::values::duration;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tablets")]
pub struct TabletArgs {
    /// Timeout of calls that a healthy tablet answers immediately
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub remote_operation_timeout: Duration,
    /// Protocol of calls to tablet managers: grpc
    #[arg(long, default_value = "grpc", value_name = "NAME")]
    pub tablet_manager_protocol: String,
    /// Protocol of calls to query services: grpc
    #[arg(long, default_value = "grpc", value_name = "NAME")]
    pub tablet_protocol: String,
    /// CA certificates that tablets' certificates are verified with
    #[arg(long, default_value = "", value_name = "FILE")]
    pub tablet_manager_grpc_ca: String,
    /// Client certificate sent to tablets
    #[arg(long, default_value = "", value_name = "FILE")]
    pub tablet_manager_grpc_cert: String,
    /// Key of that certificate
    #[arg(long, default_value = "", value_name = "FILE")]
    pub tablet_manager_grpc_key: String,
    /// Name expected in tablets' certificates
    #[arg(long, default_value = "", value_name = "NAME")]
    pub tablet_manager_grpc_server_name: String,
    /// Another program manages replication: do not start it on restored tablets
    #[arg(long)]
    pub disable_active_reparents: bool,
    /// Number of tablets to keep connections to; the least recently used are closed first
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub tablet_manager_grpc_connpool_size: usize,
}
