//! Flags about who may call, and over what.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// TLS, callers, roles and bounds of the gRPC port.
#[derive(Clone, Debug, Args)]
pub struct GuardArgs {
    /// Certificate of the gRPC port
    #[arg(long)]
    pub grpc_cert: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long)]
    pub grpc_key: Option<PathBuf>,
    /// Authorities of the clients' certificates; every client must then show one
    #[arg(long)]
    pub grpc_ca: Option<PathBuf>,
    /// Revoked certificates of clients
    #[arg(long)]
    pub grpc_crl: Option<PathBuf>,
    /// Authority to send along with the certificate
    #[arg(long)]
    pub grpc_server_ca: Option<PathBuf>,
    /// Serve clients without TLS too
    #[arg(long, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub grpc_enable_optional_tls: bool,
    /// How callers prove who they are: static or mtls; not at all when empty
    #[arg(long, default_value = "")]
    pub grpc_auth_mode: String,
    /// Users and passwords, for the mode static
    #[arg(long)]
    pub grpc_auth_static_password_file: Option<PathBuf>,
    /// Texts, separated by colons, one of which a client certificate's subject must hold, for the mode mtls
    #[arg(long, default_value = "")]
    pub grpc_auth_mtls_allowed_substrings: String,
    /// Roles of callers: read, operate or admin
    #[arg(long)]
    pub grpc_roles_file: Option<PathBuf>,
    /// Calls served at once; more are refused
    #[arg(long, default_value_t = 1000)]
    pub grpc_max_concurrent_calls: usize,
    /// Connections kept at once; more wait
    #[arg(long, default_value_t = 10_000)]
    pub grpc_max_connections: usize,
    /// Calls under way on one connection
    #[arg(long, default_value_t = 250)]
    pub grpc_max_concurrent_streams: u32,
}
