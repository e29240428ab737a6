//! `vtmigrated health`: asks the server beside it whether it is ready. For images without a shell, and for scripts.

use clap::Parser;

/// Checks the health of the server on this machine: exits 0 if it is ready, 1 if it is not or does not answer.
#[derive(Clone, Debug, Parser)]
#[command(name = "vtmigrated health")]
pub struct Health {
    /// The server's --port
    #[arg(long, default_value_t = 15000, value_name = "PORT", env = "VTMIGRATED_PORT")]
    pub port: u16,
    /// The server's --bind-address; the loopback addresses when empty
    #[arg(long, default_value = "", value_name = "HOST", env = "VTMIGRATED_BIND_ADDRESS")]
    pub bind_address: String,
    /// Page to ask: /readyz for readiness, /healthz for liveness
    #[arg(long, default_value = "/readyz", value_name = "PATH")]
    pub page: String,
    /// How long to wait for the answer
    #[arg(long, default_value = "4s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub timeout: std::time::Duration,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn flags_are_spelled_as_the_servers() {
        let args = ["health", "--port=15001", "--bind_address", "::1", "--page=/healthz"].map(OsString::from);
        let health = Health::parse_from(super::super::parse::normalize(args));
        assert_eq!((health.port, health.bind_address.as_str(), health.page.as_str()), (15001, "::1", "/healthz"));
    }
}
