//! Flags about who may call, and over what.

use clap::Args;

use super::vtmigrated::NOT_IN_VTCTLD;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Callers of the gRPC server")]
pub struct GuardArgs {
    /// Certificate of the gRPC port
    #[arg(long, default_value = "", value_name = "FILE")]
    pub grpc_cert: String,
    /// Key of that certificate
    #[arg(long, default_value = "", value_name = "FILE")]
    pub grpc_key: String,
    /// Authorities of the clients' certificates; every client must then show one
    #[arg(long, default_value = "", value_name = "FILE")]
    pub grpc_ca: String,
    /// Revoked certificates of clients
    #[arg(long, default_value = "", value_name = "FILE")]
    pub grpc_crl: String,
    /// Authority to send along with the certificate
    #[arg(long, default_value = "", value_name = "FILE")]
    pub grpc_server_ca: String,
    /// Serve clients without TLS too
    #[arg(long)]
    pub grpc_enable_optional_tls: bool,
    /// How callers prove who they are: static or mtls; not at all when empty
    #[arg(long, default_value = "", value_name = "MODE")]
    pub grpc_auth_mode: String,
    /// Users and passwords, for the mode static
    #[arg(long, default_value = "", value_name = "FILE")]
    pub grpc_auth_static_password_file: String,
    /// Texts, separated by colons, one of which a client certificate's subject must hold, for the mode mtls
    #[arg(long, default_value = "", value_name = "TEXTS")]
    pub grpc_auth_mtls_allowed_substrings: String,
    /// Roles of callers: read, operate or admin
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value = "", value_name = "FILE")]
    pub grpc_roles_file: String,
    /// Calls served at once; more wait for a moment, and are refused then
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value_t = 1000, value_name = "COUNT")]
    pub grpc_max_concurrent_calls: usize,
    /// Bytes that requests and answers hold together; beyond, connections that hold the most are closed
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value_t = 512 << 20, value_name = "BYTES")]
    pub grpc_max_held_bytes: usize,
    /// Connections kept at once; more wait
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value_t = 10_000, value_name = "COUNT")]
    pub grpc_max_connections: usize,
    /// Calls under way on one connection
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value_t = 250, value_name = "COUNT")]
    pub grpc_max_concurrent_streams: u32,
}
