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
    /// CA certificates for client certificates; if set, every client must present one
    #[arg(long, default_value = "", value_name = "FILE")]
    pub grpc_ca: String,
    /// Revocation list for client certificates
    #[arg(long, default_value = "", value_name = "FILE")]
    pub grpc_crl: String,
    /// CA certificate to send along with the certificate
    #[arg(long, default_value = "", value_name = "FILE")]
    pub grpc_server_ca: String,
    /// Also serve clients without TLS
    #[arg(long)]
    pub grpc_enable_optional_tls: bool,
    /// How callers authenticate: static or mtls; not at all when empty
    #[arg(long, default_value = "", value_name = "MODE")]
    pub grpc_auth_mode: String,
    /// Users and passwords, for the mode static
    #[arg(long, default_value = "", value_name = "FILE")]
    pub grpc_auth_static_password_file: String,
    /// Substrings, separated by colons, one of which a client certificate's subject must contain, for the mode mtls
    #[arg(long, default_value = "", value_name = "TEXTS")]
    pub grpc_auth_mtls_allowed_substrings: String,
    /// Roles of callers: read, operate or admin
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value = "", value_name = "FILE")]
    pub grpc_roles_file: String,
    /// Calls served at a time; more wait for a second at most, then they are refused
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value_t = 1000, value_name = "COUNT")]
    pub grpc_max_concurrent_calls: usize,
    /// Bytes that all requests and responses may hold; beyond that, the connections that hold the most are closed
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value_t = 512 << 20, value_name = "BYTES")]
    pub grpc_max_held_bytes: usize,
    /// Maximum number of connections; more wait
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value_t = 10_000, value_name = "COUNT")]
    pub grpc_max_connections: usize,
    /// Maximum number of concurrent calls on one connection
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value_t = 250, value_name = "COUNT")]
    pub grpc_max_concurrent_streams: u32,
}
