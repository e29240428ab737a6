//! Flags of the fallback.

use clap::Args;

/// The stock vtctld that takes what is not served here.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = super::vtmigrated::NOT_IN_VTCTLD)]
pub struct FallbackArgs {
    /// Address (host:port) of a stock vtctld of the same cluster, to which RPCs that are not served here are forwarded
    #[arg(long, default_value = "", value_name = "ADDRESS")]
    pub fallback_vtctld_server: String,
    /// CA certificates that its certificate is verified with
    #[arg(long, default_value = "", value_name = "FILE")]
    pub fallback_vtctld_ca: String,
    /// Client certificate sent to it
    #[arg(long, default_value = "", value_name = "FILE")]
    pub fallback_vtctld_cert: String,
    /// Key of that certificate
    #[arg(long, default_value = "", value_name = "FILE")]
    pub fallback_vtctld_key: String,
    /// Name expected in its certificate
    #[arg(long, default_value = "", value_name = "NAME")]
    pub fallback_vtctld_server_name: String,
    /// JSON file {"Username": …, "Password": …} sent to it instead of the caller's credentials
    #[arg(long, default_value = "", value_name = "FILE")]
    pub fallback_vtctld_static_client_creds: String,
    /// RPCs to forward even though they are served here
    #[arg(long, value_delimiter = ',', value_name = "RPCS")]
    pub fallback_rpcs: Vec<String>,
    /// Read-only RPCs to serve here and to send to the fallback too, to log and count differences; all: every such RPC
    #[arg(long, value_delimiter = ',', value_name = "RPCS")]
    pub shadow_rpcs: Vec<String>,
}
