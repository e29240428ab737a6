//! Flags of the HTTP pages.

use clap::Args;

use super::vtmigrated::NOT_IN_VTCTLD;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Port of the HTTP server; none when 0
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub port: u16,
    /// Address that the HTTP server listens on; all when empty
    #[arg(long, default_value = "", value_name = "HOST")]
    pub bind_address: String,
    /// Who may see pages: deny-all, read-only; everybody when empty
    #[arg(long, default_value = "", value_name = "POLICY")]
    pub security_policy: String,
    /// Who may read pages and /api: grpc (the callers and roles of the gRPC port) or anybody
    #[arg(long, help_heading = NOT_IN_VTCTLD, default_value = "grpc", value_name = "CALLERS")]
    pub http_callers: String,
}
