//! Flags of handing on.

use std::path::PathBuf;

/// The stock vtctld that takes what is not served here.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Address (host:port) of a stock vtctld of the same cluster, which RPCs that are not served here are handed on to
    #[arg(long)]
    pub fallback_vtctld_server: Option<String>,
    /// Authorities that its certificate is checked against
    #[arg(long)]
    pub fallback_vtctld_ca: Option<PathBuf>,
    /// Certificate shown to it
    #[arg(long)]
    pub fallback_vtctld_cert: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long)]
    pub fallback_vtctld_key: Option<PathBuf>,
    /// Name expected in its certificate
    #[arg(long)]
    pub fallback_vtctld_server_name: Option<String>,
    /// JSON file {"Username": …, "Password": …} shown to it in place of the caller's
    #[arg(long)]
    pub fallback_vtctld_static_client_creds: Option<PathBuf>,
    /// RPCs that are handed on although they are served here
    #[arg(long, value_delimiter = ',')]
    pub fallback_rpcs: Vec<String>,
    /// RPCs that read, answered here and asked there too, to log and count differences; all for every such RPC
    #[arg(long, value_delimiter = ',')]
    pub shadow_rpcs: Vec<String>,
}
