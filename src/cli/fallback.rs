//! Flags of the fallback.

use clap::Args;

/// The stock vtctld that takes what is not served here.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = super::vtmigrated::NOT_IN_VTCTLD)]
pub struct FallbackArgs {
    /// Address (host:port) of a stock vtctld of the same cluster, which RPCs that are not served here are forwarded to
    #[arg(long, default_value = "", value_name = "ADDRESS")]
    pub fallback_vtctld_server: String,
    /// Authorities that its certificate is checked against
    #[arg(long, default_value = "", value_name = "FILE")]
    pub fallback_vtctld_ca: String,
    /// Certificate shown to it
    #[arg(long, default_value = "", value_name = "FILE")]
    pub fallback_vtctld_cert: String,
    /// Key of that certificate
    #[arg(long, default_value = "", value_name = "FILE")]
    pub fallback_vtctld_key: String,
    /// Name expected in its certificate
    #[arg(long, default_value = "", value_name = "NAME")]
    pub fallback_vtctld_server_name: String,
    /// JSON file {"Username": …, "Password": …} shown to it in place of the caller's
    #[arg(long, default_value = "", value_name = "FILE")]
    pub fallback_vtctld_static_client_creds: String,
    /// RPCs that are forwarded although they are served here
    #[arg(long, value_delimiter = ',', value_name = "RPCS")]
    pub fallback_rpcs: Vec<String>,
    /// RPCs that read, answered here and asked there too, to log and count differences; all for every such RPC
    #[arg(long, value_delimiter = ',', value_name = "RPCS")]
    pub shadow_rpcs: Vec<String>,
}
